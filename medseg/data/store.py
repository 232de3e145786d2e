"""Access to prepared cases while training: from the cache on disk, or prepared on first use."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from medseg.data.cache import CachedCase, CacheOptions, build_cache, load_case, read_entry
from medseg.data.manifest import Case

__all__ = ["MEMORY_BYTES", "CaseStore", "is_stack"]

MEMORY_BYTES = 1 << 30


def is_stack(case: Case) -> bool:
    """Whether the image is a member of a NumPy stack (``images.npy#12``), which needs no cache of its own."""
    return ".npy#" in Path(str(case.images[0])).name


class CaseStore:
    """Prepared cases by name; small ones stay in memory.

    Members of a NumPy stack are prepared on first use; everything else comes from the cache on disk.
    """

    def __init__(
        self, cases: list[Case], options: CacheOptions, entries: dict[str, Path], kept_bytes: int = MEMORY_BYTES
    ) -> None:
        self._cases = {case.case_id: case for case in cases}
        self._options, self._entries = options, entries
        self._memory: dict[str, CachedCase] = {}
        self._bytes, self._kept_bytes = 0, kept_bytes

    @classmethod
    def build(
        cls,
        cases: list[Case],
        options: CacheOptions,
        folder: Path,
        *,
        workers: int = 2,
        kept_bytes: int = MEMORY_BYTES,
    ) -> tuple["CaseStore", dict[str, str]]:
        """Build the cache of `cases` in `folder` and return the store with the reasons of failed cases.

        Up to `kept_bytes` of cases stay in memory.
        """
        on_disk = [case for case in cases if not is_stack(case)]
        entries, failures = build_cache(on_disk, options, folder, workers=workers)
        usable = [case for case in cases if case.case_id not in failures]
        return cls(usable, options, entries, kept_bytes), failures

    @property
    def cases(self) -> list[Case]:
        """The usable cases, in the order of the manifest."""
        return list(self._cases.values())

    def __getitem__(self, case_id: str) -> CachedCase:
        if case_id in self._memory:
            return self._memory[case_id]
        entry = self._entries.get(case_id)
        case = read_entry(entry) if entry is not None else load_case(self._cases[case_id], self._options)
        size = case.image.nbytes + case.instances.nbytes
        if self._bytes + size <= self._kept_bytes:  # else mapped anew each time: a kept map is an open file
            case = replace(case, image=np.array(case.image), instances=np.array(case.instances))
            self._memory[case_id] = case
            self._bytes += size
        return case
