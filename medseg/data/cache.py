"""The preprocessed cases on disk: keyed by content and settings, built in parallel, restartable, atomic."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medseg.data.annotations import LabelledMask, case_rows, mask_names, read_labels, read_lesions
from medseg.data.instances import draw_lesions, mask_instances
from medseg.data.manifest import Case
from medseg.data.preprocess import Prepared, prepare_image
from medseg.data.pseudonyms import without_paths
from medseg.data.settings import InputSettings
from medseg.data.stacking import read_channels
from medseg.errors import AnnotationError, MedsegError, OutputError, naming_case
from medseg.files import content_hash, output_errors, read_json, write_json
from medseg.imaging.formats import split_member
from medseg.processes import worker_pool
from medseg.progress import Progress
from medseg.volume import Grid

__all__ = [
    "CacheOptions",
    "CachedCase",
    "build_cache",
    "cache_key",
    "load_case",
    "read_case_image",
    "read_entry",
]

logger = logging.getLogger(__name__)
STALE_SECONDS = 3600.0  # from which a partial entry was left by a process that was killed
FORMAT = 1  # raise when the meaning of a cached file changes


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """What a cached case depends on, beside its files."""

    input: InputSettings
    spacing: tuple[float, float, float] | None
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CachedCase:
    """A preprocessed case.

    Parameters
    ----------
    image : ndarray of float32, shape (channel, z, y, x)
    instances : ndarray of int16, shape (z, y, x)
        0 or the number of the lesion.
    class_of : ndarray of int, shape (n_lesions + 1,)
        Class index of each lesion number.
    label : int
        Label of the image, -1 without one.
    """

    case_id: str
    image: np.ndarray
    instances: np.ndarray
    class_of: np.ndarray
    label: int
    grid: Grid
    source: Grid

    @property
    def has_lesion(self) -> bool:
        """Whether any voxel belongs to a lesion, or the image has a label above 0."""
        return bool(len(self.class_of) > 1 or self.label > 0)


def read_case_image(case: Case, options: CacheOptions) -> Prepared:
    """Read and prepare the image of one case."""
    volume = read_channels(case.images, case.case_id, options.input)
    return prepare_image(volume, options.input, spacing=options.spacing)


def load_case(case: Case, options: CacheOptions) -> CachedCase:
    """Read and prepare one case with its annotation, without a cache.

    Raises
    ------
    MedsegError
        Naming the case, when its image or annotation cannot be used.
    """
    try:
        prepared = read_case_image(case, options)
        instances, class_of = _instances(case, prepared, options)
    except MedsegError as error:
        raise type(error)(naming_case(without_paths(str(error), case.files), case.case_id)) from error
    label = -1 if case.label is None else case.label
    return CachedCase(case.case_id, prepared.image, instances, class_of, label, prepared.grid, prepared.source)


def _instances(case: Case, prepared: Prepared, options: CacheOptions) -> tuple[np.ndarray, np.ndarray]:
    labelled = read_labels(case, prepared.source)
    if labelled is not None:
        instances, names = _mask_instances(labelled, prepared)
    else:
        every = read_lesions(case, prepared.source, prepared.pixel_spacing_mm) or []
        lesions = [lesion for lesion in every if not lesion.ignore]
        instances = draw_lesions(lesions, prepared.source, prepared.grid)
        names = [lesion.name or case.name for lesion in lesions]
    return instances, np.array([0, *(_class_index(name, options.classes) for name in names)], np.int64)


def _mask_instances(labelled: LabelledMask, prepared: Prepared) -> tuple[np.ndarray, list[str]]:
    """Lesions of a mask on the working grid, class by class, and the class of each."""
    instances = np.zeros(prepared.grid.shape, np.int16)
    names: list[str] = []
    counted = [lesion for lesion in labelled.lesions if not lesion.ignore]
    for name in dict.fromkeys(lesion.name for lesion in counted):
        mask = np.isin(labelled.labels, [lesion.mask_label for lesion in counted if lesion.name == name])
        own = mask_instances(mask.astype(np.uint8), prepared.source, prepared.grid)
        instances[own > 0] = own[own > 0] + len(names)
        names += [name] * int(own.max())
    return instances, names


def _class_index(name: str, classes: tuple[str, ...]) -> int:
    if not name or len(classes) == 1:
        return 0
    if name not in classes:
        raise AnnotationError(f"class '{name}' is not one of the pipeline's classes {list(classes)}")
    return classes.index(name)


def cache_key(case: Case, options: CacheOptions) -> str:
    """Digest of the contents of the case's files and of everything preprocessing depends on."""
    settings = json.dumps(
        {
            "format": FORMAT,
            "input": options.input.model_dump(mode="json"),
            "spacing": options.spacing,
            "classes": options.classes,
            "case": [
                case.case_id,
                case.label,
                case.name,
                ["" if image is None else split_member(image)[1] for image in case.images],
            ],
            "reader": case.reader,
            "rows": case_rows(case),  # its own alone, so that other rows of the table may change without harm
        },
        sort_keys=True,
    )
    digest = hashlib.sha256(settings.encode())
    digest.update(content_hash(_files(case)).encode())
    return digest.hexdigest()[:32]


