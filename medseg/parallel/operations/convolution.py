"""Convolutions and transposed convolutions of one to three dimensions, with any stride, dilation, groups."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from medseg.parallel.layout import Layout
from medseg.parallel.operations.kernels import Geometry, convolve, gradient_of_weight
from medseg.parallel.operations.table import Table, functions
from medseg.parallel.operations.windows import Upsampling, Window, as_tuple
from medseg.parallel.sharding import Sharding, Unsupported
from medseg.parallel.space import Place, Rows, RowsAgain

__all__ = ["autocast_dtype", "table"]


def autocast_dtype(x: torch.Tensor) -> torch.dtype | None:
    """Type that autocast would compute a convolution in, None where it is off."""
    kind = x.device.type
    on = torch.is_autocast_enabled(kind) and x.is_floating_point() and x.dtype != torch.float64
    return torch.get_autocast_dtype(kind) if on else None


@dataclass(frozen=True, slots=True, eq=False)
class _Convolution:
    """What every rank computes once it has the rows that it needs; padding along cut dimensions is in the rows.

    Parameters
    ----------
    layout, shape : Layout, tuple of int
        Of the whole output.
    starts : dict
        Of a transposed convolution, for mesh axes: for each rank the row, of those that it computes, at which its
        output begins. Output outside of what is computed is reached by no input row.
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    transposed: bool
    extra: tuple[int, ...]
    layout: Layout
    shape: tuple[int, ...]
    starts: dict[int, list[int]]
    dtype: torch.dtype | None

    def forward(
        self, place: Place, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Convolve the rows of this rank."""
        rows, weight = self._cast(rows), self._cast(weight)
        bias = None if bias is None else self._cast(bias)
        shape = self.layout.part(self.shape, place)
        if 0 in shape or rows.numel() == 0:
            out = rows.new_zeros(shape)
            return out if bias is None else out + self._by_channel(bias)
        margins = self._margins(place, rows.shape, weight.shape, shape)
        late_bias = bias is not None and min(margins, default=0) < 0
        out = convolve(rows, weight, None if late_bias else bias, self._geometry(self.transposed, self.extra))
        if any(margins):
            out = functional.pad(out, [-margin for margin in margins])
        return out + self._by_channel(bias) if late_bias and bias is not None else out

    def vjp(
        self,
        place: Place,
        gradient: torch.Tensor,
        rows: RowsAgain,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        *,
        needs: Sequence[bool],
    ) -> list[torch.Tensor | None]:
        """Gradients of rows, weight and bias; the rows are gone again before their gradient is computed."""
        of_bias = gradient.sum([0, *range(2, gradient.ndim)]).to(bias.dtype) if bias is not None and needs[2] else None
        of_weight = self._of_weight(place, gradient, rows(), weight) if needs[1] else None
        of_rows = self._of_rows(place, gradient, rows.shape, rows.dtype, weight) if needs[0] else None
        return [of_rows, of_weight, of_bias][: 2 if bias is None else 3]

    def _of_weight(self, place: Place, gradient: torch.Tensor, rows: torch.Tensor, weight: torch.Tensor) -> Any:
        if gradient.numel() == 0 or rows.numel() == 0:
            return torch.zeros_like(weight)
        gradient = self._full(place, gradient, rows.shape, weight.shape)
        geometry = self._geometry(self.transposed, self.extra)
        of_weight = gradient_of_weight(gradient, self._cast(rows), self._cast(weight), geometry)
        return of_weight.to(weight.dtype)

    def _of_rows(
        self, place: Place, gradient: torch.Tensor, shape: torch.Size, dtype: torch.dtype, weight: torch.Tensor
    ) -> torch.Tensor:
        """The adjoint of a convolution is a transposed one, and the other way round: the rows are not needed."""
        if gradient.numel() == 0 or 0 in shape:
            return torch.zeros(shape, dtype=dtype, device=gradient.device)
        gradient = self._full(place, gradient, shape, weight.shape)
        extra = (0,) * len(self.stride)
        if not self.transposed:
            kernel = weight.shape[2:]
            extra = tuple(
                n - ((m - 1) * s - 2 * p + d * (k - 1) + 1)
                for n, m, s, p, d, k in zip(
                    shape[2:], gradient.shape[2:], self.stride, self.padding, self.dilation, kernel
                )
            )
        of_rows = convolve(gradient, self._cast(weight), None, self._geometry(not self.transposed, extra))
        for dim in range(2, len(shape)):  # output_padding of a stride or more would belong to further rows
            of_rows = of_rows.narrow(dim, 0, shape[dim])
        return of_rows.to(dtype)

    def _geometry(self, transposed: bool, extra: Sequence[int]) -> Geometry:
        return Geometry(self.stride, self.padding, self.dilation, transposed, extra, self.groups)

    def _full(self, place: Place, gradient: torch.Tensor, rows: Sequence[int], weight: Sequence[int]) -> torch.Tensor:
        """Gradient of all that this rank computes, of which its output is a part."""
        margins = self._margins(place, rows, weight, gradient.shape)
        gradient = self._cast(gradient)
        return functional.pad(gradient, margins) if any(margins) else gradient

    def _margins(self, place: Place, rows: Sequence[int], weight: Sequence[int], shape: Sequence[int]) -> list[int]:
        """Rows computed beyond the output (negative: missing), below and above, last dimension first."""
        margins = [(0, 0)] * len(self.stride)
        for axis, starts in self.starts.items():
            cut = self.layout.cuts[axis]
            assert cut is not None
            number = cut.dim - 2
            reach = self.dilation[number] * (weight[cut.dim] - 1)
            computed = (rows[cut.dim] - 1) * self.stride[number] + reach + 1
            start = starts[place[axis]]
            margins[number] = (start, computed - start - shape[cut.dim])
        return [value for pair in reversed(margins) for value in pair]

    def _cast(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.dtype is None else x.to(self.dtype)

    def _by_channel(self, bias: torch.Tensor) -> torch.Tensor:
        return bias.reshape(-1, *(1,) * len(self.stride))


def _padded(
    sharding: Sharding, x: torch.Tensor, kernel: Sequence[int], padding: Any, dilation: Sequence[int]
) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    """Padding below and above each spatial dimension; where it is not symmetric `x` is padded already."""
    if padding == "valid":
        return x, [(0, 0)] * len(kernel)
    if padding != "same":
        return x, [(one, one) for one in as_tuple(padding, len(kernel))]
    totals = [step * (side - 1) for side, step in zip(kernel, dilation)]
    pads = [(total // 2, total - total // 2) for total in totals]
    if all(low == high for low, high in pads):
        return x, pads
    x = sharding.run(functional.pad, x, [value for pair in reversed(pads) for value in pair])
    return x, [(0, 0)] * len(kernel)


def _batched(
    sharding: Sharding, x: torch.Tensor, dimensions: int, run: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Run on `x` with a batch dimension, which is added for the time where there is none."""
    if x.ndim != dimensions + 1:
        return run(x)
    return sharding.run(torch.squeeze, run(sharding.run(torch.unsqueeze, x, 0)), 0)


def _without_channel_cut(sharding: Sharding, x: torch.Tensor) -> torch.Tensor:
    layout = sharding.layout(x)
    axis = layout.dims.get(1)
    return x if axis is None else sharding.moved(x, layout.replace(axis, None))


def _convolution(
    dimensions: int,
    sharding: Sharding,
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> torch.Tensor:
    stride, dilation = as_tuple(stride, dimensions), as_tuple(dilation, dimensions)
    sharding.check_weights(weight, bias)

    def run(x: torch.Tensor) -> torch.Tensor:
        x = _without_channel_cut(sharding, x)
        kernel = tuple(weight.shape[2:])
        _check_channels(sharding.shape(x)[1], weight.shape[1] * groups)
        x, pads = _padded(sharding, x, kernel, padding, dilation)
        layout, whole = sharding.layout(x), sharding.shape(x)
        windows = [Window(*numbers) for numbers in zip(kernel, stride, dilation, *zip(*pads))]
        sizes = [window.size(rows) for window, rows in zip(windows, whole[2:])]
        if min(sizes) < 1:
            raise Unsupported(f"kernel {kernel} does not fit into {tuple(whole)}")
        out, wants = layout, {}
        for dim, axis in layout.dims.items():
            if dim >= 2:
                cut = layout.cuts[axis]
                assert cut is not None
                after = windows[dim - 2].output(cut, sizes[dim - 2])
                out, wants[axis] = out.replace(axis, after), windows[dim - 2].wants(after)
        kept = tuple(0 if dim + 2 in layout.dims else low for dim, (low, _) in enumerate(pads))
        shape = (whole[0], weight.shape[0], *sizes)
        work = _Convolution(stride, kept, dilation, groups, False, (0,) * dimensions, out, shape, {}, autocast_dtype(x))
        return _carry_out(sharding, work, Rows(x, layout, wants), weight, bias)

    return _batched(sharding, input, dimensions, run)


def _transposed(
    dimensions: int,
    sharding: Sharding,
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> torch.Tensor:
    stride, dilation = as_tuple(stride, dimensions), as_tuple(dilation, dimensions)
    pads, extra = as_tuple(padding, dimensions), as_tuple(output_padding, dimensions)
    sharding.check_weights(weight, bias)

    def run(x: torch.Tensor) -> torch.Tensor:
        x = _without_channel_cut(sharding, x)
        kernel = tuple(weight.shape[2:])
        _check_channels(sharding.shape(x)[1], weight.shape[0])
        layout, whole = sharding.layout(x), sharding.shape(x)
        steps = [Upsampling(*numbers) for numbers in zip(kernel, stride, dilation, pads, extra)]
        shape = (whole[0], weight.shape[1] * groups, *(step.size(rows) for step, rows in zip(steps, whole[2:])))
        out, wants, starts = layout, {}, {}
        for dim, axis in layout.dims.items():
            if dim < 2:
                continue
            cut, step = layout.cuts[axis], steps[dim - 2]
            assert cut is not None
            after = step.output(cut)
            out, wants[axis] = out.replace(axis, after), step.wants(after, cut.size)
            starts[axis] = [
                low + step.before - first * step.stride for (low, _), (first, _) in zip(after.intervals(), wants[axis])
            ]
        uncut = [dim + 2 not in layout.dims for dim in range(dimensions)]
        work = _Convolution(
            stride, tuple(p if keep else 0 for p, keep in zip(pads, uncut)), dilation, groups, True,
            tuple(e if keep else 0 for e, keep in zip(extra, uncut)), out, shape, starts, autocast_dtype(x),
        )  # fmt: skip
        return _carry_out(sharding, work, Rows(x, layout, wants), weight, bias)

    return _batched(sharding, input, dimensions, run)


def _check_channels(given: int, wanted: int) -> None:
    """Every rank finds a wrong number of channels, also one without rows, which would wait for the others."""
    if given != wanted:
        raise ValueError(f"convolution: weights for {wanted} input channels, but the input has {given}")


def _carry_out(
    sharding: Sharding, work: _Convolution, rows: Rows, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    operands = (rows, weight) if bias is None else (rows, weight, bias)
    out = sharding.space.map(work.forward, *operands, layout=work.layout, vjp=work.vjp)
    return sharding.tag(out, work.layout)


def table() -> Table:
    """Convolutions."""
    entries: Table = {}
    for dimensions in (1, 2, 3):
        for func in functions(f"conv{dimensions}d"):
            entries[func] = partial(_convolution, dimensions)
        for func in functions(f"conv_transpose{dimensions}d"):
            entries[func] = partial(_transposed, dimensions)
    return entries
