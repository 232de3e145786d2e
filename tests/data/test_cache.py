"""The cache: another process's work is left alone, a damaged entry is made anew."""

import os
import time

from medseg.data.cache import CacheOptions, build_cache, read_entry
from medseg.data.manifest import load_manifest
from medseg.data.settings import InputSettings

OPTIONS = CacheOptions(InputSettings(), None, ("infarct",))


def test_a_second_start_leaves_the_first_ones_entries_alone(tmp_path):
    young, old = tmp_path / ".partial-young", tmp_path / ".partial-old"
    for folder in (young, old):
        folder.mkdir()
    os.utime(old, (time.time() - 10000,) * 2)
    build_cache([], OPTIONS, tmp_path)
    assert (young.is_dir(), old.is_dir()) == (True, False)


def test_a_damaged_entry_is_made_anew(blobs, tmp_path):
    cases = list(load_manifest(blobs).cases[:2])
    entries, _ = build_cache(cases, OPTIONS, tmp_path)
    before = {name: read_entry(entry).image.copy() for name, entry in entries.items()}
    first, second = entries.values()
    (first / "image.npy").write_bytes((first / "image.npy").read_bytes()[:200])
    (second / "case.json").write_text("{")
    again, failures = build_cache(cases, OPTIONS, tmp_path)
    assert failures == {}
    assert all((read_entry(entry).image == before[name]).all() for name, entry in again.items())


def test_an_entry_that_is_written_for_long_is_left_alone(tmp_path):
    """Its folder is old, the large image in it still grows."""
    entry = tmp_path / ".partial-large"
    (entry / "parts").mkdir(parents=True)
    (entry / "parts" / "resampled.npy").touch()
    for folder in (entry / "parts", entry):
        os.utime(folder, (time.time() - 10000,) * 2)
    build_cache([], OPTIONS, tmp_path)
    assert entry.is_dir()
