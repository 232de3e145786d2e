"""`prepare`: from a folder of images to a data set."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from medseg.data.annotations import check_annotations
from medseg.data.duplicates import DuplicatePair, find_duplicates
from medseg.data.fingerprint import CaseFacts, examine, summarise
from medseg.data.manifest import Case, write_manifest
from medseg.data.pseudonyms import Pseudonyms, without_paths
from medseg.data.settings import InputSettings
from medseg.data.sources import find_cases
from medseg.data.store import is_stack
from medseg.errors import ManifestError, MedsegError, OutputError
from medseg.files import exclusive, read_json, write_csv, write_json
from medseg.processes import worker_pool
from medseg.progress import track

__all__ = ["PrepareResult", "prepare"]

logger = logging.getLogger(__name__)
DUPLICATE_COLUMNS = ("case_a", "case_b", "kind", "across_patients")


@dataclass(frozen=True, slots=True)
class PrepareResult:
    """What `prepare` made: the manifest, how many cases, the reason of each that was left out, duplicates."""

    path: Path
    n_cases: int
    failures: dict[str, str]
    duplicates: list[DuplicatePair]


def prepare(
    source: str | Path,
    output: str | Path,
    *,
    settings: InputSettings | None = None,
    hide_names: bool = False,
    workers: int = 2,
) -> PrepareResult:
    """Make a data set: ``dataset.csv``, ``fingerprint.json``, ``duplicates.csv``, ``pseudonyms.json``.

    The source is read, never changed. A case that cannot be used is left out and reported. Patients get
    pseudonyms; cases keep the names of their files unless they are the patient's.

    Parameters
    ----------
    settings : InputSettings, optional
        Of a pipeline: its rules choose which series of a DICOM study become the channels of its case.
    hide_names : bool
        Name cases by keyed hashes and not by the stems of their files, which may be patients' names.

    Raises
    ------
    MedsegError
        When there is no usable case, or `output` was made from another source.
    """
    source, output = Path(source), Path(output)
    if not source.exists():
        raise ManifestError(f"{source}: no such file or folder")
    with exclusive(output):
        return _prepare(source, output, settings, Pseudonyms(output, hides_names=hide_names), workers)


def _prepare(
    source: Path, output: Path, settings: InputSettings | None, pseudonyms: Pseudonyms, workers: int
) -> PrepareResult:
    stamp = output / "prepared.json"
    about = {"schema_version": 1, "source": pseudonyms.of(str(source.resolve()))}  # its path may name a patient
    if stamp.is_file() and read_json(stamp) != about:
        raise OutputError(f"{output}: was prepared from another source; choose another folder")
    if not stamp.is_file() and (output / "dataset.csv").is_file() and output.resolve() != source.resolve():
        raise OutputError(f"{output}: already holds a data set that `prepare` did not make; choose another folder")
    cases, refused = find_cases(source, output, pseudonyms, () if settings is None else settings.channel_rules)
    check_annotations(cases)
    if not stamp.is_file():
        pseudonyms.save({})  # before what is written with its key
    write_json(stamp, about)
    facts, failures = _examine_all([case for case in cases if not is_stack(case)], settings, workers)
    failures |= refused
    if not facts and not any(map(is_stack, cases)):
        raise ManifestError(f"{source}: no case can be used; the first reason: {next(iter(failures.values()))}")
    kept = [_finished(case, facts.get(case.case_id), pseudonyms) for case in cases if case.case_id not in failures]
    pseudonyms.save({case.case_id: str(case.images[0]) for case in cases if not is_stack(case)})
    patients = {case.case_id: case.patient_id for case in kept}
    duplicates = find_duplicates({name: fact.signature for name, fact in facts.items()}, patients) if facts else []
    if any(pair.across_patients for pair in duplicates):
        logger.warning("%d pair(s) of equal images across patients, see duplicates.csv",
                       sum(pair.across_patients for pair in duplicates))  # fmt: skip
    rows = [{name: getattr(pair, name) for name in DUPLICATE_COLUMNS} for pair in duplicates]
    write_csv(output / "duplicates.csv", DUPLICATE_COLUMNS, rows)
    write_json(output / "fingerprint.json", summarise(list(facts.values())))
    write_manifest(output / "dataset.csv", kept)
    return PrepareResult(output / "dataset.csv", len(kept), failures, duplicates)


def _finished(case: Case, facts: CaseFacts | None, pseudonyms: Pseudonyms) -> Case:
    """Give the pseudonym, and beside masks the label that the split is stratified by."""
    label = case.label
    if label is None and facts is not None and facts.n_lesions is not None:
        label = int(facts.n_lesions > 0)
    return replace(case, patient_id=pseudonyms.of(case.patient_id), label=label)


def _examine_all(
    cases: list[Case], settings: InputSettings | None, workers: int
) -> tuple[dict[str, CaseFacts], dict[str, str]]:
    facts: dict[str, CaseFacts] = {}
    failures: dict[str, str] = {}
    for case, (found, reason) in zip(cases, track(_results(cases, settings, workers), "reading cases", len(cases))):
        if found is None:
            failures[case.case_id] = without_paths(reason, case.files)
        else:
            facts[case.case_id] = found
    return facts, failures


def _results(cases: list[Case], settings: InputSettings | None, workers: int) -> Iterator[tuple[CaseFacts | None, str]]:
    one = partial(_one, settings=settings)
    if workers < 2 or len(cases) < 8:
        yield from map(one, cases)
        return
    with worker_pool(workers) as pool:
        yield from pool.map(one, cases, chunksize=4)


def _one(case: Case, settings: InputSettings | None) -> tuple[CaseFacts | None, str]:
    try:
        return examine(case, settings), ""
    except MedsegError as error:
        return None, str(error)
