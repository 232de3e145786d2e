"""The images of a source, found by the names that annotation files call them by."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from medseg.errors import AnnotationError
from medseg.imaging import read
from medseg.imaging.dicom.geometry import Placement
from medseg.imaging.find import ImageSource, stem_of
from medseg.imaging.formats import IMAGE_SUFFIXES

__all__ = ["Inventory", "Readers", "Rows"]

Readers = dict[str, set[str]]  # case -> who read it, also those who marked nothing
Rows = dict[str, list[dict[str, object]]]  # case -> rows in our columns; none of a case that is listed: read, no lesion
QUICK_SUFFIXES = (".png", ".jpg", ".jpeg")  # whose headers say the size of the stored picture


class Inventory:
    """The images of a source.

    Parameters
    ----------
    items : iterable of ImageSource
        As `medseg.imaging.find_inputs` lists them.
    """

    def __init__(self, items: Iterable[ImageSource]) -> None:
        self.items = tuple(items)
        self._named: dict[str, dict[str, ImageSource]] = defaultdict(dict)
        self._holders: dict[str, dict[str, ImageSource]] = defaultdict(dict)
        self._slices: dict[str, tuple[ImageSource, int]] = {}
        for item in self.items:
            for name in _names(item):
                self._named[name][item.case_id] = item
            if item.description is not None:
                self._add_instances(item)

    def _add_instances(self, item: ImageSource) -> None:
        assert item.description is not None
        frames, placement = item.description.frames, item.description.placement
        for frame in frames:
            self._holders[frame.sop_uid][item.case_id] = item
        if len({frame.sop_uid for frame in frames}) < len(frames):
            return  # several slices in a file: its UID names none of them
        if isinstance(placement, Placement) and not placement.tilt_degrees and placement.problem is None:
            for index, number in enumerate(placement.order):
                self._slices[frames[number].sop_uid] = (item, index)
        elif placement is None:
            self._slices[frames[0].sop_uid] = (item, 0)

    def named(self, name: str) -> ImageSource | None:
        """The image of a name: of its file with or without suffix, its case, its folder or its Series Instance UID.

        None where there is none, or more than one.
        """
        file = Path(name)
        for key in (name, file.name, _stem(file)):
            if len(self._named.get(key, ())) == 1:
                return next(iter(self._named[key].values()))
        return None

    def holding(self, sop_uids: Iterable[str]) -> list[ImageSource]:
        """The images with any of these DICOM instances."""
        return list({name: item for uid in sop_uids for name, item in self._holders.get(uid, {}).items()}.values())

    def referred_to(self, series_uids: Iterable[str], sop_uids: Iterable[str]) -> list[ImageSource]:
        """The images that an object refers to: by instances, else by series; in which folder it lies says nothing."""
        wanted = set(series_uids)
        return self.holding(sop_uids) or [item for item in self.items if item.series.partition("/")[0] in wanted]

    def slice_of(self, sop_uid: str) -> tuple[ImageSource, int] | None:
        """The image of a DICOM instance and the index of its slice; None for an instance that is not here.

        Raises
        ------
        AnnotationError
            When its slices are not those of the volume: several in one file, or resampled when they are read.
        """
        if sop_uid not in self._slices and sop_uid in self._holders:
            (case_id, *_) = self._holders[sop_uid]
            raise AnnotationError(
                f"case {case_id}: is annotated slice by slice, but its slices are resampled, refused or several in one "
                "file; annotate the converted volume"
            )
        return self._slices.get(sop_uid)

    def size(self, item: ImageSource) -> tuple[int, int]:
        """Width and height of a flat image in pixels.

        Raises
        ------
        AnnotationError
            For a volume of several slices.
        ImageError
            When it cannot be read.
        """
        if item.description is not None:
            depth, pixels = len(item.description.frames), item.description.first.format
            height, width = pixels.rows, pixels.columns
        elif item.path.suffix.lower() in QUICK_SUFFIXES:
            try:
                with Image.open(item.path) as picture:
                    depth, (width, height) = 1, picture.size
            except Exception:  # Pillow raises many types for damaged files; our reader names what is wrong
                depth, height, width = read(item.path).grid.shape
        else:
            depth, height, width = read(item.name).grid.shape
        if depth > 1:
            raise AnnotationError(
                f"case {item.case_id}: is a volume of {depth} slices, a rectangle does not say on which it lies; give "
                "boxes.csv with z_min and z_max, or files named by the SOP Instance UID of the slice"
            )
        return width, height


def _stem(file: Path) -> str:
    """Name without the suffix of an image; a UID, which has dots, stays whole."""
    return stem_of(file) if file.name.lower().endswith(IMAGE_SUFFIXES) else file.name


def _names(item: ImageSource) -> set[str]:
    names = {item.case_id, item.path.name}
    if item.path.is_file():
        names.add(_stem(item.path))
    if item.series:
        names |= {item.series, item.series.partition("/")[0]}
    return names
