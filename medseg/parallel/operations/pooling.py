"""Maximum and average pooling by windows, adaptive and global pooling."""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch.nn import functional

from medseg.parallel.layout import Cut, Layout
from medseg.parallel.operations.precision import LOW, type_of_result
from medseg.parallel.operations.reductions import extreme
from medseg.parallel.operations.table import Table, functions
from medseg.parallel.operations.windows import Window, as_tuple
from medseg.parallel.rows import nothing
from medseg.parallel.sharding import Sharding, Unsupported
from medseg.parallel.space import Place, Rows

__all__ = ["table"]

MAXIMUM = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
AVERAGE = {2: functional.avg_pool2d, 3: functional.avg_pool3d}
ADAPTIVE: dict[str, tuple[Any, ...]] = {
    "avg": (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d),
    "max": (functional.adaptive_max_pool1d, functional.adaptive_max_pool2d, functional.adaptive_max_pool3d),
}


def _windows(
    sharding: Sharding, x: torch.Tensor, windows: Sequence[Window], *, ceil: bool, fill: float
) -> tuple[Rows, Layout, list[int]]:
    """Rows that the windows need, layout and spatial size of the output."""
    layout, whole = sharding.layout(x), sharding.shape(x)
    first = x.ndim - len(windows)
    sizes = [window.size(rows, ceil=ceil) for window, rows in zip(windows, whole[first:])]
    if min(sizes) < 1:
        raise Unsupported(f"the window does not fit into {tuple(whole)}")
    out, wants = layout, {}
    for dim, axis in layout.dims.items():
        if dim >= first:
            cut, window = layout.cuts[axis], windows[dim - first]
            assert cut is not None
            after = window.output(cut, sizes[dim - first])
            out, wants[axis] = out.replace(axis, after), window.wants(after)
    return Rows(x, layout, wants, fill), out, sizes


def _fitted(
    x: torch.Tensor, windows: Sequence[Window], sizes: Sequence[int], cut: Sequence[bool], fill: float
) -> torch.Tensor:
    """Pad (or crop) the dimensions that are not cut so that exactly `sizes` windows fit, without padding."""
    pads: list[int] = []
    for number, (window, size) in enumerate(zip(windows, sizes)):
        if cut[number]:
            pads = [0, 0, *pads]
            continue
        rows = x.shape[x.ndim - len(windows) + number]
        pads = [window.before, (size - 1) * window.stride + window.reach + 1 - rows - window.before, *pads]
    return functional.pad(x, pads, value=fill) if any(pads) else x


