"""Radiographs from CT: line integrals of a divergent beam, Beer-Lambert, scatter, noise."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from medseg.volume import Grid

__all__ = ["Exposure", "Pose", "attenuation", "expose", "project", "project_point", "window_around"]

WATER_PER_MM = 0.019  # attenuation of water at about 70 keV (NIST XCOM)
DETECTOR_MM = 330.0  # side of the square detector
STEP_MM = 3.0  # along a ray
RANGE_COMPRESSION = 0.65
REACH_MM = 35.0  # around a nodule, in which its shadow is looked for


@dataclass(frozen=True, slots=True)
class Pose:
    """Where patient, source and detector are.

    Parameters
    ----------
    angles_deg : tuple of float
        Turns of the patient about x, y, z (L, P, S axes).
    shift_mm : tuple of float
        Shift of the patient along x, y, z.
    source_mm : float
        Distance from source to detector.
    gap_mm : float
        Distance from the middle of the patient to the detector.
    """

    angles_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    source_mm: float = 1800.0
    gap_mm: float = 160.0

    @classmethod
    def random(cls, random: np.random.Generator) -> "Pose":
        """Draw a pose as they vary in practice."""
        return cls(
            tuple(random.normal(0, (2.0, 2.0, 3.5)).tolist()),
            tuple(random.normal(0, (8, 4, 8)).tolist()),
            float(random.uniform(1700, 1900)),
            float(random.uniform(140, 180)),
        )

    def rotation(self) -> np.ndarray:
        """Matrix of the patient's turn, shape (3, 3)."""
        a, b, c = np.deg2rad(self.angles_deg)
        turn_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        turn_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
        turn_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
        return turn_x @ turn_y @ turn_z


@dataclass(frozen=True, slots=True)
class Exposure:
    """How the film is exposed.

    Parameters
    ----------
    photons : float
        Photons a pixel without a patient.
    scatter : float
        Scattered over primary radiation.
    """

    photons: float = 3e4
    scatter: float = 0.6


def attenuation(hounsfield: np.ndarray) -> np.ndarray:
    """Linear attenuation in 1/mm."""
    return np.maximum(WATER_PER_MM * (1 + hounsfield / 1000), 0).astype(np.float32)


def project_point(point_lps_mm: np.ndarray, centre_mm: np.ndarray, pose: Pose, size: int) -> tuple[float, float]:
    """Pixel (x, y) at which a point of the patient, in LPS mm, appears.

    The beam runs from the back to the front; the image is seen as facing the patient, his right at the left.
    """
    x, y, z = pose.rotation() @ (np.asarray(point_lps_mm) - centre_mm) + np.array(pose.shift_mm)
    magnification = pose.source_mm / (pose.source_mm - (pose.gap_mm + y))
    pixel = DETECTOR_MM / size
    return (x * magnification / pixel + (size - 1) / 2, -z * magnification / pixel + (size - 1) / 2)


def project(
    values: np.ndarray,
    grid: Grid,
    centre_mm: np.ndarray,
    pose: Pose,
    size: int,
    *,
    window: tuple[slice, slice] | None = None,
) -> np.ndarray:
    """Line integrals of `values`, shape (z, y, x), along the beam; shape (size, size), unit of `values` times mm.

    The detector lies in front of the patient (towards -y) and the source behind it. Outside `window` (rows,
    columns) the result is 0.
    """
    half, pixel = (size - 1) / 2, DETECTOR_MM / size
    rows, columns = window or (slice(0, size), slice(0, size))
    v = (torch.arange(size)[rows] - half) * pixel
    u = (torch.arange(size)[columns] - half) * pixel
    depth = (grid.shape[1] * grid.spacing[1]) / 2 + 30
    t = torch.arange(-depth, depth, STEP_MM)  # y of the planes
    shrink = (pose.source_mm - (pose.gap_mm + t)) / pose.source_mm  # detector -> plane at y = t
    x = u[None, None, :] * shrink[:, None, None]
    z = -v[None, :, None] * shrink[:, None, None]
    planes = torch.stack(torch.broadcast_tensors(x, t[:, None, None], z), dim=-1)  # (t, row, column, xyz)
    inverse = torch.from_numpy(np.linalg.inv(pose.rotation()).astype(np.float32))
    shift = torch.tensor(pose.shift_mm, dtype=torch.float32)
    points = (planes - shift) @ inverse.T + torch.from_numpy(np.asarray(centre_mm, dtype=np.float32))
    to_index = torch.from_numpy(np.linalg.inv(grid.affine).astype(np.float32))
    index = points @ to_index[:3, :3].T + to_index[:3, 3]
    limits = torch.tensor([n - 1 for n in grid.shape[::-1]], dtype=torch.float32)
    samples = torch.nn.functional.grid_sample(
        torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None, None],
        (index / limits * 2 - 1)[None],
        align_corners=True,
    )[0, 0]
    slant = torch.sqrt(1 + (u[None, :] / pose.source_mm) ** 2 + (v[:, None] / pose.source_mm) ** 2)
    integrals = np.zeros((size, size), np.float32)
    integrals[rows, columns] = (samples.sum(dim=0) * STEP_MM * slant).numpy()
    return integrals


def window_around(x: float, y: float, size: int) -> tuple[slice, slice]:
    """Rows and columns near a pixel, for `project`."""
    reach = REACH_MM / (DETECTOR_MM / size)
    rows, columns = ((max(0, int(c - reach)), min(size, int(c + reach) + 1)) for c in (y, x))
    return slice(*rows), slice(*columns)


def expose(line_integrals: np.ndarray, exposure: Exposure, random: np.random.Generator) -> np.ndarray:
    """Film of 12 bit, bone white, from line integrals of attenuation; uint16 of the same shape."""
    primary = np.exp(-line_integrals)
    blur = line_integrals.shape[0] / 12
    scattered = exposure.scatter * ndimage.gaussian_filter(primary, blur, mode="nearest")
    photons = random.poisson(exposure.photons * (primary + scattered)) + 1.0
    density = -np.log(photons / (exposure.photons * (1 + exposure.scatter)))
    # dynamic-range compression, as digital radiography does: the slow part is weakened
    density -= RANGE_COMPRESSION * ndimage.gaussian_filter(density, line_integrals.shape[0] / 9, mode="nearest")
    low, high = np.percentile(density, [0.5, 99.8])
    return (np.clip((density - low) / (high - low), 0, 1) * 4095).astype(np.uint16)
