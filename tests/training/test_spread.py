"""Training on images that are spread over processes or over slabs: the numbers of one process, killed or not."""

import csv
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from blobs import OVERRIDES
from stopping import stopped_after

from medseg.errors import CheckpointError, ConfigError
from medseg.inference.model import load_model
from medseg.training.train import train

# Adam turns rounding of gradients near 0 into steps of full length, so curves are compared with SGD
STEPS = (
    "training.max_steps=16", "training.optimizer=sgd", "training.learning_rate=0.01",
    "training.validate_every_epochs=2",
)  # fmt: skip
OPTIONS = (*OVERRIDES, *STEPS)


def figures(run, *names):
    with (run / "log.csv").open() as stream:
        return np.array([[float(row[name] or "nan") for name in names] for row in csv.DictReader(stream)])


@pytest.fixture(scope="module")
def whole(blobs, tmp_path_factory):
    return train("brain_infarct", blobs, tmp_path_factory.mktemp("whole") / "run", overrides=OPTIONS)


@pytest.mark.parametrize(
    "layout",
    [
        ("layout.space=2",),
        ("layout.slabs=3",),
        pytest.param(("layout.slabs=2", "layout.keep=disk"), marks=pytest.mark.slow),
        pytest.param(("layout.space=3",), marks=pytest.mark.slow),  # the middle part is smaller than the others
    ],
    ids=" ".join,
)
def test_spread_training_has_the_numbers_of_one_process(layout, whole, blobs, tmp_path):
    compare(train("brain_infarct", blobs, tmp_path / "run", overrides=(*OPTIONS, *layout)), whole)


@pytest.mark.slow
def test_groups_of_processes_have_the_numbers_of_as_many_processes(blobs, tmp_path):
    """Dice over the batch is that of each group's images, so two groups are compared with two processes."""
    one = train("brain_infarct", blobs, tmp_path / "one", overrides=(*OPTIONS, "layout.data=2"))
    two = train("brain_infarct", blobs, tmp_path / "two", overrides=(*OPTIONS, "layout.data=2", "layout.space=2"))
    compare(two, one)


def compare(spread, whole):
    names = ("loss", "grad_norm", "validation_value")
    np.testing.assert_allclose(figures(spread, *names), figures(whole, *names), rtol=2e-3, atol=1e-4)
    a, b = load_model(whole).network.state_dict(), load_model(spread).network.state_dict()
    largest = max(float(tensor.abs().max()) for tensor in a.values())
    assert max(float((a[name] - b[name]).abs().max()) for name in a) < 2e-3 * largest


def test_first_losses_agree_to_the_rounding_of_float32(whole, blobs, tmp_path):
    spread = train("brain_infarct", blobs, tmp_path / "run", overrides=(*OPTIONS, "layout.slabs=2"))
    np.testing.assert_allclose(figures(spread, "loss")[:3], figures(whole, "loss")[:3], rtol=1e-5)


def test_resumed_with_another_layout(whole, blobs, tmp_path):
    """How volumes are cut does not change the numbers, so a run that needs more memory than there is can go on."""
    options = (*OPTIONS, "training.checkpoint_seconds=0")
    with stopped_after(5):
        train("brain_infarct", blobs, tmp_path / "run", overrides=options)
    with pytest.raises(CheckpointError, match=r"layout\.data was 1"):
        train("brain_infarct", blobs, tmp_path / "run", overrides=(*options, "layout.data=2"), resume=True)
    run = train("brain_infarct", blobs, tmp_path / "run", overrides=(*options, "layout.slabs=3"), resume=True)
    compare(run, whole)


def test_batch_that_cannot_be_shared_out_is_refused(blobs, tmp_path):
    with pytest.raises(ConfigError, match=r"batch_size=4 is no multiple of layout\.data=3"):
        train("brain_infarct", blobs, tmp_path / "run", overrides=(*OPTIONS, "layout.data=3"))


def _start(blobs, run, *more):
    command = [sys.executable, "-m", "medseg", "train", "brain_infarct", "-d", str(blobs), "-o", str(run), *OPTIONS]
    return subprocess.Popen([*command, *more], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _ranks_of(pid):
    """Process numbers of the ranks that a training has started."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            about = open(f"/proc/{entry}/stat").read().rsplit(")", 1)[1].split()  # noqa: SIM115
            command = open(f"/proc/{entry}/cmdline").read()  # noqa: SIM115
        except (OSError, IndexError):
            continue
        if int(about[1]) == pid and "rank_process" in command:
            found.append(int(entry))
    return found


@pytest.mark.slow
def test_killed_rank_is_named_and_the_training_goes_on_exactly(blobs, tmp_path):
    more = ("layout.space=2", "layout.hang_seconds=20", "training.checkpoint_seconds=0", "training.max_steps=60")
    undisturbed = _start(blobs, tmp_path / "whole", *more)
    assert undisturbed.wait(timeout=120) == 0
    chance = random.Random(0)
    for attempt in range(3):
        resume = ("--resume",) if (tmp_path / "cut" / "checkpoints" / "last.pt").exists() else ()
        process = _start(blobs, tmp_path / "cut", *more, *resume)
        while not (tmp_path / "cut" / "checkpoints" / "last.pt").exists() or len(_ranks_of(process.pid)) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 3) if attempt else 0)
        ranks = _ranks_of(process.pid)
        if not ranks:
            break  # it was faster than the kill
        os.kill(chance.choice(ranks), signal.SIGKILL)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "killed by signal 9" in output
        assert "rank" in output
    final = _start(blobs, tmp_path / "cut", *more, "--resume")
    output, _ = final.communicate(timeout=120)
    assert final.returncode == 0, output
    a, b = (load_model(tmp_path / name).network.state_dict() for name in ("whole", "cut"))
    assert all(torch.equal(a[name], b[name]) for name in a)
