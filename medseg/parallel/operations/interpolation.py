"""Interpolation to another size: nearest and linear in one to three dimensions."""

from typing import Any

import torch
from torch.nn import functional

from medseg.parallel.layout import Cut
from medseg.parallel.operations.table import Table
from medseg.parallel.rows import nothing
from medseg.parallel.sharding import Sharding, Unsupported
from medseg.parallel.space import Place, Rows

__all__ = ["table"]

LINEAR = ("linear", "bilinear", "trilinear")
NEAREST = ("nearest", "nearest-exact")


def _interpolate(
    sharding: Sharding,
    input: torch.Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> torch.Tensor:
    if mode not in LINEAR + NEAREST or antialias:
        if mode == "area":
            return _area(sharding, input, size, scale_factor, recompute_scale_factor)
        raise Unsupported(f"interpolation of mode {mode}{' with antialias' if antialias else ''}")
    layout, whole, dimensions = sharding.layout(input), sharding.shape(input), input.ndim - 2
    sizes, scales = _as_tuples(size, dimensions), _as_tuples(scale_factor, dimensions)
    out, wants = layout, {}
    positions: dict[int, torch.Tensor] = {}  # for tensor dimensions that are cut: input row of each output row
    for dim, axis in layout.dims.items():
        cut = layout.cuts[axis]
        assert cut is not None
        if dim < 2:
            continue
        positions[dim] = _positions(
            whole[dim], None if sizes is None else sizes[dim - 2], None if scales is None else scales[dim - 2],
            mode, align_corners, recompute_scale_factor,
        )  # fmt: skip
        after = Cut(dim, _owners(cut, positions[dim]))
        out = out.replace(axis, after)
        wants[axis] = [_needed(positions[dim][a:b], cut.size, linear=mode in LINEAR) for a, b in after.intervals()]

    def local(place: Place, part: torch.Tensor) -> torch.Tensor:
        for dim, axis in layout.dims.items():
            if dim >= 2:
                cut = out.cuts[axis]
                assert cut is not None
                low, high = cut.own(place[axis])
                first = max(wants[axis][place[axis]][0], 0)
                part = _resampled(part, dim, positions[dim][low:high] - first, linear=mode in LINEAR)
        return _uncut(part, set(positions), sizes, scales, mode, align_corners, recompute_scale_factor)

    return sharding.tag(sharding.space.map(local, Rows(input, layout, wants), layout=out), out)


def _as_tuples(value: Any, dimensions: int) -> tuple[Any, ...] | None:
    if value is None:
        return None
    return tuple(value) if isinstance(value, tuple | list) else (value,) * dimensions


def _positions(rows: int, size: Any, scale: Any, mode: str, corners: Any, recompute: Any) -> torch.Tensor:
    """Where each output row lies among the input rows: torch's own answer for a ramp of numbers, float64."""
    ramp = torch.arange(rows, dtype=torch.float64)[None, None]
    mode = "linear" if mode in LINEAR else mode
    return functional.interpolate(
        ramp, size=size, scale_factor=scale, mode=mode, align_corners=corners if mode == "linear" else None,
        recompute_scale_factor=recompute,
    )[0, 0]  # fmt: skip


def _owners(cut: Cut, positions: torch.Tensor) -> tuple[int, ...]:
    """An output row belongs to the rank that has the middle of what it is made of, on the scale of the whole."""
    size = len(positions)
    inner = [-(-bound * size // cut.size) for bound in cut.bounds[1:-1]]
    return (0, *inner, size)


def _needed(positions: torch.Tensor, rows: int, *, linear: bool) -> tuple[int, int]:
    if len(positions) == 0:
        return 0, 0
    low, high = int(positions[0].floor()), int(positions[-1].floor())
    return low, min(high + 1 + int(linear), rows)


def _resampled(x: torch.Tensor, dim: int, positions: torch.Tensor, *, linear: bool) -> torch.Tensor:
    lower = positions.floor().long()
    weight = (positions - lower).to(x.device)
    lower = lower.to(x.device)
    below = x.index_select(dim, lower)
    if not linear or not weight.any():
        return below
    above = x.index_select(dim, (lower + 1).clamp(max=x.shape[dim] - 1))
    weight = weight.to(x.dtype).reshape(-1, *(1,) * (x.ndim - 1 - dim))
    return torch.lerp(below, above, weight)


def _uncut(
    x: torch.Tensor, done: set[int], sizes: Any, scales: Any, mode: str, corners: Any, recompute: Any
) -> torch.Tensor:
    """Interpolate the dimensions that are not cut; those that are keep their size."""
    if len(done) == x.ndim - 2:
        return x
    if x.numel() == 0:
        shape = list(x.shape)
        for dim in set(range(2, x.ndim)) - done:
            shape[dim] = sizes[dim - 2] if sizes is not None else int(x.shape[dim] * scales[dim - 2])
        return nothing(shape, x)
    named: dict[str, Any] = {"mode": mode, "align_corners": corners if mode in LINEAR else None}
    if sizes is not None:
        kept = [x.shape[dim + 2] if dim + 2 in done else size for dim, size in enumerate(sizes)]
        return functional.interpolate(x, size=kept, **named)
    kept_scales = [1.0 if dim + 2 in done else float(scale) for dim, scale in enumerate(scales)]
    return functional.interpolate(x, scale_factor=kept_scales, recompute_scale_factor=recompute, **named)


def _area(sharding: Sharding, x: torch.Tensor, size: Any, scale: Any, recompute: Any) -> torch.Tensor:
    """Averages over the area of each output voxel: adaptive average pooling, as in torch."""
    dimensions = x.ndim - 2
    sizes = _as_tuples(size, dimensions)
    if sizes is None:
        scales = _as_tuples(scale, dimensions)
        assert scales is not None
        sizes = tuple(int(rows * factor) for rows, factor in zip(sharding.shape(x)[2:], scales))
    pools = (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d)
    return sharding.run(pools[dimensions - 1], x, sizes[0] if dimensions == 1 else sizes)


def table() -> Table:
    """Interpolation."""
    return {functional.interpolate: _interpolate, functional.upsample: _interpolate}
