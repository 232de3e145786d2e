"""The prediction folder: one record a case while it grows, ``cases.csv`` and ``findings.csv`` when it is whole."""

import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medseg.errors import OutputError
from medseg.files import LOCK, output_errors, read_csv, read_json, write_csv, write_json
from medseg.lesion import FINDING_COLUMNS, STAGE_COLUMNS, Finding

__all__ = [
    "CASE_COLUMNS",
    "CLASS_SCORES",
    "CaseRecord",
    "PredictionFolder",
    "count_unknown",
    "read_records",
    "reasons",
    "say_unknown",
]

logger = logging.getLogger(__name__)
CASE_COLUMNS = (
    "case_id", "patient_id", "status", "error", "score", "n_findings", "seconds", "predicted_label", "training_case",
    "warnings", "missing_channels", "probability", "score_sd",
)  # fmt: skip
CLASS_SCORES = "class_scores.csv"
CLASS_SCORE_COLUMNS = ("case_id", "class", "score")
SCHEMA_VERSION = 1


@dataclass(slots=True, kw_only=True)
class CaseRecord:
    """What became of one case.

    Parameters
    ----------
    status : {"ok", "failed", "out_of_scope"}
    findings : list of Finding
        Every candidate.
    training_case : bool or None
        Whether the model was trained on this case or its patient; None where that is not known.
    source_stamp : str
        Digest of the sizes and times of the files that were predicted.
    operating_point : float
        Score from which findings are reported.
    class_scores : dict of str to float
        Probability of each class, of a classifier.
    warnings : list of str
        What the reader of the image did that the user should know.
    missing_channels : list of str
        Names of the channels that the case lacks, of which something else stands.
    fold : int or None
        Of a cross-validation: the fold whose model, not trained on the case, has predicted it.
    unknown_facts : list of str
        Facts of the model's domain that are not known of the image.
    probability : float or None
        That the case has a lesion; None where there is no calibration.
    score_sd : float or None
        Standard deviation of the score over the image and its mirror images.
    """

    case_id: str
    patient_id: str = ""
    status: str = "ok"
    error: str = ""
    score: float | None = None
    seconds: float = 0.0
    predicted_label: int | None = None
    training_case: bool | None = None
    source_stamp: str = ""
    pixel_spacing_mm: tuple[float, float] | None = None
    operating_point: float = 0.5
    findings: list[Finding] = field(default_factory=list)
    class_scores: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    missing_channels: list[str] = field(default_factory=list)
    fold: int | None = None
    unknown_facts: list[str] = field(default_factory=list)
    probability: float | None = None
    score_sd: float | None = None

    def case_row(self) -> dict[str, Any]:
        """Row of ``cases.csv``."""
        row = {name: getattr(self, name) for name in CASE_COLUMNS if name != "n_findings"}
        row["fold"] = self.fold
        row["n_findings"] = sum(finding.score >= self.operating_point for finding in self.findings)
        row["training_case"] = None if self.training_case is None else int(self.training_case)
        row["warnings"] = "; ".join(self.warnings)
        row["missing_channels"] = "; ".join(self.missing_channels)
        if self.status != "ok":
            row["score"] = row["n_findings"] = None
        return row

    def finding_rows(self) -> Iterable[dict[str, Any]]:
        """Rows of ``findings.csv``."""
        for number, finding in enumerate(self.findings, start=1):
            row: dict[str, Any] = {"case_id": self.case_id, "finding_id": number, "class": finding.name}
            row |= {
                name: getattr(finding, name) for name in ("x", "y", "z", "unit", "score", "probability", "score_sd")
            }
            row["reported"] = int(finding.score >= self.operating_point)
            row |= dict(zip(("x_min", "y_min", "z_min", "x_max", "y_max", "z_max"), finding.box))
            row |= _sizes(finding, self.pixel_spacing_mm)
            if finding.score_second is not None:
                row |= {name: getattr(finding, name) for name in STAGE_COLUMNS}
            yield row


def _sizes(finding: Finding, pixel_spacing_mm: tuple[float, float] | None) -> dict[str, float]:
    """Sizes in mm where the spacing is known, in pixels for projections."""
    if finding.unit == "mm":
        return {"diameter_mm": finding.diameter, "volume_mm3": finding.size}
    sizes = {"diameter_px": finding.diameter, "area_px": finding.size}
    if pixel_spacing_mm is not None:
        sizes["diameter_mm"] = finding.diameter * (pixel_spacing_mm[0] * pixel_spacing_mm[1]) ** 0.5
    return sizes


