"""Arithmetic of sliding windows along a dimension that is cut: which rows a rank's output needs."""

from dataclasses import dataclass

from medseg.parallel.layout import Cut, Interval, scaled_bounds, shifted_bounds

__all__ = ["Upsampling", "Window", "as_tuple"]


@dataclass(frozen=True, slots=True)
class Window:
    """A window of `kernel` rows, `dilation` apart, that moves by `stride` over rows padded by `before` and `after`."""

    kernel: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0

    @property
    def reach(self) -> int:
        """Rows from the first to the last of a window, less one."""
        return self.dilation * (self.kernel - 1)

    def size(self, rows: int, *, ceil: bool = False) -> int:
        """Output rows, as torch counts them (`ceil`: a last window that begins inside is kept)."""
        free = rows + self.before + self.after - self.reach - 1
        if not ceil:
            return free // self.stride + 1
        size = -(-free // self.stride) + 1
        return size - 1 if (size - 1) * self.stride >= rows + self.before else size

    def output(self, cut: Cut, size: int) -> Cut:
        """Division of the output."""
        return Cut(cut.dim, scaled_bounds(cut.bounds, size, stride=self.stride, centre=self.reach // 2 - self.before))

    def wants(self, output: Cut) -> list[Interval]:
        """Input rows that each rank's output needs; those outside are padding."""
        return [
            (low * self.stride - self.before, (high - 1) * self.stride - self.before + self.reach + 1)
            if high > low
            else (0, 0)
            for low, high in output.intervals()
        ]


@dataclass(frozen=True, slots=True)
class Upsampling:
    """A transposed convolution along a dimension: input row `i` reaches output rows from ``i * stride - before``."""

    kernel: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    extra: int = 0  # output_padding

    @property
    def reach(self) -> int:
        """Rows from the first to the last that an input row reaches, less one."""
        return self.dilation * (self.kernel - 1)

    def size(self, rows: int) -> int:
        """Output rows."""
        return (rows - 1) * self.stride - 2 * self.before + self.reach + self.extra + 1

    def output(self, cut: Cut) -> Cut:
        """Division of the output."""
        shift = self.reach // 2 - self.before
        return Cut(cut.dim, shifted_bounds(cut.bounds, self.size(cut.size), factor=self.stride, shift=shift))

    def wants(self, output: Cut, rows: int) -> list[Interval]:
        """Input rows that reach each rank's output."""
        wanted = []
        for low, high in output.intervals():
            first = max(0, -((self.reach - self.before - low) // self.stride))
            last = min(rows, (high - 1 + self.before) // self.stride + 1)
            wanted.append((first, last) if high > low and last > first else (0, 0))
        return wanted


def as_tuple(value: int | tuple[int, ...] | list[int], dimensions: int) -> tuple[int, ...]:
    """One number an axis."""
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * dimensions if len(values) == 1 else values
