"""Masks of a case, of one reader or several, as one image of numbered lesions."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cc3d
import numpy as np

from medseg.data.annotations.mask_files import grid_of_mask, read_regions
from medseg.data.annotations.places import size_dimensions
from medseg.data.annotations.tables import Row, case_rows, has_mask_table, is_ignored, n_readers, reader_of
from medseg.data.manifest import Case
from medseg.data.pseudonyms import without_paths
from medseg.errors import AnnotationError, GeometryError, MedsegError
from medseg.imaging.formats import split_member
from medseg.lesion import Lesion, equivalent_diameter
from medseg.volume import Grid

__all__ = [
    "LabelledMask",
    "Layer",
    "label_layers",
    "lesions_of_mask",
    "mask_grid",
    "mask_names",
    "read_labels",
    "read_layers",
    "read_mask",
]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """What one reader marked as one class: uint8 `voxels` of shape (z, y, x), 1 inside."""

    name: str
    reader: str
    ignore: bool
    voxels: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class LabelledMask:
    """Lesions as an image of their numbers.

    Parameters
    ----------
    labels : ndarray of int32, shape (z, y, x)
        0, or the `Lesion.mask_label` of a lesion; also of those that are ignored.
    lesions : tuple of Lesion
        Lesion n of the image is number n - 1 here.
    """

    labels: np.ndarray
    lesions: tuple[Lesion, ...]

    @property
    def mask(self) -> np.ndarray:
        """1 inside lesions that are not ignored; uint8."""
        counts = np.array([0, *(not lesion.ignore for lesion in self.lesions)], np.uint8)
        return counts[self.labels]


def read_mask(case: Case, grid: Grid) -> np.ndarray | None:
    """Read a case's mask, uint8 of shape (z, y, x) with 1 inside lesions; None where there is none.

    Of several readers: where at least half of them marked the same class.

    Raises
    ------
    GeometryError
        When a mask does not lie on `grid`.
    AnnotationError
        When its values are negative or not whole numbers.
    """
    found = read_labels(case, grid)
    return None if found is None else found.mask


def read_labels(case: Case, grid: Grid) -> LabelledMask | None:
    """Read the masks of a case as lesions with their numbers; None where it has none.

    Raises
    ------
    AnnotationError, GeometryError
        As for `read_mask`.
    """
    layers = read_layers(case, grid)
    return None if layers is None else label_layers(layers, grid, n_readers(case, case_rows(case)))


def read_layers(case: Case, grid: Grid) -> list[Layer] | None:
    """Read what each reader marked, class by class; None for a case without a mask."""
    if case.mask is None:
        return None
    layers = []
    for name, row in _files(case):
        try:
            regions = read_regions(name, grid)
        except MedsegError as error:
            kind = GeometryError if isinstance(error, GeometryError) else AnnotationError
            raise kind(f"case {case.case_id}: {without_paths(str(error), [name])}") from error
        own = row.get("class", "") or case.name
        layers += [Layer(own or region, reader_of(case, row), is_ignored(row), voxels) for region, voxels in regions]
    return layers


def mask_names(case: Case) -> list[str]:
    """Names of the case's masks: absolute paths, some with ``#`` and what is chosen of the file."""
    return [str(name) for name, _ in _files(case)]


def mask_grid(case: Case) -> Grid | None:
    """Grid of a case's first mask, for a case whose image cannot be read; None where it has no mask."""
    names = mask_names(case)
    return grid_of_mask(names[0]) if names else None


def _files(case: Case) -> list[tuple[str | Path, Row]]:
    if case.mask is None:
        return []
    if not has_mask_table(case):
        return [(case.mask, {})]
    found: list[tuple[str | Path, Row]] = []
    for row in case_rows(case):
        name = str(case.mask.parent / row["mask"])
        if not row["mask"] or not split_member(name)[0].exists():
            raise AnnotationError(f"case {case.case_id}: {case.mask.name} names a mask that is not here")
        found.append((name, row))
    return found


