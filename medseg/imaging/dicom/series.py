"""From instances to volumes: by series, and further where one series holds several."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from medseg.files import safe_name
from medseg.imaging.dicom.geometry import LEAST_SLICES, Placement, Problem, place
from medseg.imaging.dicom.instance import Frame, Instance

__all__ = ["Series", "homes_of", "series_of"]

PROJECTIONS = {"CR", "DX", "MG", "RG", "PX", "IO", "XA", "RF"}
CAPTURES = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture and its multi-frame kinds
TECHNIQUE = ("stack", "type")
TIMING = frozenset({"trigger", "acquisition", "time"})
SCREEN = "SCREEN SAVE"  # of an image type, as scanners name captures of their screen


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The frames of one volume, or of one projection.

    Parameters
    ----------
    series_uid : str
        Series Instance UID.
    part : str
        Which volume of the series, such as ``echo-2``; empty where the series is one volume.
    kind : {"volume", "projection", "localizer", "capture", "mosaic"}
        What its images are.
    instances : tuple of Instance
        The files, each once.
    frames : tuple of Frame
        In the order of the files.
    placement : Placement or Problem
        Where its slices lie; of volumes only.
    """

    series_uid: str
    part: str
    kind: str
    instances: tuple[Instance, ...]
    frames: tuple[Frame, ...]
    placement: Placement | Problem | None = None

    @property
    def first(self) -> Instance:
        """One of its files, for what all of them share."""
        return self.instances[0]

    @property
    def name(self) -> str:
        """Name of the volume in a tree: the UID and, where the series holds several, the part."""
        return f"{self.series_uid}/{self.part}" if self.part else self.series_uid


def series_of(images: Iterable[Instance]) -> list[Series]:
    """Group the images of a tree into volumes and projections, in the order of their files."""
    by_uid: dict[str, list[Instance]] = defaultdict(list)
    for image in images:
        by_uid[image.series_uid].append(image)
    return [series for uid, members in by_uid.items() for series in _of_one_uid(uid, members)]


def homes_of(series: Iterable[Series]) -> dict[str, Path]:
    """Where each Series Instance UID lies: its only file, or the folder that holds all of its files.

    Parts are numbered over a whole series, so a part can only be named from there.
    """
    files: dict[str, set[Path]] = defaultdict(set)
    for item in series:
        files[item.series_uid].update(image.path for image in item.instances)
    return {
        uid: next(iter(paths)) if len(paths) == 1 else Path(os.path.commonpath([path.parent for path in paths]))
        for uid, paths in files.items()
    }


def _of_one_uid(uid: str, members: list[Instance]) -> list[Series]:
    by_kind: dict[str, list[Instance]] = defaultdict(list)
    for member in members:
        by_kind[_kind(member)].append(member)
    result: list[Series] = []
    for kind, images in by_kind.items():
        label = "" if len(by_kind) == 1 or kind == "volume" else kind
        if kind == "projection":
            result += _projections(uid, images, label)
        elif kind == "volume":
            result += _volumes(uid, images)
        else:
            frames = tuple(frame for image in images for frame in image.frames)
            result.append(Series(uid, label, kind, tuple(images), frames))
    return result


def _kind(image: Instance) -> str:
    is_capture = image.sop_class.startswith(CAPTURES) or any(SCREEN in value for value in image.image_type)
    placed = image.frames[0].position is not None
    if image.modality in PROJECTIONS and not (placed and len(image.frames) > 1):  # tomosynthesis is a volume
        return "projection"  # also secondary captures, as film digitisers store radiographs
    if "LOCALIZER" in image.image_type[2:]:
        return "localizer"
    if "MOSAIC" in image.image_type:
        return "mosaic"
    return "capture" if is_capture and not placed else "volume"


def _projections(uid: str, images: list[Instance], label: str) -> list[Series]:
    """Each frame of each file is an image of its own."""
    frames = [(image, frame) for image in images for frame in image.frames]
    if len(frames) == 1:
        return [Series(uid, label, "projection", (frames[0][0],), (frames[0][1],))]
    return [
        Series(uid, f"image-{number}", "projection", (image,), (frame,))
        for number, (image, frame) in enumerate(frames, start=1)
    ]


def _volumes(uid: str, images: list[Instance]) -> list[Series]:
    owner = {(image.path): image for image in images}
    sizes = {image.path: (image.format.rows, image.format.columns) for image in images}
    frames = [frame for image in images for frame in image.frames]
    parts = _hard_parts(frames, sizes)
    mixed = _mixed(images)
    result = []
    for hard, members in parts.items():
        for soft, some in _soft_parts(members).items():
            part = safe_name("-".join(filter(None, (hard, soft))).replace(" ", "")) if hard or soft else ""
            files = dict.fromkeys(frame.path for frame in some)
            placement = mixed or _placed(some, sizes)
            result.append(Series(uid, part, "volume", tuple(owner[path] for path in files), tuple(some), placement))
    return result


