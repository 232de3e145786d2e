"""Stored numbers into float32, counting what that costs."""

import numpy as np

from medseg.volume import Note

__all__ = ["Float32Conversion"]

WHOLE_NUMBERS = 2**24  # float32 has a 24 bit significand: beyond this it skips whole numbers


class Float32Conversion:
    """Turns arrays of stored numbers into float32, and notes rounding, overflow, NaN and infinity.

    Parameters
    ----------
    dtype : numpy.dtype
        Of the stored numbers: integers, unsigned integers or floats.
    slope, intercept : float
        Value = stored * `slope` + `intercept`, computed in float64.

    Examples
    --------
    >>> conversion = Float32Conversion(np.dtype("i4"))
    >>> conversion(np.array([3, 2**24 + 1], dtype="i4")).tolist()
    [3.0, 16777216.0]
    >>> conversion.notes()[0].code
    'precision'
    """

    def __init__(self, dtype: np.dtype, slope: float = 1.0, intercept: float = 0.0) -> None:
        self._dtype = dtype
        self._scale = None if (slope, intercept) == (1.0, 0.0) else (slope, intercept)
        self._rounded = 0
        self._not_finite = 0

    def __call__(self, stored: np.ndarray) -> np.ndarray:
        """Convert an array of any shape."""
        with np.errstate(over="ignore", invalid="ignore"):  # counted below
            values = stored
            if self._scale is not None:
                values = stored.astype(np.float64) * self._scale[0] + self._scale[1]
            result = np.ascontiguousarray(values, dtype=np.float32)
        if self._dtype.kind in "iu" and self._dtype.itemsize > 2:
            beyond = stored > WHOLE_NUMBERS
            if self._dtype.kind == "i":
                beyond |= stored < -WHOLE_NUMBERS
            self._rounded += int(np.count_nonzero(beyond))
        if values.dtype.kind == "f":
            finite = np.isfinite(result)
            if not finite.all():
                self._not_finite += int(result.size - np.count_nonzero(finite))
                if values.dtype.itemsize > 4:
                    self._rounded += int(np.count_nonzero(np.isfinite(values) & ~finite))
        return result

    def notes(self) -> tuple[Note, ...]:
        """What the conversions so far have cost."""
        notes = []
        if self._rounded:
            text = f"{self._rounded} values of type {self._dtype.name} were rounded: float32 cannot hold them exactly"
            notes.append(Note("precision", text, warning=True))
        elif self._dtype.kind == "f" and self._dtype.itemsize > 4:
            notes.append(Note("precision", "stored as float64, read as float32"))
        if self._not_finite:
            text = f"{self._not_finite} values are NaN or infinite; they were kept"
            notes.append(Note("not_finite", text, warning=True))
        return tuple(notes)
