"""Ranks that another launcher has started: they find each other, and each notices by itself what happens to others."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from medseg.parallel import ranks
from medseg.parallel.errors import RankError
from medseg.parallel.ranks import any_rank, current_rank, own_device, process_group
from medseg.parallel.signs import beat, busy

TOYS = Path(__file__).parents[1] / "rank_toys.py"
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_LOCALID", "MASTER_ADDR", "MASTER_PORT")
CPU = torch.device("cpu")
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def _set(monkeypatch, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_alone_there_is_nothing_to_join():
    with process_group(CPU) as rank:
        assert (rank.rank, rank.world_size, rank.local_rank, rank.host) == (0, 1, 0, socket.gethostname())
        assert not torch.distributed.is_initialized()
        beat(1)
        with busy():
            assert any_rank(True)
            assert not any_rank(False)


def test_rank_is_read_from_the_environment(monkeypatch):
    _set(monkeypatch, RANK="5", WORLD_SIZE="8", LOCAL_RANK="1", MASTER_ADDR="node0", MASTER_PORT="29500")
    rank = current_rank()
    assert (rank.rank, rank.world_size, rank.local_rank) == (5, 8, 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert own_device(rank, torch.device("cuda")) == torch.device("cuda", 1)
    assert own_device(rank, torch.device("cuda", 3)) == torch.device("cuda", 3)
    assert own_device(rank, CPU) == CPU


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"MASTER_PORT": ""}, "MASTER_PORT is not"),
        ({"RANK": "8"}, "RANK=8 .* below WORLD_SIZE=8"),
        ({"RANK": "-1"}, "RANK=-1"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two"),
    ],
)
def test_contradictory_environment_is_refused(monkeypatch, variables, message):
    _set(monkeypatch, RANK="5", WORLD_SIZE="8", MASTER_ADDR="node0", MASTER_PORT="29500")
    _set(monkeypatch, **variables)
    with pytest.raises(RankError, match=message):
        current_rank()


def test_port_that_is_taken_is_named(monkeypatch):
    with socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        _set(monkeypatch, RANK="0", WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        with pytest.raises(RankError, match=f"rank 0 of 2 on .*: port {port} cannot be opened"), process_group(CPU):
            pass


def test_missing_rank_0_is_named(monkeypatch):
    monkeypatch.setattr(ranks, "START_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    _set(monkeypatch, RANK="1", WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    with pytest.raises(RankError, match=f"rank 1 of 2 on .*: rank 0 was not found .*{port}"), process_group(CPU):
        pass


def _start(fate, folder, *, n=2, hang_seconds=5.0):
    """Start ranks as a batch system would: nobody looks after them, and the store is with rank 0."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(TOYS), fate, str(hang_seconds), str(folder)]
    return [
        subprocess.Popen(command, env=os.environ | shared | {"RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(n)
    ]


def _ends(processes, *, killed=()):
    """Exit codes and messages of the ranks but those that have to be killed."""
    found = []
    try:
        for number, process in enumerate(processes):
            if number not in killed:
                _, errors = process.communicate(timeout=PATIENCE)
                found.append((process.returncode, [line for line in errors.splitlines() if "rank" in line][-1:]))
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return found


@pytest.mark.slow
def test_all_leave_together(tmp_path):
    assert _ends(_start("none", tmp_path, n=3)) == [(0, [])] * 3


@pytest.mark.slow
@pytest.mark.parametrize("fate", ["killed", "exits"])
def test_survivor_names_the_dead(fate, tmp_path):
    (code, lines), (other, _) = _ends(_start(fate, tmp_path, hang_seconds=30.0))
    assert (code, other) == (2, {"killed": -signal.SIGKILL, "exits": 3}[fate])
    assert lines[0].startswith("caught: rank 1 of 2 on ")  # the main thread is woken by the closed connection
    assert lines[0].endswith(", step 3: its process was killed or stopped")


@pytest.mark.slow
def test_survivor_names_who_has_failed_and_why(tmp_path):
    (code, lines), (other, own) = _ends(_start("image", tmp_path))
    assert (code, other) == (2, 2)
    assert lines[0].endswith(", step 3: case a: no pixel data")
    assert lines[0].startswith("caught: rank 1 of 2 on ")
    assert own == []  # its own message needs no rank


@pytest.mark.slow
def test_stopped_rank_ends_those_that_wait_for_it(tmp_path):
    for code, lines in _ends(_start("stopped", tmp_path, n=3), killed=[1]):
        assert code == 2
        assert lines[0].startswith("medseg: error: rank 1 of 3 on ")
        assert ", step 3: no sign of life for " in lines[0]
        assert lines[0].endswith("its process was killed or stopped")


@pytest.mark.slow
def test_endless_loop_ends_all_and_is_located(tmp_path):
    for code, lines in _ends(_start("loops", tmp_path)):
        assert code == 2
        assert lines[0].startswith("medseg: error: rank 1 of 2 on ")
        assert lines[0].endswith("(meet)")


@pytest.mark.slow
def test_stopped_store_is_noticed(tmp_path):
    processes = _start("loops", tmp_path, hang_seconds=8.0)
    place = tmp_path / "pid_0"
    while not (place.is_file() and place.read_text()):
        assert processes[0].poll() is None
    os.kill(processes[0].pid, signal.SIGSTOP)  # the store stops with it
    ((code, lines),) = _ends(processes, killed=[0])
    assert code == 2
    assert lines[0].startswith("medseg: error: rank 0 of 2")
    assert "no answer from its host" in lines[0]
