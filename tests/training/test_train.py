"""Training on a small synthetic set: it learns, repeats exactly, and goes on exactly."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from blobs import OVERRIDES
from stopping import stopped_after

from medseg.errors import CheckpointError, ConfigError, MedsegError, OutputError
from medseg.inference.model import load_model
from medseg.training.train import train

CURVE = ("step", "epoch", "loss", "lr", "grad_norm", "skipped", "validation_value", "validation")


def curve(run):
    """The loss curve without what depends on the clock."""
    with (run / "log.csv").open() as stream:
        return [[row[name] for name in CURVE] for row in csv.DictReader(stream)]


def test_run_folder_is_as_documented(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"pipeline.yaml", "plan.json", "splits.json", "log.csv", "checkpoints", "first_layer.png"} <= names
    splits = json.loads((trained / "splits.json").read_text())
    assert set(splits["cases"].values()) == {"train", "val", "test"}
    assert [row[0] for row in curve(trained)] == [str(step) for step in range(1, 101)]


def test_it_learns_what_is_there(trained):
    """A disc of six standard deviations is found on validation images, which no step has seen."""
    rows = curve(trained)
    assert float(rows[-1][2]) < 0.5 * float(rows[0][2])
    assert "froc_partial_area=1.0000" in rows[-1][-1]


def test_same_seed_same_curve_and_weights(trained, blobs, tmp_path):
    again = train("brain_infarct", blobs, tmp_path / "again", overrides=OVERRIDES)
    assert curve(again) == curve(trained)
    a, b = load_model(trained).network.state_dict(), load_model(again).network.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    other = train("brain_infarct", blobs, tmp_path / "other", overrides=(*OVERRIDES, "training.seed=1"))
    assert curve(other) != curve(trained)


def test_second_run_into_the_same_folder_is_refused(trained, blobs):
    before = (trained / "log.csv").read_bytes()
    with pytest.raises(OutputError, match="already holds a run"):
        train("brain_infarct", blobs, trained, overrides=OVERRIDES)
    assert (trained / "log.csv").read_bytes() == before


def test_resume_without_checkpoint_or_with_other_settings_is_refused(trained, blobs, tmp_path):
    with pytest.raises(CheckpointError, match="nothing to resume"):
        train("brain_infarct", blobs, tmp_path / "none", overrides=OVERRIDES, resume=True)
    with pytest.raises(CheckpointError, match=r"training\.batch_size was 4"):
        train("brain_infarct", blobs, trained, overrides=(*OVERRIDES, "training.batch_size=6"), resume=True)


def test_damaged_checkpoint_is_one_line(trained, blobs, tmp_path):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(trained, run)
    last = run / "checkpoints" / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        train("brain_infarct", blobs, run, overrides=OVERRIDES, resume=True)


def test_loss_that_is_not_finite_is_skipped_counted_and_ends(blobs, tmp_path, monkeypatch):
    from medseg.detectors.segmentation import SegmentationDetector

    original, calls = SegmentationDetector.loss, [0]

    def sometimes_nan(self, output, target):
        calls[0] += 1
        loss = original(self, output, target)
        return loss * float("nan") if calls[0] in (3, 4) else loss

    monkeypatch.setattr(SegmentationDetector, "loss", sometimes_nan)
    run = train("brain_infarct", blobs, tmp_path / "run", overrides=(*OVERRIDES, "training.max_steps=6"))
    assert [row[5] for row in curve(run)] == ["0", "0", "1", "2", "2", "2"]
    assert all(torch.isfinite(tensor).all() for tensor in load_model(run).network.state_dict().values())

    monkeypatch.setattr(SegmentationDetector, "loss", lambda *a: original(*a) * float("nan"))
    with pytest.raises(MedsegError, match="not finite in 3 steps in a row"):
        train("brain_infarct", blobs, tmp_path / "bad", overrides=(*OVERRIDES, "training.max_bad_steps=3"))


def test_wrong_device_is_one_line(blobs, tmp_path):
    with pytest.raises(ConfigError, match="--device tpu: unknown"):
        train("brain_infarct", blobs, tmp_path / "run", overrides=OVERRIDES, device="tpu")


def test_resume_is_exact_with_dropout_and_workers(blobs, tmp_path):
    """Random numbers drawn by layers go on where the checkpoint stopped, whoever prepares the samples."""
    options = (*OVERRIDES, "network.dropout=0.2", "training.checkpoint_seconds=0", "training.workers=1")
    whole = train("brain_infarct", blobs, tmp_path / "whole", overrides=(*options, "training.max_steps=8"))

    with stopped_after(5):
        train("brain_infarct", blobs, tmp_path / "cut", overrides=(*options, "training.max_steps=8"))
    options = (*options[:-1], "training.workers=1")
    cut = train("brain_infarct", blobs, tmp_path / "cut", overrides=(*options, "training.max_steps=8"), resume=True)
    assert curve(cut) == curve(whole)
    a, b = load_model(whole).network.state_dict(), load_model(cut).network.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("values", [[float("nan")] * 3, [0.0, 0.0, 0.0], [0.1, 0.3, 0.2]])
def test_the_best_weights_are_kept_and_the_latest_while_nothing_is_measured(values):
    from medseg.training.loop import TrainingState, _validate
    from medseg.training.validation import Validation

    state = TrainingState()
    for number, value in enumerate(values):
        _validate(lambda _, v=value: Validation("m", v, {}), {"w": torch.tensor(float(number))}, state, {})
    assert state.best_weights["w"] == (1.0 if values[1] == 0.3 else 2.0)


def test_a_positive_label_without_a_place_is_left_out(blobs, tmp_path):
    """It would teach a localising detector that there is nothing."""
    rows = (blobs / "dataset.csv").read_text().splitlines()
    columns = rows[0].split(",")
    mask, image = columns.index("mask"), columns.index("image")
    changed = []
    for row in rows[1:]:
        cells = row.split(",")
        cells[image] = str(blobs / cells[image])
        cells[mask] = "" if cells[0] in ("c01", "c03", "c05") else str(blobs / cells[mask])
        changed.append(",".join(cells))
    (tmp_path / "dataset.csv").write_text("\n".join([rows[0], *changed]) + "\n")
    run = train("brain_infarct", tmp_path, tmp_path / "run", overrides=(*OVERRIDES, "training.max_steps=1"))
    splits = json.loads((run / "splits.json").read_text())
    assert splits["left_out"]
    assert set(splits["left_out"]) == {c for c in ("c01", "c03", "c05") if splits["cases"][c] != "test"}


def start(blobs, run, *options):
    command = [sys.executable, "-c", "from medseg.cli import main; main()", "train", "brain_infarct"]
    overrides = [*OVERRIDES, "training.max_steps=300", "training.checkpoint_seconds=0", *options]
    return subprocess.Popen(
        [*command, "-d", str(blobs), "-o", str(run), *overrides], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )


@pytest.mark.slow
def test_killed_ten_times_and_resumed_gives_the_same_curve(blobs, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(blobs, whole).wait() == 0
    moments = random.Random(0)
    options: tuple[str, ...] = ()
    kills = 0
    while kills < 10:
        process = start(blobs, killed, *options)
        checkpoint = killed / "checkpoints" / "last.pt"
        known = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == known):
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.25))
        assert process.poll() is None, process.stderr.read().decode()
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        options = ("--resume",)
    assert len(curve(killed)) < 300, "the kills must come before the end"
    assert start(blobs, killed, "--resume").wait() == 0
    assert curve(killed) == curve(whole)
    assert load_model(killed).digest == load_model(whole).digest


@pytest.mark.slow
def test_interrupt_saves_a_checkpoint(blobs, tmp_path):
    run = tmp_path / "run"
    process = start(blobs, run, "training.checkpoint_seconds=1000")
    while not (run / "log.csv").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGINT)
    _, text = process.communicate()
    assert process.returncode == 2
    assert "go on with --resume" in text.decode()
    assert (run / "checkpoints" / "last.pt").is_file()
    assert start(blobs, run, "training.checkpoint_seconds=1000", "--resume").wait() == 0


def test_a_training_that_was_killed_before_its_first_checkpoint_starts_anew(blobs, tmp_path):
    options = (*OVERRIDES, "training.max_steps=3")
    whole = train("brain_infarct", blobs, tmp_path / "whole", overrides=options)
    run = tmp_path / "run"
    run.mkdir()
    for name in ("pipeline.yaml", "plan.json", "splits.json", "log.csv"):
        (run / name).write_bytes((whole / name).read_bytes())
    with pytest.raises(CheckpointError, match="nothing to resume"):
        train("brain_infarct", blobs, run, overrides=options, resume=True)
    train("brain_infarct", blobs, run, overrides=options)
    assert curve(run) == curve(whole)
    with pytest.raises(MedsegError, match="already holds a run"):
        train("brain_infarct", blobs, run, overrides=options)


def test_without_a_compiler_the_network_runs_as_it_is(blobs, tmp_path, monkeypatch):
    def no_compiler(*_):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", no_compiler)
    options = [option for option in OVERRIDES if "deterministic" not in option]
    run = train(
        "brain_infarct", blobs, tmp_path / "run", overrides=[*options, "training.compile=on", "training.max_steps=2"]
    )
    plan = json.loads((run / "plan.json").read_text())
    assert plan["compiled"] is False
    assert plan["reasons"]["compiled"] == "failed (RuntimeError), so the network runs as it is"
    assert len(curve(run)) == 2


@pytest.mark.parametrize(
    ("hits", "false", "allowed", "expected"),
    [
        ([0.9, 0.8], [0.2, 0.1], 1, 0.5),  # both lesions are found far above the best false positive: 0.8 and 0.2
        ([0.9, 0.4], [0.6, 0.2], 1, 0.3),  # one false positive is worth the second lesion: between 0.4 and 0.2
        ([0.9, 0.4], [0.6, 0.2], 0, 0.75),  # none is allowed: between 0.9 and 0.6
    ],
)
def test_the_operating_point_spends_no_false_positive_in_vain(trained, hits, false, allowed, expected):
    from medseg.lesion import Finding
    from medseg.training.validation import ValidatedCase, Validation, calibrate

    scores = sorted(hits + false, reverse=True)
    findings = [Finding(0, 0, 0, "px", 1, 1, score, "", (0,) * 6) for score in scores]
    pairs = [(scores.index(score), number) for number, score in enumerate(hits)]
    row = ValidatedCase("a", True, scores[0], None, findings, pairs, len(hits), None)
    model = load_model(trained)
    inference = model.pipeline.inference.model_copy(update={"operating_point_fp": allowed + 0.1})
    model.pipeline = model.pipeline.model_copy(update={"inference": inference})
    assert calibrate(model, Validation("m", 0.0, {}, [row]))["operating_point"] == pytest.approx(expected)


def test_patients_without_annotation_are_not_called_trained_on(blobs, tmp_path, caplog):
    rows = [row.split(",") for row in (blobs / "dataset.csv").read_text().splitlines()]
    image, mask, label = (rows[0].index(name) for name in ("image", "mask", "label"))
    for row in rows[1:]:
        row[image], row[mask] = str(blobs / row[image]), str(blobs / row[mask])
        if row[0] < "c09":
            row[mask] = row[label] = ""
    (tmp_path / "dataset.csv").write_text("\n".join(map(",".join, rows)) + "\n")
    run = train("brain_infarct", tmp_path, tmp_path / "run", overrides=(*OVERRIDES, "training.max_steps=1"))
    splits = json.loads((run / "splits.json").read_text())
    assert splits["unlabelled"] == [f"c0{number}" for number in range(9)]
    patient = {row[0]: row[1] for row in rows[1:]}
    assert not {patient[name] for name in splits["unlabelled"]} & set(splits["training_patients"])
    assert "are unlabelled and not used" in caplog.text
