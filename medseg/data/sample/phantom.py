"""An analytic thorax: what the sample data is made of without a network."""

import numpy as np

from medseg.volume import Grid

__all__ = ["make_phantom"]

SIZE_MM = (300.0, 240.0, 340.0)  # (z, y, x)


def make_phantom(spacing_mm: float) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Make a thorax of ellipsoids.

    Returns
    -------
    hounsfield : ndarray of float32, shape (z, y, x)
    lungs : ndarray of bool, shape (z, y, x)
    grid : Grid
        Axes towards L, P, S, centred at the origin.
    """
    shape = tuple(round(side / spacing_mm) for side in SIZE_MM)
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * spacing_mm for n in shape[::-1]]
    grid = Grid(shape, affine, "mm")  # type: ignore[arg-type]
    z, y, x = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * spacing_mm for n in shape), indexing="ij", sparse=True)

    def ellipsoid(cx: float, cy: float, cz: float, rx: float, ry: float, rz: float) -> np.ndarray:
        return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2 <= 1

    hounsfield = np.full(shape, -1000.0, np.float32)
    body = (x / 155) ** 2 + (y / 105) ** 2 <= 1
    hounsfield[np.broadcast_to(body, shape)] = 30
    lungs = ellipsoid(-72, 0, 5, 55, 75, 120) | ellipsoid(72, 0, 5, 52, 75, 120)
    heart = ellipsoid(22, -25, -35, 50, 42, 55)
    diaphragm = ellipsoid(-70, 0, -135, 75, 90, 55) | ellipsoid(70, 0, -140, 75, 90, 55)
    lungs &= ~heart & ~diaphragm
    hounsfield[lungs] = -840
    hounsfield[np.broadcast_to(((x / 18) ** 2 + ((y - 70) / 18) ** 2 <= 1), shape)] = 350  # spine
    for level in range(-110, 130, 26):  # ribs: rings that fall towards the front
        ring = np.abs(np.sqrt((x / 138) ** 2 + (y / 92) ** 2) - 1) < 0.03
        rib = ring & (np.abs(z - (level + 0.22 * y)) < 5)
        hounsfield[rib & ~lungs] = 500
    random = np.random.default_rng(0)
    for _ in range(160):  # vessels: small spheres in the lungs
        x0, y0, z0 = random.uniform((-115, -65, -100), (115, 65, 110))
        radius = random.uniform(1.5, 3.5)
        hounsfield[ellipsoid(x0, y0, z0, radius, radius, radius * 4) & lungs] = 20
    return hounsfield, lungs, grid