def _max_pool(
    dimensions: int,
    sharding: Sharding,
    input: torch.Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> torch.Tensor:
    if return_indices:
        raise Unsupported("return_indices")
    windows = _given_windows(dimensions, kernel_size, stride, padding, dilation)
    rows, out, sizes = _windows(sharding, input, windows, ceil=ceil_mode, fill=-torch.inf)
    kernel, step, dilated = zip(*((one.kernel, one.stride, one.dilation) for one in windows))
    is_cut = [input.ndim - dimensions + number in rows.layout.dims for number in range(dimensions)]
    shape = (*sharding.shape(input)[: input.ndim - dimensions], *sizes)

    def local(place: Place, part: torch.Tensor) -> torch.Tensor:
        if 0 in out.part(shape, place):
            return nothing(out.part(shape, place), part)
        simple = not ceil_mode and all(cut or not window.before for cut, window in zip(is_cut, windows))
        fitted = part if simple else _fitted(part, windows, sizes, is_cut, -torch.inf)
        return MAXIMUM[dimensions](fitted, kernel, step, 0, dilated)

    return sharding.tag(sharding.space.map(local, rows, layout=out), out)


def _given_windows(dimensions: int, kernel: Any, stride: Any, padding: Any, dilation: Any) -> list[Window]:
    kernels, pads = as_tuple(kernel, dimensions), as_tuple(padding, dimensions)
    empty = stride is None or (isinstance(stride, tuple | list) and not stride)
    strides = kernels if empty else as_tuple(stride, dimensions)
    if any(pad > side // 2 for pad, side in zip(pads, kernels)):
        raise ValueError(f"padding {pads} should be at most half of the kernel {kernels}")
    return [Window(*numbers) for numbers in zip(kernels, strides, as_tuple(dilation, dimensions), pads, pads)]


def _avg_pool(
    dimensions: int,
    sharding: Sharding,
    input: torch.Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> torch.Tensor:
    windows = _given_windows(dimensions, kernel_size, stride, padding, 1)
    rows, out, sizes = _windows(sharding, input, windows, ceil=ceil_mode, fill=0.0)
    first, whole = input.ndim - dimensions, sharding.shape(input)
    is_cut = [first + number in rows.layout.dims for number in range(dimensions)]
    shape = (*whole[:first], *sizes)
    # a one-dimensional pooling has no divisor of its own in torch: it is one of two dimensions, the first being 1
    flat = int(dimensions == 1)
    kernel = (1,) * flat + tuple(window.kernel for window in windows)
    step = (1,) * flat + tuple(window.stride for window in windows)
    full = prod(kernel) if divisor_override is None else divisor_override

    def local(place: Place, part: torch.Tensor) -> torch.Tensor:
        local_shape = out.part(shape, place)
        if 0 in local_shape:
            return nothing(local_shape, part)
        fitted = _fitted(part, windows, sizes, is_cut, 0.0)
        fitted = fitted.unsqueeze(-2) if flat else fitted
        pooled = AVERAGE[max(dimensions, 2)](fitted, kernel, step, divisor_override=full)
        pooled = pooled.squeeze(-2) if flat else pooled
        if divisor_override is not None:
            return pooled
        for number, window in enumerate(windows):
            counts = _counts(window, whole[first + number], sizes[number], padding_counts=count_include_pad)
            cut_axis = out.dims.get(first + number)
            if cut_axis is not None:
                low, high = out.cuts[cut_axis].own(place[cut_axis])  # type: ignore[union-attr]
                counts = counts[low:high]
            if (counts != window.kernel).any():
                factor = (window.kernel / counts).to(pooled.dtype).to(pooled.device)
                pooled = pooled * factor.reshape(-1, *(1,) * (dimensions - 1 - number))
        return pooled

    return sharding.tag(sharding.space.map(local, rows, layout=out), out)


def _counts(window: Window, rows: int, size: int, *, padding_counts: bool) -> torch.Tensor:
    """Rows that each window counts, as torch does: those of padding, but not those beyond it, may count."""
    start = torch.arange(size, dtype=torch.float64) * window.stride - window.before
    end = torch.clamp(start + window.kernel, max=rows + window.after)
    return end - start if padding_counts else end.clamp(max=rows) - start.clamp(min=0)


def _adaptive(
    kind: str,
    dimensions: int,
    sharding: Sharding,
    input: torch.Tensor,
    output_size: Any,
    return_indices: bool = False,
) -> torch.Tensor:
    if return_indices:
        raise Unsupported("return_indices")
    layout, whole, first = sharding.layout(input), sharding.shape(input), input.ndim - dimensions
    wanted = (output_size,) * dimensions if output_size is None or isinstance(output_size, int) else output_size
    sizes = [rows if size is None else size for size, rows in zip(wanted, whole[first:])]
    pool = ADAPTIVE[kind][dimensions - 1]
    out, wants = layout, {}
    spans: dict[int, list[tuple[int, int]]] = {}  # input rows of each output row, for the dimensions that are cut
    for dim, axis in layout.dims.items():
        if dim < first:
            continue
        cut, size, rows = layout.cuts[axis], sizes[dim - first], whole[dim]
        assert cut is not None
        spans[axis] = [(row * rows // size, -(-(row + 1) * rows // size)) for row in range(size)]
        after = Cut(dim, _owners(cut, spans[axis]))
        out = out.replace(axis, after)
        wants[axis] = [(spans[axis][a][0], spans[axis][b - 1][1]) if b > a else (0, 0) for a, b in after.intervals()]
    shape = (*whole[:first], *sizes)

    if (spans and all(size == 1 for size in sizes)) or (kind == "avg" and all(len(one) == 1 for one in spans.values())):
        return _global(kind, sharding, input, tuple(wants), first, sizes, pool)

    def local(place: Place, part: torch.Tensor) -> torch.Tensor:
        local_shape = out.part(shape, place)
        if 0 in local_shape:
            return nothing(local_shape, part)
        return _by_windows(pool, part, list(sizes), {
            dim: _own_spans(spans[axis], out, axis, place) for dim, axis in layout.dims.items() if dim >= first
        })  # fmt: skip

    return sharding.tag(sharding.space.map(local, Rows(input, layout, wants), layout=out), out)


def _own_spans(spans: list[tuple[int, int]], out: Layout, axis: int, place: Place) -> list[tuple[int, int]]:
    """Input rows of each output row of this rank, among those that it has fetched."""
    cut = out.cuts[axis]
    assert cut is not None
    low, high = cut.own(place[axis])
    return [(a - spans[low][0], b - spans[low][0]) for a, b in spans[low:high]]


def _by_windows(
    pool: Any, part: torch.Tensor, sizes: list[int], spans: dict[int, list[tuple[int, int]]]
) -> torch.Tensor:
    """Pool window by window along the dimensions of `spans`."""
    if not spans:
        return pool(part, sizes)
    dim, windows = next(iter(spans.items()))
    rest = {other: windows for other, windows in spans.items() if other != dim}
    sizes[dim - part.ndim + len(sizes)] = 1
    return torch.cat([_by_windows(pool, part.narrow(dim, a, b - a), list(sizes), rest) for a, b in windows], dim)


def _owners(cut: Cut, spans: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """An output row belongs to the rank that has the first row of its span."""
    inner = [sum(start < bound for start, _ in spans) for bound in cut.bounds[1:-1]]
    return (0, *inner, len(spans))


def _global(
    kind: str, sharding: Sharding, x: torch.Tensor, axes: tuple[int, ...], first: int, sizes: list[int], pool: Any
) -> torch.Tensor:
    """Pool to one row along every dimension that is cut: every rank has the result."""
    small = (*sharding.shape(x)[:first], *(1,) * len(sizes))
    goal = type_of_result(lambda tiny: pool(tiny, (1,) * len(sizes)), x, small)
    if kind == "max":  # to one value; of equal ones the first has the gradient
        found = extreme("amax", sharding, x, tuple(range(first, x.ndim)), True, first=True)
        return sharding.run(torch.Tensor.to, found, goal)
    cuts = [sharding.layout(x).cuts[axis] for axis in axes]
    wide = torch.float32 if x.dtype in LOW else x.dtype
    x = sharding.run(torch.mean, x, [cut.dim for cut in cuts if cut is not None], keepdim=True, dtype=wide)
    layout = sharding.layout(x)
    return sharding.tag(sharding.space.map(lambda place, part: pool(part, sizes).to(goal), x, layout=layout), layout)


def table() -> Table:
    """Pooling."""
    entries: Table = {}
    for dimensions in (1, 2, 3):
        for func in functions(f"max_pool{dimensions}d"):
            entries[func] = partial(_max_pool, dimensions)
        for func in functions(f"avg_pool{dimensions}d"):
            entries[func] = partial(_avg_pool, dimensions)
        for func in functions(f"adaptive_avg_pool{dimensions}d"):
            entries[func] = partial(_adaptive, "avg", dimensions)
        entries[ADAPTIVE["max"][dimensions - 1]] = partial(_adaptive, "max", dimensions)  # others return indices
    return entries
