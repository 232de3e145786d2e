"""Changes of grey values, by rows: noise, blur, brightness, gamma. The rows of any division are the same."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from monai.networks.layers import gaussian_1d

from medseg.data.rows import Rows, block_rows, kept, row_blocks
from medseg.seeds import child_seed

__all__ = ["blurred", "brightened", "curved", "negated", "noisy"]

NOISE_VOXELS = 1 << 14  # drawn from one seed: few seeds a sample, and little is drawn in vain at the ends of a slab


def noisy(rows: Rows, *, std: float, seed: int) -> Rows:
    """Add Gaussian noise; each few rows have a seed of their own, at places that do not depend on what is read."""
    step = block_rows(rows.shape, NOISE_VOXELS)

    def read(start: int, stop: int) -> torch.Tensor:
        changed = rows.read(start, stop).clone()
        for low, high in row_blocks(rows.shape, start, stop, NOISE_VOXELS):
            first = low - low % step
            length = min(step, rows.shape[1] - first)
            random = np.random.default_rng(child_seed(seed, "noise", first))
            noise = random.standard_normal((rows.shape[0], length, *rows.shape[2:]), np.float32)
            changed[:, low - start : high - start] += std * torch.from_numpy(noise[:, low - first : high - first])
        return changed

    return Rows(rows.shape, read)


def blurred(rows: Rows, sigmas: tuple[float, ...]) -> Rows:
    """Blur with MONAI's Gaussian kernel of `sigmas` voxels, one an axis; what lies outside counts as 0, as there.

    Along the rows it needs as many rows more at either side as the kernel is long.
    """
    kernels = [gaussian_1d(torch.tensor(sigma)) for sigma in sigmas]
    radius = len(kernels[0]) // 2

    def read(start: int, stop: int) -> torch.Tensor:
        low, high = max(0, start - radius), min(rows.shape[1], stop + radius)
        image = rows.read(low, high)
        missing = (radius - (start - low), radius - (high - stop))
        for axis, kernel in enumerate(kernels, start=1):
            image = _filtered(image, kernel.tolist(), axis, missing if axis == 1 else (len(kernel) // 2,) * 2)
        return image

    return Rows(rows.shape, read)


def _filtered(image: torch.Tensor, kernel: list[float], axis: int, zeros: tuple[int, int]) -> torch.Tensor:
    """Filter along `axis` with a symmetric kernel, after adding so many zeros before and behind.

    Tap by tap, because a library's convolution may add in another order where the shape differs.
    """
    pad = [0, 0] * (image.ndim - 1 - axis) + list(zeros)
    padded = torch.nn.functional.pad(image, pad)
    radius = len(kernel) // 2
    length = padded.shape[axis] - 2 * radius
    result = padded.narrow(axis, radius, length) * kernel[radius]
    for reach in range(1, radius + 1):
        pair = padded.narrow(axis, radius - reach, length) + padded.narrow(axis, radius + reach, length)
        result += pair.mul_(kernel[radius + reach])
    return result


def brightened(rows: Rows, *, factor: float, offset: float) -> Rows:
    """Multiply by `factor`, then add `offset`."""
    return Rows(rows.shape, lambda start, stop: rows.read(start, stop) * factor + offset)


def negated(rows: Rows) -> Rows:
    """Invert grey values."""
    return Rows(rows.shape, lambda start, stop: -rows.read(start, stop))


def curved(rows: Rows, gamma: float) -> Rows:
    """Put grey values on a gamma curve between the whole's extremes; the whole keeps its mean and deviation.

    The rule of MONAI's `AdjustContrast(gamma, retain_stats=True)`. The figures of the whole are taken block by block,
    twice, when the first rows are read.
    """
    rows = kept(rows)  # else a whole of one block would be made three times
    figures: list[tuple[_Moments, _Moments]] = []

    def blocks() -> Iterator[torch.Tensor]:
        return (rows.read(*block) for block in row_blocks(rows.shape, 0, rows.shape[1]))

    def read(start: int, stop: int) -> torch.Tensor:
        if not figures:
            found = _moments(blocks())
            figures.append((found, _moments(_curve(block, gamma, found) for block in blocks())))
        before, after = figures[0]
        image = _curve(rows.read(start, stop), gamma, before)
        scale = before.std / (after.std + 1e-8)  # 1e-8 and 1e-7: MONAI's guards of constant images
        return (image - after.mean) * scale + before.mean

    return Rows(rows.shape, read)


@dataclass(frozen=True, slots=True)
class _Moments:
    low: float
    high: float
    mean: float
    std: float


def _curve(image: torch.Tensor, gamma: float, whole: _Moments) -> torch.Tensor:
    extent = whole.high - whole.low
    share = ((image - whole.low) / (extent + 1e-7)).clamp_(min=0)  # below 0 by a rounding would be NaN
    return share.pow_(gamma).mul_(extent).add_(whole.low)


def _moments(parts: Iterable[torch.Tensor]) -> _Moments:
    """Extremes, mean and standard deviation of all parts together (Chan 1983, doi:10.1080/00031305.1983.10483115)."""
    low, high, n, mean, squares = math.inf, -math.inf, 0, 0.0, 0.0
    for part in parts:
        values = part.double()
        smallest, largest = values.aminmax()
        low, high = min(low, float(smallest)), max(high, float(largest))
        variance, own_mean = torch.var_mean(values, correction=0)
        m, step = values.numel(), float(own_mean) - mean
        squares += float(variance) * m + step**2 * n * m / (n + m)
        mean += step * m / (n + m)
        n += m
    return _Moments(low, high, mean, math.sqrt(squares / max(n - 1, 1)))
