"""Who is blamed, from signs that are made up; no process and no clock is needed."""

from dataclasses import replace

import pytest

from medseg.parallel.watch import LOST_SECONDS, START_SECONDS, Sign, Watch

HANG = 60.0


def _watch(n=3):
    return Watch([Sign(host=f"node{rank}") for rank in range(n)], hang_seconds=HANG, now=0.0)


def _run(watch, signs, begin, end, *, stopped=(), busy=()):
    """Let time pass from second `begin` to `end`; all ranks tick but those that are stopped."""
    for second in range(begin, end + 1):
        signs = [
            sign if rank in stopped else replace(sign, ticks=second, life=sign.life + (rank in busy))
            for rank, sign in enumerate(signs)
        ]
        watch.note(signs, float(second))
    return signs


def _running(rank, step=7, **facts):
    return Sign(phase="running", host=f"node{rank}", step=step, life=step or 0, **facts)


def test_text_form_is_read_back():
    sign = Sign(phase="failed", host="ä", step=3, ticks=9, life=4, place="a:1 (f)", waiting=True, reason='"x"\n')
    assert Sign.decode(sign.encode().encode()) == sign


def test_steps_keep_the_watch_calm():
    watch = _watch()
    for second in range(1000):
        watch.note([_running(rank, step=second // 50) for rank in range(3)], float(second))
        assert watch.hanging() is None


def test_stopped_process_is_named_among_all_that_wait_for_it():
    watch = _watch()
    signs = [_running(0, waiting=True), _running(1), _running(2, waiting=True)]
    signs = _run(watch, signs, 0, 59, stopped=[1])
    assert watch.hanging() is None
    _run(watch, signs, 60, 61, stopped=[1])
    trouble = watch.hanging()
    assert (trouble.rank, trouble.reason) == (1, "no sign of life for 61 s; its process was killed or stopped")
    assert str(watch.error(trouble)).startswith("rank 1 of 3 on node1, step 7: no sign of life for 61 s")


def test_loop_is_told_from_waiting():
    watch = _watch()
    places = ["medseg.training.loop:3 (fit)", "medseg.training.loop:3 (fit)", "other:9 (endless)"]
    _run(watch, [_running(rank, place=place, waiting=rank < 2) for rank, place in enumerate(places)], 0, 60)
    trouble = watch.hanging()
    assert (trouble.rank, trouble.reason) == (2, "no sign of life for 60 s; it is at other:9 (endless)")


def test_rank_that_is_behind_is_named():
    watch = _watch()
    _run(watch, [_running(0, 8), _running(1, 7), _running(2, 8)], 0, 60)
    assert watch.hanging().rank == 1


def test_all_are_named_when_none_differs():
    watch = _watch()
    _run(watch, [_running(rank) for rank in range(3)], 0, 60)
    assert watch.hanging().reason.endswith("; the same for rank 1, 2")


def test_fault_is_found_although_a_waiting_rank_reaches_the_limit_first():
    watch = _watch(2)
    signs = _run(watch, [_running(0, waiting=True), _running(1)], 0, 3)
    signs[1] = replace(signs[1], life=8)  # a sign inside the step; rank 0 waits since 0 s, rank 1 is silent since 4 s
    signs = _run(watch, signs, 4, 59, stopped=[1])
    assert watch.hanging() is None
    _run(watch, signs, 60, 60, stopped=[1])
    assert watch.hanging().rank == 1


def test_busy_rank_excuses_itself_but_not_the_others():
    watch = _watch(2)
    _run(watch, [_running(0), _running(1)], 0, 60, busy=[0])
    assert watch.hanging().rank == 1


def test_rank_that_does_not_start_has_longer():
    watch = _watch(2)
    _run(watch, [_running(0), Sign()], 0, int(START_SECONDS) - 1, busy=[0], stopped=[1])
    assert watch.hanging() is None
    _run(watch, [_running(0), Sign()], int(START_SECONDS), int(START_SECONDS), busy=[0], stopped=[1])
    trouble = watch.hanging()
    assert trouble.rank == 1
    assert "has not started" in trouble.reason
    assert watch.name(1) == "rank 1 of 2, before its first step"


@pytest.mark.parametrize("phase", ["done", "failed", "lost"])
def test_silence_after_the_end_is_no_fault(phase):
    watch = _watch(2)
    _run(watch, [_running(0), replace(_running(1), phase=phase)], 0, 100, busy=[0], stopped=[1])
    assert watch.hanging() is None
    assert watch.vanished() is None


def test_first_failure_is_named_with_its_reason():
    watch = _watch()
    running = [_running(rank) for rank in range(3)]
    watch.note(running, 1.0)
    watch.note([running[0], running[1], replace(running[2], phase="failed", reason="no file")], 2.0)
    watch.note([replace(running[0], phase="failed", reason="later"), running[1],
                replace(running[2], phase="failed", reason="no file")], 3.0)  # fmt: skip
    assert str(watch.error(watch.failed())) == "rank 2 of 3 on node2, step 7: no file"
    assert watch.failed(patience=5.0) is None


def test_dead_process_is_missed_within_seconds():
    watch = _watch()
    signs = _run(watch, [_running(rank) for rank in range(3)], 0, 10)
    last = 10 + int(LOST_SECONDS)
    signs = _run(watch, signs, 11, last - 1, stopped=[0])
    assert watch.vanished() is None
    _run(watch, signs, last, last, stopped=[0])
    assert watch.vanished().rank == 0


def test_time_in_which_the_watch_itself_was_stopped_does_not_count():
    watch = _watch()
    signs = _run(watch, [_running(rank) for rank in range(3)], 0, 50)
    signs = _run(watch, signs, 1000, 1009)
    assert watch.hanging() is None
    assert watch.vanished() is None
    _run(watch, signs, 1010, 1010)
    assert watch.hanging() is not None
