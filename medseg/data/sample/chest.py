"""The chest that exams are simulated from: a real CT where it can be had, an analytic phantom otherwise."""

import logging
from dataclasses import dataclass

import numpy as np

from medseg.data.sample.phantom import make_phantom
from medseg.data.sample.wheels import CHEST_CT, CHEST_LABELS, obtain
from medseg.errors import SampleDataError
from medseg.volume import Grid

__all__ = ["CITATION", "MASS_LPS_MM", "ChestCt", "load_chest"]

logger = logging.getLogger(__name__)
SPACING_MM = 2.0
LUNG_LABELS = (10, 11, 12, 13, 14)  # the five lobes
MASS_LPS_MM = (55.5, 85.6, -115.0)  # a real mass of about 34 x 28 mm, malignancy 5 from all four readers
MASS_RADIUS_MM = 27.0
CITATION = (
    "CT: LIDC-IDRI-0001 of the LIDC-IDRI collection (The Cancer Imaging Archive, CC BY 3.0). Armato SG et al., "
    "The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative (IDRI): a completed reference "
    "database of lung nodules on CT scans, Medical Physics 38 (2011) 915-931, doi:10.1118/1.3528204."
)


@dataclass(frozen=True, slots=True, eq=False)
class ChestCt:
    """A chest without nodules.

    Parameters
    ----------
    hounsfield : ndarray of float32, shape (z, y, x)
    lungs : ndarray of bool, shape (z, y, x)
    lung_depth_mm : ndarray of float32, shape (z, y, x)
        Distance of each lung voxel to the border of the lungs.
    grid : Grid
        Axes towards L, P, S.
    real : bool
        False for the phantom.
    """

    hounsfield: np.ndarray
    lungs: np.ndarray
    lung_depth_mm: np.ndarray
    grid: Grid
    real: bool

    @property
    def centre_mm(self) -> np.ndarray:
        """Middle of the lungs in LPS mm, shape (3,): where the beam is centred."""
        spans = [np.flatnonzero(self.lungs.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
        index = np.array([[(span[0] + span[-1]) / 2 for span in spans[::-1]]])
        return self.grid.to_world(index)[0]

    @property
    def notice(self) -> str:
        """What every page made from it must say."""
        source = "one real chest CT" if self.real else "an analytic thorax phantom (the real CT could not be fetched)"
        return (
            f"Simulated data: every exam is made from {source}, with nodules inserted by computer. Exams are split "
            "by simulated exam, not by patient: these figures show that the software works and estimate nothing "
            "clinical."
        )


def load_chest() -> ChestCt:
    """Load the real CT with its mass replaced by lung, or the phantom without a network."""
    try:
        image, labels = obtain(CHEST_CT), obtain(CHEST_LABELS)
    except SampleDataError as error:
        logger.warning("%s; an analytic thorax phantom takes the place of the real CT", error)
        hounsfield, lungs, grid = make_phantom(SPACING_MM)
        return ChestCt(hounsfield, lungs, _depth(lungs, grid), grid, real=False)
    from medseg.data.resample import canonical_grid, resample, respaced_grid
    from medseg.imaging import read

    volume, organs = read(image), read(labels)
    grid = respaced_grid(canonical_grid(volume.grid), (SPACING_MM,) * 3)
    hounsfield = resample(np.clip(volume.array[0], -1024, 3071), volume.grid, grid, outside=-1024.0)
    lobes = np.isin(organs.array[0], LUNG_LABELS).astype(np.uint8)
    lungs = resample(lobes, organs.grid, grid, interpolation="nearest") > 0
    return ChestCt(_without_mass(hounsfield, grid), lungs, _depth(lungs, grid), grid, real=True)


def _depth(lungs: np.ndarray, grid: Grid) -> np.ndarray:
    import SimpleITK as sitk

    distance = sitk.SignedMaurerDistanceMap(
        sitk.GetImageFromArray(lungs.astype(np.uint8)), insideIsPositive=True, squaredDistance=False
    )
    return sitk.GetArrayFromImage(distance) * grid.spacing[0]


def _without_mass(hounsfield: np.ndarray, grid: Grid) -> np.ndarray:
    """Replace the mass by the lung at the same height in the mirrored place, blended over its border."""
    x, y, z = grid.to_index(np.array([MASS_LPS_MM]))[0]
    axes = np.meshgrid(*(np.arange(n) for n in hounsfield.shape), indexing="ij", sparse=True)
    distance = np.sqrt(sum((axis - centre) ** 2 for axis, centre in zip(axes, (z, y, x)))) * SPACING_MM
    weight = np.clip((MASS_RADIUS_MM - distance) / 8.0, 0, 1)
    mirrored = hounsfield[:, :, ::-1]
    middle = (hounsfield.shape[2] - 1) / 2
    body = np.flatnonzero((hounsfield > -300).any(axis=(0, 1)))
    mirrored = np.roll(mirrored, round(float(body.mean() - middle) * 2), axis=2)
    lung_like = np.where(mirrored < -500, mirrored, -850.0)
    return np.where(weight > 0, (1 - weight) * hounsfield + weight * lung_like, hounsfield).astype(np.float32)
