"""DICOM objects beside images: segmentations, reports, maps, captures, presentation states, structure sets."""
