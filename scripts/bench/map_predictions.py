"""A prediction folder from another program's probability maps, decoded as medseg decodes its own."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from medseg.config import Pipeline
from medseg.data.manifest import Case
from medseg.detectors.candidates import to_finding
from medseg.detectors.segmentation import SegmentationDetector
from medseg.imaging import read, write_map, write_mask
from medseg.inference.prediction_folder import CaseRecord, PredictionFolder

THRESHOLD = 0.5  # of masks


def write_predictions(
    output: Path, name: str, pipeline: Pipeline, cases: Iterable[Case], map_of: Callable[[Case], np.ndarray]
) -> None:
    """Write the folder; `map_of` gives the float32 probabilities of a case, in the shape (z, y, x) of its image."""
    detector, settings = SegmentationDetector(pipeline.detector, pipeline.classes), pipeline.inference
    about = {
        "pipeline": name, "evaluation": pipeline.evaluation.model_dump(mode="json"), "detector": "segmentation",
        "operating_point": THRESHOLD,
    }  # fmt: skip
    folder, records = PredictionFolder(output, about, resume=False), []
    for case in cases:
        grid, probability = read(case.images[0]).grid, map_of(case)
        if probability.size != np.prod(grid.shape):
            raise ValueError(f"{case.case_id}: a map of shape {probability.shape}, the image has {grid.shape}")
        probability = probability.reshape(grid.shape)
        candidates = detector.decode(
            probability[None], min_score=settings.min_score, max_candidates=settings.max_candidates
        )
        findings = [to_finding(one, working=grid, source=grid, classes=pipeline.classes) for one in candidates]
        record = CaseRecord(case_id=case.case_id, patient_id=case.patient_id, findings=findings)
        record.score = findings[0].score if findings else 0.0
        write_map(folder.case_folder(case.case_id) / "probability.nii.gz", probability, grid)
        write_mask(folder.case_folder(case.case_id) / "mask.nii.gz", probability >= THRESHOLD, grid)
        folder.add(record)
        records.append(record)
    folder.finish(records)
