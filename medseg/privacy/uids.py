"""Search for UIDs, of which a study has thousands that begin alike."""

import re
from collections.abc import Iterator, Mapping

__all__ = ["UidSearch"]

ROOT = 6  # characters by which a number is taken for one of these UIDs


class UidSearch:
    """Unique identifiers (PS3.5 9.1) looked up whole.

    Parameters
    ----------
    numbers : mapping
        UID to the number of its identifier.
    """

    def __init__(self, numbers: Mapping[str, int]) -> None:
        self._numbers = dict(numbers)
        roots = "|".join(re.escape(root) for root in sorted({uid[:ROOT] for uid in numbers}))
        self._pattern = re.compile(rf"(?:{roots})[\d.]*")
        self._bytes_pattern = re.compile(self._pattern.pattern.encode())

    def search(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Yield number, start and end of each UID in a text."""
        return self._found(self._pattern, text) if self._numbers else iter(())

    def search_bytes(self, data: bytes) -> Iterator[tuple[int, int, int]]:
        """Yield number, start and end of each UID in bytes."""
        return self._found(self._bytes_pattern, data) if self._numbers else iter(())

    def _found(self, pattern, data) -> Iterator[tuple[int, int, int]]:  # type: ignore[no-untyped-def]
        for match in pattern.finditer(data):
            uid = match[0] if isinstance(match[0], str) else match[0].decode("ascii")
            uid = uid.rstrip(".")  # the end of a sentence, or the suffix of a file's name
            before = data[max(0, match.start() - 1) : match.start()]
            if uid in self._numbers and not before.isdigit() and before not in (".", b"."):
                yield self._numbers[uid], match.start(), match.start() + len(uid)
