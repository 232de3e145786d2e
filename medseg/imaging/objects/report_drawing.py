"""Where the lesions of a report lie: its graphics in space, on slices whose place is known, or on projections."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medseg.errors import AnnotationError
from medseg.imaging.dicom.instance import Frame, instance_of
from medseg.imaging.dicom.source import SourceSeries
from medseg.imaging.objects import report_codes as codes
from medseg.imaging.objects.image_circle import PIXEL_CENTRE
from medseg.imaging.objects.report_shapes import Shape, combined, shape_of
from medseg.imaging.objects.report_tree import Image, by_name, children, descendants, image_of
from medseg.volume import Unit

if TYPE_CHECKING:
    import pydicom

__all__ = ["Drawing", "SlicePlace", "frame_places", "slice_places"]

PROJECTIONS = (  # CR, digital radiography, mammography, intra-oral, angiography, fluoroscopy: no slices
    "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2",
)  # fmt: skip
PROJECTION_ROOT = "1.2.840.10008.5.1.4.1.1.1."  # digital X-ray, mammography, intra-oral: for presentation, processing
LARGEST = 1e5  # a coordinate beyond is no place in a patient or on an image


@dataclass(frozen=True, slots=True)
class SlicePlace:
    """Where a slice lies, as its header states it.

    Parameters
    ----------
    position : tuple of float
        Image Position (Patient): centre of the first pixel, LPS mm.
    orientation : tuple of float
        Image Orientation (Patient).
    spacing : tuple of float
        Pixel Spacing: between rows, between columns, mm.
    """

    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]

    def to_patient(self, index_xy: np.ndarray) -> np.ndarray:
        """Map indices of pixel centres, shape (n, 2), to LPS mm, shape (n, 3) (PS3.3 C.7.6.2.1.1)."""
        axes = np.array(self.orientation).reshape(2, 3) * np.array([[self.spacing[1]], [self.spacing[0]]])
        return np.array(self.position) + np.asarray(index_xy) @ axes


def slice_places(source: SourceSeries) -> dict[tuple[str, int], SlicePlace | None]:
    """Places of the images of a series, by SOP Instance UID and number of the frame from 1.

    None for projections, and for whatever else does not state its place.
    """
    return frame_places(frame for image in source.datasets for frame in instance_of(Path("source"), image, 0).frames)


def frame_places(frames: Iterable[Frame]) -> dict[tuple[str, int], SlicePlace | None]:
    """Places of frames, as `slice_places` gives them."""
    places: dict[tuple[str, int], SlicePlace | None] = {}
    for frame in frames:
        facts = (frame.position, frame.orientation, frame.spacing)
        stated = all(fact is not None for fact in facts)
        places[frame.sop_uid, frame.number + 1] = SlicePlace(*facts) if stated else None  # type: ignore[arg-type]
    return places


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """Graphics of one measurement group.

    Parameters
    ----------
    name : str
        File and group, for messages.
    group, root : pydicom.Dataset
        The group, and the root of the tree it belongs to.
    places : mapping
        As `slice_places` makes it.
    frames : list of str
        Frames of reference that were met.
    """

    name: str
    group: "pydicom.Dataset"
    root: "pydicom.Dataset"
    places: Mapping[tuple[str, int], SlicePlace | None]
    frames: list[str] = field(default_factory=list)

    def shapes(self) -> list[tuple[Unit, tuple[str, ...], Shape]]:
        """Unit, images and shape of the lesion: one in space, or one on each projection it was drawn on.

        Raises
        ------
        AnnotationError
            When graphics are damaged, lie on slices whose place is unknown, or are in a segmentation alone.
        """
        direct, below = children(self.group), list(descendants(self.group))
        for items in (direct, below):  # those of its measurements count where it has no region of its own
            in_space = [item for item in items if item.get("ValueType") == "SCOORD3D"]
            on_images = [item for item in items if item.get("ValueType") == "SCOORD"]
            if in_space:
                return [("mm", (), combined([self._in_space(item) for item in in_space]))]
            if on_images:
                return self._on_images(on_images)
        if by_name(below, *codes.SEGMENT_NAMES):
            raise AnnotationError(
                f"{self.name}: refers to a segment and gives no centre; read the DICOM Segmentation instead"
            )
        return []

    def _in_space(self, item: "pydicom.Dataset") -> Shape:
        self.frames.append(str(item.get("ReferencedFrameOfReferenceUID") or ""))
        return self._shape(item, self._numbers(item, 3))

    def _on_images(self, items: "Sequence[pydicom.Dataset]") -> list[tuple[Unit, tuple[str, ...], Shape]]:
        in_patient: list[tuple[str, Shape]] = []
        flat: dict[str, list[Shape]] = {}
        for item in items:
            image = image_of(item, self.root)
            if image is None:
                raise AnnotationError(f"{self.name}: its coordinates name no image that they lie on")
            index = self._numbers(item, 2) - PIXEL_CENTRE
            place = self._place(image)
            if place is None:
                points = np.concatenate([index, np.zeros((len(index), 1))], axis=1)
                flat.setdefault(image[0], []).append(self._shape(item, points))
            else:
                shape = self._shape(item, place.to_patient(index))
                normal = np.cross(place.orientation[:3], place.orientation[3:])
                normal /= np.linalg.norm(normal)
                if shape.dimensions == 2:
                    shape = Shape(shape.centre, shape.size, 2, normal)
                in_patient.append((image[0], shape))
        found: list[tuple[Unit, tuple[str, ...], Shape]] = [
            ("px", (uid,), combined(shapes)) for uid, shapes in flat.items()
        ]
        if in_patient:
            uids = tuple(dict.fromkeys(uid for uid, _ in in_patient))
            found.append(("mm", uids, combined([shape for _, shape in in_patient])))
        return found

    def _place(self, image: Image) -> SlicePlace | None:
        """Where the slice lies; None for a projection, which has no place."""
        uid, sop_class, frame = image
        if (uid, frame) in self.places:
            return self.places[uid, frame]
        if sop_class in PROJECTIONS or sop_class.startswith(PROJECTION_ROOT):
            return None
        raise AnnotationError(
            f"{self.name}: was drawn on a slice that is not among the images given; give the series it belongs to"
        )

    def _numbers(self, item: "pydicom.Dataset", columns: int) -> np.ndarray:
        data = item.get("GraphicData")
        values = np.atleast_1d(np.array([] if data is None else data, dtype=float))
        if values.size == 0 or values.size % columns or not (np.abs(values) < LARGEST).all():  # also false for NaN
            raise AnnotationError(
                f"{self.name}: damaged, {values.size} coordinates in {columns} dimensions, or too large"
            )
        return values.reshape(-1, columns)

    def _shape(self, item: "pydicom.Dataset", points: np.ndarray) -> Shape:
        kind = str(item.get("GraphicType") or "")
        shape = shape_of(kind, points)
        if shape is None:
            raise AnnotationError(f"{self.name}: damaged, a graphic of type '{kind}' of {len(points)} points")
        return shape
