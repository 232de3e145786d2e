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
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from medseg.data.annotations import case_rows, mask_names
from medseg.data.loading import LARGE_BYTES, CachedCase, CacheOptions, load_case
from medseg.data.manifest import Case
from medseg.errors import MedsegError, OutputError
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
    "read_entry",
]

logger = logging.getLogger(__name__)
STALE_SECONDS = 3600.0  # from which a partial entry was left by a process that was killed
FORMAT = 2  # raise when the meaning of a cached file changes


def cache_key(case: Case, options: CacheOptions) -> str:
    """Digest of the contents of the case's files and of everything preprocessing depends on."""
    settings = json.dumps(
        {
            "format": FORMAT,
            "input": options.input.model_dump(mode="json", exclude={"body_part", "view", "age"}),  # change no image
            "spacing": options.spacing,
            "classes": options.classes,
            "case": [
                case.case_id,
                case.label,
                case.class_labels,
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
    cases: list[Case], options: CacheOptions, folder: Path, *, workers: int = 2, large_bytes: int = LARGE_BYTES
) -> tuple[dict[str, Path], dict[str, str]]:
    """Prepare `cases` into `folder`, skipping what is there.

    A case that cannot be used is reported, the rest goes on. A killed build is taken up again: an entry
    appears under its name only when it is whole.

    Parameters
    ----------
    large_bytes : int
        Images that take more bytes as float32 are prepared in slabs: see `prepare_slabs`.

    Returns
    -------
    entries : dict of str to Path
        Folder of each prepared case; load it with `read_entry`.
    failures : dict of str to str
        Reason for each case that could not be prepared.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for partial in folder.glob(".partial-*"):
        if time.time() - _last_change(partial) > STALE_SECONDS:  # a younger one may be another process's
            shutil.rmtree(partial, ignore_errors=True)
    entries: dict[str, Path] = {}
    failures: dict[str, str] = {}
    with Progress("preparing cases", len(cases)) as progress:
        for case_id, entry, failure in _build(cases, options, folder, workers, large_bytes):
            if failure:
                failures[case_id] = failure
                logger.error("%s", failure)
            else:
                entries[case_id] = folder / entry
            progress.advance()
    return entries, failures


def _last_change(folder: Path) -> float:
    """Time of the newest file in a folder, or of the folder: a large image is written for long."""
    times = [0.0]
    for path in (folder, *folder.rglob("*")):
        with suppress(FileNotFoundError):  # its writer may just have finished
            times.append(path.stat().st_mtime)
    return max(times)


def _build(
    cases: list[Case], options: CacheOptions, folder: Path, workers: int, large_bytes: int
) -> Iterator[tuple[str, str, str]]:
    if workers < 2 or len(cases) < 8:
        yield from (_build_one(case, options, folder, large_bytes) for case in cases)
        return
    pool = worker_pool(workers)
    try:
        futures = [pool.submit(_build_one, case, options, folder, large_bytes) for case in cases]
        for future in as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _build_one(case: Case, options: CacheOptions, folder: Path, large_bytes: int) -> tuple[str, str, str]:
    try:
        key = cache_key(case, options)
        if not _is_whole(folder / key):
            shutil.rmtree(folder / key, ignore_errors=True)
            _write_entry(case, options, folder, key, large_bytes)
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


def _write_entry(case: Case, options: CacheOptions, folder: Path, key: str, large_bytes: int) -> None:
    with output_errors(folder):
        temporary = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    try:
        image = temporary / "image.npy"
        loaded = load_case(case, options, file=image, large_bytes=large_bytes)
        with output_errors(folder):
            if not image.exists():
                np.save(image, loaded.image)
            np.save(temporary / "instances.npy", loaded.instances)
        write_json(
            temporary / "case.json",
            {
                "case_id": loaded.case_id,
                "label": loaded.label,
                "labels": loaded.labels,
                "class_of": loaded.class_of,
                "grid": _grid_fields(loaded.grid),
                "source": _grid_fields(loaded.source),
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


def _grid_fields(grid: Grid) -> dict[str, Any]:
    return {"shape": grid.shape, "affine": grid.affine, "unit": grid.unit}


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
        np.array(about["labels"], np.int8),
    )
