"""From files to cases: manifest, annotations, splits, cache, samples."""
