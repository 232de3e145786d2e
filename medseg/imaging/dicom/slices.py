"""Frames of a series as slices in the values that the file means, decoded on threads."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from medseg.imaging.dicom.decode import read_frames
from medseg.imaging.dicom.frame_values import FrameValues
from medseg.imaging.dicom.instance import Frame, Instance
from medseg.volume import Note

__all__ = ["read_slices"]

THREADS = min(8, os.cpu_count() or 1)  # decoders release the interpreter's lock
FRAMES_A_JOB = 16  # of a multi-frame file, which is opened once a job


def read_slices(frames: Sequence[Frame], instances: Iterable[Instance]) -> tuple[np.ndarray, tuple[Note, ...]]:
    """Read frames in their order.

    Returns
    -------
    array : ndarray of float32, shape (frame, y, x)
    notes : tuple of Note
        Which decoder read how many frames, and what was done to their values.

    Raises
    ------
    ImageError
        When a frame is missing, damaged or in colour.
    """
    by_path = {instance.path: instance for instance in instances}
    first = by_path[frames[0].path].format
    array = np.empty((len(frames), first.rows, first.columns), dtype=np.float32)

    def read(job: Sequence[int]) -> Counter[Note]:
        return _read_job(by_path[frames[job[0]].path], [frames[k] for k in job], [array[k] for k in job])

    found: Counter[Note] = Counter()
    with ThreadPoolExecutor(THREADS) as pool:
        for notes in pool.map(read, _jobs(frames)):
            found.update(notes)
    return array, _summary(found)


def _jobs(frames: Sequence[Frame]) -> list[list[int]]:
    """Places of frames that are read together: a few of one file."""
    by_file: dict[Path, list[int]] = defaultdict(list)
    for place, frame in enumerate(frames):
        by_file[frame.path].append(place)
    return [
        places[start : start + FRAMES_A_JOB]
        for places in by_file.values()
        for start in range(0, len(places), FRAMES_A_JOB)
    ]


def _read_job(instance: Instance, frames: Sequence[Frame], outs: Sequence[np.ndarray]) -> Counter[Note]:
    values = FrameValues.of(instance)
    found: Counter[Note] = Counter()
    numbers = [frame.number for frame in frames]
    for frame, out, decoded in zip(frames, outs, read_frames(instance.path, instance.format, numbers)):
        found.update(values.into(out, decoded, frame.rescale))
        found[Note("decoder", f"decoded by {decoded.decoder}")] += 1
    return found


def _summary(found: Mapping[Note, int]) -> tuple[Note, ...]:
    return tuple(
        Note(note.code, f"{note.message} ({count} image{'s' if count > 1 else ''})", note.warning)
        for note, count in sorted(found.items(), key=lambda item: item[0].code)
    )
