"""Cross-validation: every patient once, past a fold that fails, and exactly on after a kill."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from blobs import OVERRIDES
from stopping import stopped_after

from medseg.cli.app import app
from medseg.cli.failures import run
from medseg.data.manifest import load_manifest
from medseg.errors import CheckpointError, ConfigError, ManifestError, MedsegError, OutputError
from medseg.experiment.cross_validation import cross_validate
from medseg.experiment.folds import _free_device
from medseg.inference.model import load_model

OPTIONS = (*OVERRIDES, "split.folds=2", "training.max_steps=4")
CURVE = ("step", "epoch", "loss", "lr", "grad_norm", "skipped", "validation_value", "validation")


def state_of(folder):
    return [row["state"] for row in json.loads((folder / "cross_validation.json").read_text())["folds"]]


def curve(folder):
    with (folder / "log.csv").open() as stream:
        return [[row[name] for name in CURVE] for row in csv.DictReader(stream)]


def out_of_fold(folder, table):
    """A table of the out-of-fold predictions without what depends on the clock."""
    with (folder / "out_of_fold" / table).open() as stream:
        rows = list(csv.DictReader(stream))
    return [{name: cell for name, cell in row.items() if name != "seconds"} for row in rows]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Folds that are trained together have fewer threads each, which rounds otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def validated(blobs, tmp_path_factory):
    """A small cross-validation that nothing disturbed."""
    return cross_validate("brain_infarct", blobs, tmp_path_factory.mktemp("cv") / "cv", overrides=OPTIONS)


def test_each_patient_is_validated_once_and_the_test_part_is_one(validated, blobs):
    patient_of = {case.case_id: case.patient_id for case in load_manifest(blobs).cases}
    parts = [json.loads((fold.run / "splits.json").read_text())["cases"] for fold in validated.folds]
    tested = [{name for name, part in own.items() if part == "test"} for own in parts]
    assert tested[0] == tested[1] != set()
    validation = [name for own in parts for name, part in own.items() if part == "val"]
    assert sorted(validation) == sorted(set(patient_of) - tested[0])
    for own in parts:
        of_part = [{patient_of[name] for name in own if own[name] == part} for part in ("train", "val", "test")]
        assert sum(map(len, of_part)) == len(set.union(*of_part))
    content = json.loads((validated.path / "cross_validation.json").read_text())
    assert (content["schema_version"], content["pipeline"], content["n_folds"]) == (1, "brain_infarct", 2)
    assert state_of(validated.path) == ["finished", "finished"]


def test_stopped_and_resumed_it_trains_what_is_left_to_the_same_curves(validated, blobs, tmp_path):
    options, whole = (*OPTIONS, "training.checkpoint_seconds=0"), tmp_path / "cv"
    with stopped_after(7):  # four steps and the end of the first fold, two of the second
        cross_validate("brain_infarct", blobs, whole, overrides=options)
    assert state_of(whole) == ["finished", "waiting"]
    kept = (whole / "fold_0" / "checkpoints" / "model.pt").stat().st_mtime_ns
    assert (whole / "fold_1" / "checkpoints" / "last.pt").is_file()
    with pytest.raises(OutputError, match="already holds a cross-validation; go on with --resume"):
        cross_validate("brain_infarct", blobs, whole, overrides=options)
    with pytest.raises(CheckpointError, match="was started with other settings"):
        cross_validate("brain_infarct", blobs, whole, overrides=(*options, "training.batch_size=2"), resume=True)
    cross_validate("brain_infarct", blobs, whole, overrides=options, resume=True)
    assert state_of(whole) == ["finished", "finished"]
    assert (whole / "fold_0" / "checkpoints" / "model.pt").stat().st_mtime_ns == kept
    for number in (0, 1):
        assert curve(whole / f"fold_{number}") == curve(validated.path / f"fold_{number}")


def test_a_fold_that_fails_does_not_stop_the_others(blobs, tmp_path, monkeypatch, capsys):
    from medseg.experiment import folds

    real = folds.train

    def train(*positional, fold, **options):
        if fold == 0:
            raise RuntimeError("cosmic ray")
        return real(*positional, fold=fold, **options)

    monkeypatch.setattr(folds, "train", train)
    command = ["train", "brain_infarct", "-d", str(blobs), "-o", str(tmp_path / "cv"), "-f", "all", *OPTIONS]
    assert run(app, command) == 1
    said = capsys.readouterr().err
    assert "fold_0: RuntimeError: cosmic ray" in said
    assert state_of(tmp_path / "cv") == ["failed", "finished"]
    monkeypatch.setattr(folds, "train", real)
    assert run(app, [*command, "--resume"]) == 0
    assert state_of(tmp_path / "cv") == ["finished", "finished"]
    monkeypatch.setattr(folds, "train", lambda *_, **__: (_ for _ in ()).throw(ManifestError("nothing there")))
    with pytest.raises(MedsegError, match="every fold failed; the first: nothing there"):
        cross_validate("brain_infarct", blobs, tmp_path / "all", overrides=OPTIONS)


def test_wrong_use_is_said_before_training(blobs, trained, tmp_path):
    def refused(error, match, folder="cv", more=(), **options):
        with pytest.raises(error, match=match):
            cross_validate("brain_infarct", blobs, tmp_path / folder, overrides=(*OPTIONS, *more), **options)

    refused(ConfigError, "--device tpu", device="tpu")
    refused(ConfigError, "--jobs 2: a fold has 2 processes already", more=("layout.space=2",), jobs=2)
    refused(CheckpointError, "nothing to resume", resume=True)
    refused(ManifestError, "fold 16 of 30 has no labelled validation case", more=("split.folds=30",))
    refused(OutputError, "holds a single run", folder=trained)
    assert not list(tmp_path.glob("cv/fold_*"))


def test_folds_go_over_the_gpus_in_turn(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    taken: list[str] = []
    for _ in range(4):
        taken.append(_free_device("auto", taken))
    assert taken == ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]
    assert _free_device("cpu", []) == "cpu"
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert _free_device("auto", []) == "auto"


@pytest.mark.slow
def test_folds_in_two_processes_are_those_of_one_after_another(validated, blobs, tmp_path, capfd, caplog):
    with caplog.at_level("INFO", "medseg"):
        result = cross_validate("brain_infarct", blobs, tmp_path / "two", overrides=OPTIONS, jobs=2)
    assert result.failures == {}
    for number in (0, 1):
        assert curve(tmp_path / "two" / f"fold_{number}") == curve(validated.path / f"fold_{number}")
        digests = {load_model(folder / f"fold_{number}").digest for folder in (tmp_path / "two", validated.path)}
        assert len(digests) == 1
    for table in ("cases.csv", "findings.csv"):
        assert out_of_fold(tmp_path / "two", table) == out_of_fold(validated.path, table)
    said = capfd.readouterr().err
    assert "fold 0: step" in said
    assert "fold 1: step" in said


def start(blobs, folder, *options):
    command = [sys.executable, "-c", "from medseg.cli import main; main()", "train", "brain_infarct", "-f", "all"]
    overrides = [*OPTIONS, "training.max_steps=40", "training.checkpoint_seconds=0", *options]
    return subprocess.Popen(
        [*command, "-d", str(blobs), "-o", str(folder), *overrides], stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("jobs", "number"), [(1, signal.SIGKILL), (2, signal.SIGKILL), (2, signal.SIGTERM)])
def test_killed_and_resumed_it_ends_as_an_undisturbed_one(jobs, number, blobs, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(blobs, whole).wait() == 0
    process = start(blobs, killed, "--jobs", str(jobs))
    while not (killed / f"fold_{jobs - 1}" / "checkpoints" / "last.pt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, number)
    process.wait()
    time.sleep(2)  # folds in processes of their own end with the one that started them
    assert state_of(killed) != ["finished", "finished"]
    assert start(blobs, killed, "--resume").wait() == 0
    assert state_of(killed) == ["finished", "finished"]
    for fold in ("fold_0", "fold_1"):
        assert curve(killed / fold) == curve(whole / fold)
    for table in ("cases.csv", "findings.csv"):
        assert out_of_fold(killed, table) == out_of_fold(whole, table)
