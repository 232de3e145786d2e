"""A header whose values are converted once for all files that share them: the slices of a series differ in few."""

from typing import Any

__all__ = ["Header"]

REMEMBERED = 20_000  # values; a series has some thirty that are common and five a slice
LONGEST = 256  # bytes of a value that is remembered
# whose type depends on other elements of the same header (PS3.6: US or SS)
AMBIGUOUS = frozenset({"PixelPaddingValue", "PixelPaddingRangeLimit"})

_tags: dict[str, Any] = {}
_values: dict[tuple[Any, ...], Any] = {}


class Header:
    """Read access to a `pydicom.Dataset` by keyword.

    pydicom converts each element of each file anew, which takes most of the time of reading the headers of a series.
    Here the values of equal bytes are converted once, by pydicom. They are shared, so they must not be changed.

    Parameters
    ----------
    dataset : pydicom.Dataset
        As it was read, its elements not yet converted.
    """

    __slots__ = ("_charset", "dataset")

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self._charset = str(getattr(self._raw("SpecificCharacterSet"), "value", ""))

    def _raw(self, keyword: str) -> Any:
        """The element as it was read, None where it is absent."""
        from pydicom.tag import Tag

        tag = _tags.get(keyword)
        if tag is None:
            tag = _tags[keyword] = Tag(keyword)
        return self.dataset.get_item(tag) if tag in self.dataset else None

    def __contains__(self, keyword: str) -> bool:
        return self._raw(keyword) is not None

    def get(self, keyword: str, default: Any = None) -> Any:
        """Value of an attribute, `default` where it is absent."""
        raw = self._raw(keyword)
        if raw is None:
            return default
        stored = raw.value
        if keyword in AMBIGUOUS or not isinstance(stored, bytes) or len(stored) > LONGEST or raw.VR == "SQ":
            return self.dataset.get(keyword, default)
        key = (keyword, raw.VR, stored, raw.is_little_endian, self._charset)
        if key not in _values:
            if len(_values) >= REMEMBERED:
                _values.clear()
            _values[key] = self.dataset.get(keyword, default)
        return _values[key]

    def __getattr__(self, name: str) -> Any:
        """Attributes by keyword, and what else a data set has (``file_meta``, ``private_block``)."""
        return self.get(name) if name[0].isupper() and name in self.dataset else getattr(self.dataset, name)