def label_layers(layers: Sequence[Layer], grid: Grid, n_readers: int) -> LabelledMask:
    """Agree on a mask for each class and number its components (26 neighbours).

    A voxel belongs to a class where at least half of the readers marked it so. A component that fewer marked is an
    ignored lesion. Where classes overlap, the smaller stays on top.

    Parameters
    ----------
    n_readers : int
        How many readers looked at the case, also those who marked nothing.
    """
    counted: list[Layer] = []
    ignored: list[Layer] = []
    for name in dict.fromkeys(layer.name for layer in layers):
        mine = [layer for layer in layers if layer.name == name]
        by_reader = _united([layer for layer in mine if not layer.ignore])
        readers = ";".join(sorted(filter(None, by_reader)))
        votes = np.zeros(grid.shape, np.int16)
        for voxels in by_reader.values():
            votes += voxels
        agreed = (votes * 2 >= max(n_readers, 1)) & (votes > 0)
        counted.append(Layer(name, readers, False, agreed))
        if n_readers > 1:
            ignored.append(Layer(name, readers, True, _apart(votes > 0, agreed)))
        ignored += [layer for layer in mine if layer.ignore]
    order = [*ignored, *sorted(counted, key=lambda layer: -int(layer.voxels.sum()))]
    painted = np.zeros(grid.shape, np.int16)
    for number, layer in enumerate(order, start=1):
        painted[layer.voxels > 0] = number
    labels = np.zeros(grid.shape, np.int32)
    lesions: list[Lesion] = []
    for number, layer in enumerate(order, start=1):
        own, found = _components(painted == number, grid, layer.name, layer.reader)
        before = len(lesions)
        labels[own > 0] = own[own > 0].astype(np.int32) + before
        lesions += [replace(one, ignore=layer.ignore, mask_label=one.mask_label + before) for one in found]
    return LabelledMask(labels, tuple(lesions))


def _united(layers: Sequence[Layer]) -> dict[str, np.ndarray]:
    """What each reader marked in any of these layers, as 0 and 1."""
    result: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(layers[0].voxels.shape, np.uint8))
    for layer in layers:
        result[layer.reader] |= layer.voxels
    return result


def _apart(marked: np.ndarray, agreed: np.ndarray) -> np.ndarray:
    """Components of what anybody marked that hold nothing of what is agreed."""
    labels = cc3d.connected_components(marked, connectivity=26)
    touched = np.unique(labels[agreed])
    return (labels > 0) & ~np.isin(labels, touched)


def lesions_of_mask(mask: np.ndarray, grid: Grid, *, name: str = "", reader: str = "") -> list[Lesion]:
    """Connected components (26 neighbours) of a mask, shape (z, y, x), as lesions numbered as cc3d labels them."""
    return _components(mask > 0, grid, name, reader)[1]


def _components(mask: np.ndarray, grid: Grid, name: str, reader: str) -> tuple[np.ndarray, list[Lesion]]:
    labels = cc3d.connected_components(mask, connectivity=26)
    statistics = cc3d.statistics(labels)
    dimensions = size_dimensions(grid)
    lesions = []
    for number in range(1, int(labels.max()) + 1):
        centre = statistics["centroids"][number][::-1]
        size = float(statistics["voxel_counts"][number]) * grid.voxel_size
        if dimensions == 2:
            size /= grid.spacing[0]
        spans = statistics["bounding_boxes"][number]  # (z, y, x)
        x, y, z = grid.to_world(centre[None])[0].tolist()
        diameter = float(equivalent_diameter(size, dimensions=dimensions))
        box = (*(float(s.start) for s in spans[::-1]), *(float(s.stop) for s in spans[::-1]))
        lesions.append(Lesion(x, y, z, diameter, grid.unit, box, name, reader, mask_label=number))  # type: ignore[arg-type]
    return labels, lesions
