"""Jobs of real processes: how they end when all goes well, and when one rank does not."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from medseg.errors import ConfigError, ImageError
from medseg.parallel.errors import RankError, UnsupportedOperation
from medseg.parallel.launch import run_ranks

TESTS = Path(__file__).parents[1]
PATIENCE = 60.0  # seconds; the figures below are far smaller on an idle machine
HANG = 5.0


def _step_until(fate, n=2, **options):
    return run_ranks("rank_toys:step_until", {"fate": fate, **options}, n=n, hang_seconds=HANG)


def _error_of(fate, kind=RankError, **options):
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        _step_until(fate, **options)
    assert time.monotonic() - began < PATIENCE
    assert type(caught.value) is kind
    return caught.value


def _wait_for(condition):
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def _is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_ranks_work_together_and_only_the_first_talks(capfd, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    result = run_ranks("rank_toys:add_up", n=2)
    threads = max(1, torch.get_num_threads() // 2)
    assert result == {"sums": [3, 3], "agreed": True, "threads": threads, "arenas": "1", "initialised": False}
    lines = capfd.readouterr().err.splitlines()
    assert sorted(line for line in lines if "told by all" in line) == ["rank 1: told by all"] * 2 + ["told by all"] * 2
    assert not [line for line in lines if "rank 1: told by one" in line]
    assert [line for line in lines if line.startswith("rank 1: ") and "UserWarning: also told" in line]


def test_killed_rank_is_named_and_the_others_end():
    host = os.uname().nodename
    message = f"rank 1 of 2 on {host}, step 3: killed by signal 9 (SIGKILL); was the memory used up?"
    assert str(_error_of("killed")) == message


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert run_ranks("os:getpid", n=4) == os.getpid()  # already a rank: nothing is started


def test_errors_cross_process_borders():
    import pickle

    error = UnsupportedOperation("torch.roll", "a.b (C)", "why")
    error.add_note("trace")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == "torch.roll in module a.b (C): not supported under spatial sharding: why"
    assert (copy.operation, copy.module, copy.reason, copy.__notes__) == ("torch.roll", "a.b (C)", "why", ["trace"])
    assert str(UnsupportedOperation("torch.roll", "", "why")).startswith("torch.roll: not supported")


@pytest.mark.slow
def test_error_keeps_its_type_and_its_line():
    error = _error_of("image", ImageError)
    assert str(error).endswith(", step 3: case a: no pixel data")
    assert str(error).startswith("rank 1 of 2 on ")
    assert error.code == "no_pixels"
    assert "Traceback" in error.__notes__[0]


@pytest.mark.slow
def test_fault_of_all_is_told_once_without_a_rank():
    assert str(_error_of("all", ConfigError)) == "training.batch_size is wrong"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        ("value", "step 3: unexpected ValueError: odd"),
        ("exits", "step 3: ended with exit code 3; its output above may say why"),
    ],
)
def test_unexpected_end_is_named(fate, reason):
    assert str(_error_of(fate)).endswith(reason)


@pytest.mark.slow
@pytest.mark.parametrize("fate", ["stopped", "loops"])
def test_hanging_rank_ends_the_job(fate, tmp_path):
    message = str(_error_of(fate, n=3, folder=str(tmp_path)))
    assert message.startswith("rank 1 of 3 on ")
    assert ", step 3: no sign of life for " in message
    assert message.endswith({"stopped": "stopped", "loops": "(meet)"}[fate])
    assert all(_is_gone(path.read_text()) for path in tmp_path.glob("pid_*"))


@pytest.mark.slow
def test_rank_that_is_stopped_before_its_first_sign_ends_the_job():
    """A start may take minutes; a process that does not run has not to be waited for that long."""
    with pytest.raises(RankError, match=r"^rank 1 of 2 on .*, before its first step: no sign of life.*was stopped$"):
        run_ranks("rank_toys:stop_before_the_first_sign", n=2, hang_seconds=HANG)


@pytest.mark.slow
def test_long_work_is_no_hang():
    assert _step_until("busy", hang_seconds=HANG) == 5


@pytest.mark.slow
def test_single_rank_is_named_too():
    with pytest.raises(RankError, match=r"^rank 0 of 1 on .*: ended with exit code 0"):
        run_ranks("os:_exit", {"status": 0}, n=1)


@pytest.mark.slow
def test_missing_function_is_named():
    with pytest.raises(RankError, match="AttributeError"):
        run_ranks("rank_toys:absent", n=2)


PARENT = "import sys; from medseg.parallel.launch import run_ranks; print(run_ranks(*eval(sys.argv[1]), n=2))"


def _start_job(function, arguments, **more):
    environment = os.environ | {"PYTHONPATH": str(TESTS), **more}
    command = [sys.executable, "-c", PARENT, repr((function, arguments))]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_no_orphan_is_left_when_the_launcher_is_killed(tmp_path):
    (tmp_path / "temporary").mkdir()
    arguments = {"fate": "loops", "folder": str(tmp_path)}
    job = _start_job("rank_toys:step_until", arguments, TMPDIR=str(tmp_path / "temporary"))
    pids = [tmp_path / "pid_0", tmp_path / "pid_1"]
    _wait_for(lambda: all(path.is_file() and path.read_text() for path in pids))
    assert any((tmp_path / "temporary").glob("medseg-ranks-*"))
    job.kill()
    job.communicate()
    _wait_for(lambda: all(_is_gone(path.read_text()) for path in pids))
    assert not any((tmp_path / "temporary").glob("medseg-ranks-*"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_signal_lets_all_finish_the_step(number, tmp_path):
    job = _start_job("rank_toys:step_until_signal", {"folder": str(tmp_path)})
    pids = [tmp_path / "pid_0", tmp_path / "pid_1"]
    _wait_for(lambda: all(path.is_file() and path.read_text() for path in pids))
    job.send_signal(number)
    output, errors = job.communicate(timeout=PATIENCE)
    assert job.returncode == 0, errors
    ends = [json.loads((tmp_path / f"end_{rank}").read_text()) for rank in range(2)]
    assert {step for step, _ in ends} == {int(output)}  # the same step everywhere
    assert [got for _, got in ends] == [[number]] * 2  # once each


@pytest.mark.slow
def test_second_interrupt_ends_at_once(tmp_path):
    job = _start_job("rank_toys:step_until", {"fate": "loops", "folder": str(tmp_path)})
    pids = [tmp_path / "pid_0", tmp_path / "pid_1"]
    _wait_for(lambda: all(path.is_file() and path.read_text() for path in pids))
    job.send_signal(signal.SIGINT)
    time.sleep(0.3)
    job.send_signal(signal.SIGINT)
    _, errors = job.communicate(timeout=PATIENCE)
    assert "KeyboardInterrupt" in errors
    assert all(_is_gone(path.read_text()) for path in pids)


@pytest.mark.slow
def test_jobs_side_by_side_do_not_meet():
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(run_ranks("rank_toys:add_up", n=2)["sums"])) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[3, 3], [3, 3]]