class PredictionFolder:
    """Write predictions case by case so that a killed run can be taken up again.

    Parameters
    ----------
    path : Path
        The folder.
    about : dict
        Model digest and settings; a folder made with others is refused.
    resume : bool
        Go on with the cases that the folder does not hold.

    Raises
    ------
    OutputError
        When the folder holds predictions and `resume` is false, or they are of another model or setting.
    """

    def __init__(self, path: Path, about: dict[str, Any], *, resume: bool) -> None:
        self.path, self.about = path, {"schema_version": SCHEMA_VERSION, **about}
        stamp = path / "predictions.json"
        if stamp.is_file():
            before = read_json(stamp)
            if not resume:
                raise OutputError(f"{path}: already holds predictions; go on with --resume, or choose another folder")
            different = [key for key in ("model_sha256", "settings", "save") if before.get(key) != self._plain(key)]
            if different:
                raise OutputError(
                    f"{path}: holds predictions made with another {', '.join(different)}; choose another folder"
                )
        elif path.exists() and any(item.name != LOCK for item in path.iterdir()) and not resume:
            raise OutputError(f"{path}: exists and is not a prediction folder; choose another folder")
        write_json(stamp, self.about | {"complete": False})

    def _plain(self, key: str) -> Any:
        return json.loads(json.dumps(self.about.get(key), default=list))

    def case_folder(self, case_id: str) -> Path:
        """Folder for the images of one case."""
        return self.path / "cases" / case_id

    def _record(self, case_id: str) -> Path:
        return self.case_folder(case_id) / "case.json"

    def done(self, stamps: Mapping[str, str]) -> dict[str, CaseRecord]:
        """Records of the cases that did not fail and whose files are as `stamps` says they are now."""
        records = {}
        for path in sorted(self.path.glob("cases/*/case.json")):
            record = _read_record(path)
            if record is not None and record.status != "failed" and stamps.get(record.case_id) == record.source_stamp:
                records[record.case_id] = record
        return records

    def begin(self, case_id: str) -> None:
        """Take away what an earlier run left of a case: its results are not those of the image as it is now."""
        with output_errors(self.case_folder(case_id)):
            shutil.rmtree(self.case_folder(case_id), ignore_errors=True)

    def add(self, record: CaseRecord) -> None:
        """Write the record of one case; its images must be written before."""
        write_json(self._record(record.case_id), {"schema_version": SCHEMA_VERSION, **asdict(record)})

    def finish(self, records: list[CaseRecord]) -> None:
        """Write the tables over all cases."""
        of_folds = any(record.fold is not None for record in records)
        case_columns = (*CASE_COLUMNS, "fold") if of_folds else CASE_COLUMNS
        write_csv(self.path / "cases.csv", case_columns, [record.case_row() for record in records])
        rows = (row for record in records for row in record.finding_rows())
        columns = FINDING_COLUMNS + (STAGE_COLUMNS if self.about.get("second_stage") else ())
        write_csv(self.path / "findings.csv", columns, rows)
        scores = [
            {"case_id": record.case_id, "class": name, "score": score}
            for record in records
            for name, score in record.class_scores.items()
        ]
        if scores:
            write_csv(self.path / CLASS_SCORES, CLASS_SCORE_COLUMNS, scores)
        write_json(self.path / "predictions.json", self.about | _summary(records))


def _summary(records: Sequence[CaseRecord]) -> dict[str, Any]:
    outside, unknown = reasons(records, "out_of_scope"), count_unknown(records)
    return {"complete": True, "n_cases": len(records), "n_out_of_scope": len(outside), "unknown_facts": unknown}


def reasons(records: Sequence[CaseRecord], status: str) -> dict[str, str]:
    """What is said of each case with this status."""
    return {record.case_id: record.error for record in records if record.status == status}


def count_unknown(records: Sequence[CaseRecord]) -> dict[str, int]:
    """Of how many cases each fact of the model's domain is not known."""
    return dict(Counter(name for record in records for name in record.unknown_facts))


def say_unknown(records: Sequence[CaseRecord]) -> None:
    """Log once what could not be checked against the model's domain."""
    for name, number in count_unknown(records).items():
        logger.info("%s unknown in %d of %d case(s): not checked", name.replace("_", " "), number, len(records))


def read_records(folder: Path) -> list[CaseRecord]:
    """Read the records of a folder's cases, in the order of ``cases.csv``.

    Raises
    ------
    OutputError
        When a record is missing or damaged.
    """
    _, rows = read_csv(folder / "cases.csv")
    records = []
    for row in rows:
        record = _read_record(folder / "cases" / row["case_id"] / "case.json")
        if record is None:
            raise OutputError(f"{folder}: the record of case {row['case_id']} is missing or damaged; predict it again")
        records.append(record)
    return records


def _read_record(path: Path) -> CaseRecord | None:
    """Read the record of a case; None where it is damaged or of another version, so that the case is done again."""
    try:
        content = read_json(path)
        content.pop("schema_version")
        content["findings"] = [Finding(**{**f, "box": tuple(f["box"])}) for f in content["findings"]]
        spacing = content["pixel_spacing_mm"]
        content["pixel_spacing_mm"] = tuple(spacing) if spacing else None
        return CaseRecord(**content)
    except (OutputError, KeyError, TypeError, ValueError):
        return None