def _files(case: Case) -> Iterator[Path]:
    for name in (*case.files, *mask_names(case)):
        path, _ = split_member(name)
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.is_file())
        elif path.suffix == ".mhd":
            yield from sorted(path.parent.glob(path.stem + ".*"))
        else:
            yield path


def build_cache(
    cases: list[Case], options: CacheOptions, folder: Path, *, workers: int = 2
) -> tuple[dict[str, Path], dict[str, str]]:
    """Prepare `cases` into `folder`, skipping what is there.

    A case that cannot be used is reported, the rest goes on. A killed build is taken up again: an entry
    appears under its name only when it is whole.

    Returns
    -------
    entries : dict of str to Path
        Folder of each prepared case; load it with `read_entry`.
    failures : dict of str to str
        Reason for each case that could not be prepared.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for partial in folder.glob(".partial-*"):
        if time.time() - partial.stat().st_mtime > STALE_SECONDS:  # a younger one may be another process's
            shutil.rmtree(partial, ignore_errors=True)
    entries: dict[str, Path] = {}
    failures: dict[str, str] = {}
    with Progress("preparing cases", len(cases)) as progress:
        for case_id, entry, failure in _build(cases, options, folder, workers):
            if failure:
                failures[case_id] = failure
                logger.error("%s", failure)
            else:
                entries[case_id] = folder / entry
            progress.advance()
    return entries, failures


def _build(cases: list[Case], options: CacheOptions, folder: Path, workers: int) -> Iterator[tuple[str, str, str]]:
    if workers < 2 or len(cases) < 8:
        yield from (_build_one(case, options, folder) for case in cases)
        return
    pool = worker_pool(workers)
    try:
        futures = [pool.submit(_build_one, case, options, folder) for case in cases]
        for future in as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _build_one(case: Case, options: CacheOptions, folder: Path) -> tuple[str, str, str]:
    try:
        key = cache_key(case, options)
        if not _is_whole(folder / key):
            shutil.rmtree(folder / key, ignore_errors=True)
            _write_entry(load_case(case, options), folder, key)
    except OutputError:
        raise  # the cache cannot be written: no fault of the case
    except MedsegError as error:
        return case.case_id, "", str(error)
    except FileNotFoundError as error:
        return case.case_id, "", f"case {case.case_id}: file is missing: {error.filename}"
    return case.case_id, key, ""


def _is_whole(entry: Path) -> bool:
    """Whether a cached case is there and can be opened; a damaged one is made anew."""
    try:
        read_entry(entry)
    except (OSError, ValueError, KeyError, TypeError, MedsegError):
        return False
    return True


def _write_entry(case: CachedCase, folder: Path, key: str) -> None:
    with output_errors(folder):
        temporary = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    try:
        with output_errors(folder):
            np.save(temporary / "image.npy", case.image)
            np.save(temporary / "instances.npy", case.instances)
        write_json(
            temporary / "case.json",
            {
                "case_id": case.case_id,
                "label": case.label,
                "class_of": case.class_of,
                "grid": {"shape": case.grid.shape, "affine": case.grid.affine, "unit": case.grid.unit},
                "source": {"shape": case.source.shape, "affine": case.source.affine, "unit": case.source.unit},
            },
        )
        os.chmod(temporary, 0o755)
        try:
            os.rename(temporary, folder / key)
        except OSError:
            if not (folder / key).is_dir():  # else another process was faster with the same content
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_entry(entry: Path) -> CachedCase:
    """Open a cached case; the arrays are mapped, not loaded."""
    about = read_json(entry / "case.json")
    return CachedCase(
        about["case_id"],
        np.load(entry / "image.npy", mmap_mode="r", allow_pickle=False),
        np.load(entry / "instances.npy", mmap_mode="r", allow_pickle=False),
        np.array(about["class_of"], np.int64),
        about["label"],
        Grid(tuple(about["grid"]["shape"]), np.array(about["grid"]["affine"]), about["grid"]["unit"]),
        Grid(tuple(about["source"]["shape"]), np.array(about["source"]["affine"]), about["source"]["unit"]),
    )
