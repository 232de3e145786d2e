"""Batch prediction: goes on past a bad case, and can be taken up again."""

import hashlib
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.data.annotations import read_lesions, read_mask
from medseg.data.channel_settings import ChannelRule
from medseg.data.channels import choose_channels
from medseg.data.domain import facts_of, unknown_facts
from medseg.data.manifest import Case, load_manifest
from medseg.data.pseudonyms import Pseudonyms, without_paths
from medseg.errors import ConfigError, ImageError, ManifestError, MedsegError, OutputError
from medseg.files import exclusive, files_below
from medseg.imaging import ImageSource, find_inputs
from medseg.imaging.formats import split_member
from medseg.inference.missing import log_missing, missing_channels
from medseg.inference.model import Model
from medseg.inference.prediction_folder import CaseRecord, PredictionFolder, reasons, say_unknown
from medseg.inference.reading import CaseImage, read_ahead
from medseg.inference.results import Reference, check_save, check_source, default_save, save_results
from medseg.parallel.errors import RankError
from medseg.parallel.signs import busy, is_lost_connection
from medseg.progress import Progress
from medseg.volume import Note

__all__ = ["PredictResult", "about_predictions", "predict_batch", "predict_part", "result_of"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PredictResult:
    """Outcome of a batch: how many cases, and the reason of each that failed or that the model is not for."""

    path: Path
    n_cases: int
    failures: dict[str, str]
    out_of_scope: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Input:
    case_id: str
    patient_id: str
    images: tuple[str | None, ...]
    from_dicom: bool
    case: Case | None
    notes: tuple[Note, ...] = ()
    refused: str = ""  # why the images of a study cannot be chosen

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(image for image in self.images if image is not None)


def predict_batch(
    model: Model,
    source: str | Path,
    output: str | Path,
    *,
    subset: str = "all",
    save: Sequence[str] | None = None,
    resume: bool = False,
    show_reference: bool = False,
    hide_names: bool = False,
    scratch: Path | None = None,
) -> PredictResult:
    """Predict every image of `source` into a prediction folder.

    Where the model's volumes are spread, images are read in slabs and prepared in files, and masks and maps are written
    in slabs.

    Parameters
    ----------
    source : str or Path
        An image file, a folder of images or of DICOM series, or a manifest (or the folder that holds one).
    subset : {"train", "val", "test", "all"}
        Part of the manifest, by the split that the model was trained with.
    save : sequence of str, optional
        What to write for each case, of `medseg.inference.results.SAVEABLE`; the overlay, and the mask of models that
        make one, unless given.
    show_reference : bool
        Draw the manifest's lesions into the overlays (never into any figure).
    hide_names : bool
        Name cases by keyed hashes and not by the stems of their files, which may be patients' names.
    scratch : Path, optional
        Folder for files of the two images in work, which all processes that share a volume must see; the system's
        place for temporary ones unless given.

    Raises
    ------
    MedsegError
        When nothing can be predicted at all; a case that fails is reported in the result instead.
    """
    save = default_save(model) if save is None else save
    check_save(save, model)
    pseudonyms = Pseudonyms(Path(output), hides_names=hide_names)
    inputs = _inputs(model, Path(source), subset, pseudonyms, exclude=Path(output))
    check_source(save, (file for item in inputs for file in item.files[:1]))
    about = about_predictions(model, subset, save, hide_names=hide_names, show_reference=show_reference)
    with exclusive(output):
        folder = PredictionFolder(Path(output), about, resume=resume)
        named = {
            item.case_id: item.files[0]
            for item in inputs
            if item.files and (item.from_dicom or (hide_names and item.case is None))
        }
        if named:  # before the first case: a run that is killed must go on under the same names
            pseudonyms.save(named)
        records = _predict_all(
            model, inputs, folder, save, resume=resume, show_reference=show_reference, scratch=scratch
        )
        folder.finish(records)
    log_missing(records, model.pipeline.input)
    say_unknown(records)
    return result_of(folder, records)


def predict_part(model: Model, data: Path, subset: str, folder: PredictionFolder, fold: int) -> list[CaseRecord]:
    """Predict a part of a manifest, as the model was trained, into a folder that holds other folds' cases too.

    Cases that the folder has already are left. The caller finishes the folder.
    """
    inputs = _inputs(model, data, subset, Pseudonyms(folder.path), exclude=folder.path)
    records = _predict_all(
        model, inputs, folder, folder.about["save"], resume=True, show_reference=False, scratch=None
    )  # fmt: skip
    for record in records:
        record.fold = fold
    return records


def result_of(folder: PredictionFolder, records: list[CaseRecord]) -> PredictResult:
    """How many cases a folder has, and which failed or are out of scope."""
    return PredictResult(folder.path, len(records), reasons(records, "failed"), reasons(records, "out_of_scope"))


def about_predictions(
    model: Model, subset: str, save: Sequence[str], *, hide_names: bool, show_reference: bool
) -> dict[str, Any]:
    """What the folder says of its predictions."""
    return {
        "pipeline": model.pipeline.name,
        "model_sha256": model.digest,
        "operating_point": model.operating_point,
        "settings": {
            "inference": model.pipeline.inference.model_dump(mode="json"),
            "subset": subset,
            "pseudonymise_names": hide_names,
            "operating_point": model.operating_point,
            **({"score_calibration": model.scores.digest} if model.scores.digest else {}),
        },
        "save": sorted(save),
        "evaluation": model.pipeline.evaluation.model_dump(mode="json"),
        "detector": model.pipeline.detector.kind,
        "localises": model.makes_map,
        "multi_label": getattr(model.pipeline.detector, "multi_label", False),
        "classes": list(model.pipeline.classes),
        "calibration": model.calibration,
        "colours": {"found": model.pipeline.drawing.found_colour, "reference": model.pipeline.drawing.reference_colour},
        "reference_drawn": show_reference,
        "second_stage": None if model.second_stage is None else model.second_stage.fusion.content(),
    }


def _predict_all(
    model: Model,
    inputs: list[_Input],
    folder: PredictionFolder,
    save: Sequence[str],
    *,
    resume: bool,
    show_reference: bool,
    scratch: Path | None,
) -> list[CaseRecord]:
    stamps = {item.case_id: _stamp(item) for item in inputs}
    done = folder.done(stamps) if resume else {}
    records: list[CaseRecord] = [done[item.case_id] for item in inputs if item.case_id in done]
    todo = [item for item in inputs if item.case_id not in done]
    with Progress("predicting", len(inputs)) as progress:
        progress.update(len(records))
        for item, image, reason in read_ahead(todo, model, scratch=scratch):
            record = _predict_one(model, item, image, reason, folder, save, show_reference)
            record.source_stamp = stamps[item.case_id]
            folder.add(record)
            records.append(record)
            progress.advance()
    order = {item.case_id: number for number, item in enumerate(inputs)}
    return sorted(records, key=lambda record: order[record.case_id])


def _inputs(model: Model, source: Path, subset: str, pseudonyms: Pseudonyms, *, exclude: Path) -> list[_Input]:
    manifest_path = source / "dataset.csv" if source.is_dir() else source
    if manifest_path.suffix == ".csv" and manifest_path.is_file():
        manifest = load_manifest(manifest_path)
        parts = ("train", "val", "test", "all")
        if subset not in parts:
            raise ConfigError(f"--subset {subset}: unknown; allowed are {', '.join(parts)}")
        cases = [case for case in manifest.cases if subset == "all" or model.splits.get(case.case_id) == subset]
        if not cases:
            raise ManifestError(f"{manifest_path}: no case of it is in the model's {subset} part")
        return [_Input(c.case_id, c.patient_id, c.images, False, c) for c in cases]
    if subset != "all":
        raise ConfigError(f"--subset {subset} needs a manifest as input, found {source}")
    found = find_inputs(
        source.resolve(), name_series=pseudonyms.of_series, name_file=pseudonyms.of_file, exclude=exclude
    )
    if not found:
        raise ImageError(f"{source}: no image found; expected PNG, JPEG, NIfTI, NRRD, MHA or DICOM files")
    rules = model.pipeline.input.channel_rules
    return _of_studies(found, rules, pseudonyms) if rules else [_of_source(item, pseudonyms) for item in found]


def _of_source(item: ImageSource, pseudonyms: Pseudonyms) -> _Input:
    patient = pseudonyms.of(item.patient_id) if item.patient_id else ""
    return _Input(item.case_id, patient, (item.name,), bool(item.series), None)


def _of_studies(found: list[ImageSource], rules: Sequence[ChannelRule], pseudonyms: Pseudonyms) -> list[_Input]:
    """One case a study, named after its first channel; files that are no DICOM images stay cases of their own."""
    inputs = [_of_source(item, pseudonyms) for item in found if item.description is None]
    names = {item.name: item.case_id for item in found}
    for study in choose_channels(found, rules):
        patient = pseudonyms.of(study.patient_id) if study.patient_id else ""
        first = study.images[0] if study.images else None
        name = pseudonyms.of_series(study.study) if first is None else names[first]
        inputs.append(_Input(name, patient, study.images, True, None, study.notes, study.error))
    return inputs


def _stamp(item: _Input) -> str:
    """Digest of the sizes and times of the case's files: what was predicted before is kept only where they agree."""
    facts = []
    for image in item.files:
        path, member = split_member(image)
        for file in files_below(path):
            with suppress(FileNotFoundError):  # a missing file is the case's failure, named when it is read
                about = file.stat()
                # the time of the last change too: copies may keep the time of the content
                facts.append(f"{about.st_size} {about.st_mtime_ns} {about.st_ctime_ns} {member}")
    return hashlib.sha256("/".join(facts).encode()).hexdigest()


def _predict_one(
    model: Model,
    item: _Input,
    image: CaseImage | None,
    reason: str,
    folder: PredictionFolder,
    save: Sequence[str],
    show_reference: bool,
) -> CaseRecord:
    began = time.monotonic()
    folder.begin(item.case_id)
    record = CaseRecord(case_id=item.case_id, patient_id=item.patient_id, operating_point=model.operating_point)
    record.missing_channels = missing_channels(item.images, model.pipeline.input)
    if model.splits.get(item.case_id) == "train" or item.patient_id in model.training_patients:
        record.training_case = True
    elif item.case is not None:  # of a bare file it is not known whose it is
        record.training_case = False
    if image is None:
        record.status, record.error = "failed", without_paths(reason, item.files)
        logger.error("case %s failed: %s", item.case_id, record.error)
        return record
    record.warnings = [note.message for note in (*item.notes, *image.notes) if note.warning]
    record.unknown_facts = unknown_facts(facts_of(image.source, item.case), model.pipeline.input)
    if image.prepared is None:
        record.status, record.error = "out_of_scope", image.outside
        logger.warning("case %s is out of scope: %s", item.case_id, record.error)
        return record
    try:
        prediction = model.predict_prepared(image.prepared)
        with busy():
            reference = _reference(item, image) if show_reference else Reference()
            save_results(
                folder.case_folder(item.case_id), item.files[0], image.source, prediction, model, save, reference
            )
    except (OutputError, RankError):
        raise  # the folder cannot be written, or another process is lost: no fault of the case
    except Exception as error:
        if is_lost_connection(error):
            raise
        known = isinstance(error, MedsegError)
        text = str(error) if known else f"{type(error).__name__}: {error}"
        record.status, record.error = "failed", without_paths(text, item.files)
        logger.error("case %s failed: %s", item.case_id, record.error)
        logger.debug("case %s", item.case_id, exc_info=not known)
        return record
    record.score, record.findings = prediction.score, prediction.findings
    record.probability, record.score_sd = prediction.case_probability, prediction.score_sd
    record.predicted_label = prediction.class_index
    record.class_scores = dict(zip(model.pipeline.classes, prediction.class_probabilities))
    record.pixel_spacing_mm = image.source.pixel_spacing_mm
    record.seconds = round(time.monotonic() - began, 3)
    return record


def _reference(item: _Input, image: CaseImage) -> Reference:
    if item.case is None:
        return Reference()
    grid = image.source.grid
    lesions = read_lesions(item.case, grid, image.source.pixel_spacing_mm) or ()
    return Reference(lesions, read_mask(item.case, grid))
