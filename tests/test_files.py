import errno
import os
import signal
import subprocess
import sys

import pytest

from medseg.errors import OutputError, TableError
from medseg.files import atomic_path, exclusive, read_csv, write_csv, write_text


def test_failed_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def fail_half_way():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_full_disk_is_one_clear_error(tmp_path):
    with pytest.raises(OutputError, match="disk is full"), atomic_path(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_csv_round_trip(tmp_path):
    rows = [{"a": 0.1 + 0.2, "b": None}, {"a": float("nan"), "b": "x,y"}]
    write_csv(tmp_path / "t.csv", ["a", "b"], rows)
    columns, read = read_csv(tmp_path / "t.csv")
    assert columns == ["a", "b"]
    assert float(read[0]["a"]) == 0.1 + 0.2
    assert read[1] == {"a": "", "b": "x,y"}


def test_too_many_cells_are_named(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2,3\n")
    with pytest.raises(TableError, match="line 2"):
        read_csv(tmp_path / "t.csv")


def test_a_lock_ends_with_its_process_even_where_a_forked_worker_lives_on(tmp_path):
    code = (
        "import os, sys, time; from medseg.files import exclusive\n"
        f"with exclusive({str(tmp_path)!r}):\n"
        "    worker = os.fork()\n"
        "    if worker == 0: time.sleep(30)\n"
        "    print(worker, flush=True); time.sleep(30)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    worker = int(process.stdout.readline())
    try:
        with pytest.raises(OutputError, match="another process is writing here"), exclusive(tmp_path):
            pass
        process.kill()
        process.wait()
        with exclusive(tmp_path), pytest.raises(OutputError, match="another process"), exclusive(tmp_path):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)