def _mixed(images: Sequence[Instance]) -> Problem | None:
    """Images that cannot be one series, whatever its UID says: their positions have nothing to do with each other."""
    for code, what, values in (
        ("mixed_modalities", "modalities", {image.modality for image in images}),
        ("mixed_patients", "patients", {image.patient_id for image in images}),
        ("mixed_studies", "studies", {image.study_uid for image in images}),
        ("mixed_units", "units", {image.facts["Units"] for image in images}),  # of PET (PS3.3 C.8.9.1)
        ("mixed_frames_of_reference", "frames of reference", {image.facts["FrameOfReferenceUID"] for image in images}),
    ):
        if len(values) > 1:
            stated = values - {""}
            text = f"images of {len(stated)} {what}" + (" and some that state none" if "" in values else "")
            return Problem(code, f"{text} under one Series Instance UID")
    return None


def _placed(frames: Sequence[Frame], sizes: dict) -> Placement | Problem:
    found = sorted({sizes[frame.path] for frame in frames})
    if len(found) > 1:
        return Problem("mixed_matrix", f"slices of {len(found)} matrix sizes {found} in one series")
    return place(frames)


def _hard_parts(frames: list[Frame], sizes: dict) -> dict[str, list[Frame]]:
    """Divide by matrix, orientation and pixel spacing, where every part can be a volume."""
    groups: list[tuple[tuple, np.ndarray, list[Frame]]] = []
    for frame in frames:
        signature = np.array([*(frame.orientation or [0.0] * 6), *(frame.spacing or [0.0] * 2)])
        for size, other, members in groups:
            if size == sizes[frame.path] and np.abs(signature - other).max() < 1e-2:
                members.append(frame)
                break
        else:
            groups.append((sizes[frame.path], signature, [frame]))
    if len(groups) == 1 or any(len(members) < LEAST_SLICES for _, _, members in groups):
        return {"": frames}
    return {f"orientation-{number}": members for number, (_, _, members) in enumerate(groups, start=1)}


def _soft_parts(frames: list[Frame]) -> dict[str, list[Frame]]:
    """Divide where slices share a position: by the attribute, or the few of them, that tell them apart.

    Slices at unequal distances are divided by technique (stack, image type) alone, and only into regular volumes: an
    acquisition that ends where a slice is missing must not hide the gap.
    """
    code = _problem_code(frames)
    if code not in ("doubled_slices", "irregular_slices"):
        return {"": frames}
    doubled = code == "doubled_slices"
    names = list(frames[0].key) if doubled else list(TECHNIQUE)
    varying = [name for name in names if 1 < len({frame.key.get(name, "") for frame in frames}) < len(frames)]
    for number in range(1, len(varying) + 1):
        for chosen in combinations(varying, number):
            parts = _parts_by(frames, chosen)
            codes = {_problem_code(members) for members in parts.values()}
            enough = min(map(len, parts.values())) >= LEAST_SLICES and (
                TIMING.isdisjoint(chosen) or _are_complete(parts.values())
            )
            if enough and ("doubled_slices" not in codes if doubled else codes == {""}):
                return parts
    return {"": frames}


def _are_complete(parts: Iterable[Sequence[Frame]]) -> bool:
    """Whether every part lies at all the positions of the others.

    What is taken at one time may be every fourth slice, or one of two table positions: parts that are told apart by
    time must be whole, or they would be volumes with false distances, and hide a slice that is missing.
    """
    places = [{tuple(np.round(frame.position or (), 2)) for frame in frames} for frames in parts]
    return all(own == places[0] for own in places)


def _problem_code(frames: Sequence[Frame]) -> str:
    found = place(frames)
    problem = found if isinstance(found, Problem) else found.problem
    return "" if problem is None else problem.code


def _parts_by(frames: Sequence[Frame], names: Sequence[str]) -> dict[str, list[Frame]]:
    parts: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        key = frame.key
        parts["-".join(f"{name}-{key.get(name, '') or 'none'}" for name in names)].append(frame)
    return dict(sorted(parts.items(), key=lambda item: _natural(item[0])))


def _natural(text: str) -> tuple:
    """Sorts ``phase-2`` before ``phase-10``."""
    return tuple(float(part) if index % 2 else part for index, part in enumerate(re.split(r"([0-9]+\.?[0-9]*)", text)))
