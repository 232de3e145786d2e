"""The lesions of a case: of each reader, and what the readers agree on."""

from medseg.data.annotations.agreement import agreed_lesions
from medseg.data.annotations.masks import label_layers, read_labels, read_layers
from medseg.data.annotations.places import lesion_of_box, lesion_of_point
from medseg.data.annotations.tables import case_rows, is_ignored, n_readers, reader_of
from medseg.data.manifest import Case
from medseg.lesion import Lesion
from medseg.volume import Grid

__all__ = ["read_lesions", "read_readings", "unplaced_lesions"]


def read_lesions(case: Case, grid: Grid, pixel_spacing_mm: tuple[float, float] | None = None) -> list[Lesion] | None:
    """Read the lesions of a case in world coordinates: what its readers agree on, where there are several.

    Of several readers a lesion counts where at least half of them marked it; else it is ignored (neither a hit nor a
    false positive). How marks of boxes and points are joined: `agreed_lesions`; of masks: `label_layers`.

    Parameters
    ----------
    pixel_spacing_mm : tuple of float, optional
        Of a projection image, (y, x): brings diameters given in mm to pixels.

    Returns
    -------
    list of Lesion or None
        None for a case that is unlabelled or has only a label; an empty list where a reader found none.

    Raises
    ------
    AnnotationError, GeometryError
        Naming the case: an annotation is damaged, or lies outside or off the image.
    """
    labelled = read_labels(case, grid)
    if labelled is not None:
        return list(labelled.lesions)
    marks = _marks(case, grid, pixel_spacing_mm)
    return None if marks is None else agreed_lesions(marks, grid, n_readers=n_readers(case, case_rows(case)))


def read_readings(
    case: Case, grid: Grid, pixel_spacing_mm: tuple[float, float] | None = None
) -> dict[str, list[Lesion]] | None:
    """Read the lesions of each reader, as `read_lesions` does of all together.

    Returns
    -------
    dict of str to list of Lesion, or None
        Readers by name; without those who marked nothing.
    """
    layers = read_layers(case, grid)
    if layers is not None:
        return {
            reader: list(label_layers([layer for layer in layers if layer.reader == reader], grid, 1).lesions)
            for reader in dict.fromkeys(layer.reader for layer in layers)
        }
    marks = _marks(case, grid, pixel_spacing_mm)
    if marks is None:
        return None
    readers = dict.fromkeys(mark.reader for mark in marks)
    return {reader: [mark for mark in marks if mark.reader == reader] for reader in readers}


def _marks(case: Case, grid: Grid, pixel_spacing_mm: tuple[float, float] | None) -> list[Lesion] | None:
    """Boxes or points of all readers."""
    if case.boxes is not None:
        return [lesion_of_box(case, row, grid) for row in case_rows(case)]
    if case.points is not None:
        return [lesion_of_point(case, row, grid, pixel_spacing_mm) for row in case_rows(case)]
    return None


def unplaced_lesions(case: Case) -> list[Lesion]:
    """Lesions in the tables of a case whose image cannot be read: they count, though not where they lie.

    Marks of several readers cannot be joined without their places: those of the reader who marked most count.
    """
    rows = case_rows(case)
    readers = dict.fromkeys(reader_of(case, row) for row in rows)
    by_reader = [[row for row in rows if reader_of(case, row) == reader] for reader in readers]
    nowhere = (0.0,) * 6
    return [
        Lesion(
            0.0, 0.0, 0.0, 0.0, "mm", nowhere if case.boxes is not None else None, row.get("class", "") or case.name,
            reader_of(case, row), is_ignored(row),
        )
        for row in max(by_reader, key=len, default=[])
    ]  # fmt: skip
