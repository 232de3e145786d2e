"""The command line: exit codes, one-line errors, lightness, and the way from a run to a report."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from medseg.cli.app import app
from medseg.cli.failures import run


def medseg(*arguments):
    return run(app, [str(argument) for argument in arguments])


def rows(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_neither_import_nor_help_load_torch_or_monai():
    for code in ("import medseg", "import medseg.cli, sys; medseg.cli.failures.run(medseg.cli.app, ['--help'])"):
        check = "; import sys; assert not {'torch', 'monai', 'numpy', 'matplotlib'} & set(sys.modules)"
        subprocess.run([sys.executable, "-c", code + check], check=True, stdout=subprocess.DEVNULL)


def test_help_is_quick():
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", "from medseg.cli import main; main()", "--help"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        times.append(time.perf_counter() - began)
    # 0.3 s on an idle machine; the limit here only catches a heavy import, which takes seconds
    assert min(times) < 1.0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "brain_infarkt", "-d", "x", "-o", "y"], "brain_infarkt"),
        (["train", "brain_infarct", "-d", "/nowhere", "-o", "y"], "/nowhere"),
        (["train", "brain_infarct", "-d", "/nowhere", "-o", "y", "training.lr=1"], "training.lr"),
        (["predict", "-m", "/nowhere", "-i", "x", "-o", "y"], "/nowhere"),
        (["evaluate", "-o", "y"], "-p PREDICTIONS"),
        (["pipelines", "show", "nothing"], "nothing"),
        (["prepare", "/nowhere", "-o", "y"], "/nowhere"),
        (["report", "/nowhere"], "/nowhere"),
        (["train", "--what"], "--what"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert medseg(*arguments) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_whole_way(trained, blobs, tmp_path, capsys):
    predictions, evaluation = tmp_path / "predictions", tmp_path / "evaluation"
    assert (
        medseg(
            "predict",
            "-m",
            trained,
            "-i",
            blobs,
            "-o",
            predictions,
            "--subset",
            "test",
            "--save",
            "mask,probability,overlay",
        )
        == 0
    )
    test_cases = [
        name for name, part in json.loads((trained / "splits.json").read_text())["cases"].items() if part == "test"
    ]
    assert [row["case_id"] for row in rows(predictions / "cases.csv")] == sorted(test_cases)
    for name in test_cases:
        folder = predictions / "cases" / name
        assert {path.name for path in folder.iterdir()} == {
            "mask.nii.gz",
            "probability.nii.gz",
            "overlay.png",
            "case.json",
        }
    assert medseg("evaluate", "-p", predictions, "-d", blobs, "-o", evaluation) == 0
    result = json.loads((evaluation / "evaluation.json").read_text())
    assert result["counts"]["n_cases"] == len(test_cases)
    assert result["case_level"]["auc"]["value"] > 0.9
    assert result["pixel_level"]["dice"]["value"] > 0.5
    assert medseg("report", evaluation, trained, predictions, "-o", tmp_path / "report.html") == 0
    page = (tmp_path / "report.html").read_text()
    assert "not a medical device" in page
    assert not re.search(r"(src|href|url|@import)\s*[=(:]\s*[\"']?\s*(https?:)?//", page)  # nothing from elsewhere
    capsys.readouterr()


def test_threshold_changes_what_is_reported_and_drawn_but_no_metric(trained, blobs, tmp_path, capsys):
    results, reported, overlays = [], [], []
    for threshold in (0.0, 1.0):  # everything, and nothing: a score of the trained model is below 1
        predictions, evaluation = tmp_path / f"p{threshold}", tmp_path / f"e{threshold}"
        assert (
            medseg(
                "predict",
                "-m",
                trained,
                "-i",
                blobs,
                "-o",
                predictions,
                "--subset",
                "test",
                "--save",
                "overlay",
                "--threshold",
                threshold,
            )
            == 0
        )
        assert medseg("evaluate", "-p", predictions, "-d", blobs, "-o", evaluation) == 0
        result = json.loads((evaluation / "evaluation.json").read_text())
        results.append([result[level] for level in ("case_level", "lesion_level", "curves")])
        findings = rows(predictions / "findings.csv")
        assert [float(row["score"]) >= threshold for row in findings] == [row["reported"] == "1" for row in findings]
        reported.append(sum(int(row["reported"]) for row in findings))
        overlays.append({path.parent.name: path.read_bytes() for path in predictions.glob("cases/*/overlay.png")})
    assert results[0] == results[1]
    assert reported[0] > 0 == reported[1]
    assert overlays[0] != overlays[1]
    capsys.readouterr()


def test_a_bad_case_fails_alone_and_resume_mends_it(trained, tmp_path, capsys):
    images, output = tmp_path / "images", tmp_path / "predictions"
    images.mkdir()
    good = np.random.default_rng(0).integers(1, 200, (48, 48), dtype=np.uint8)
    Image.fromarray(good).save(images / "good.png")
    Image.fromarray(good * 0).save(images / "zero.png")
    (images / "text.png").write_text("no picture")
    assert medseg("predict", "-m", trained, "-i", images, "-o", output) == 1
    error = capsys.readouterr().err
    assert "zero" in error
    assert "text" in error
    table = {row["case_id"]: row for row in rows(output / "cases.csv")}
    assert {name: row["status"] for name, row in table.items()} == {"good": "ok", "zero": "failed", "text": "failed"}
    assert table["zero"]["score"] == ""
    assert medseg("predict", "-m", trained, "-i", images, "-o", output) == 2
    assert "already holds predictions" in capsys.readouterr().err
    before = (output / "cases" / "good" / "case.json").stat().st_mtime_ns
    Image.fromarray(good).save(images / "text.png")
    assert medseg("predict", "-m", trained, "-i", images, "-o", output, "--resume") == 1
    assert {row["case_id"]: row["status"] for row in rows(output / "cases.csv")} == {
        "good": "ok",
        "zero": "failed",
        "text": "ok",
    }
    assert (output / "cases" / "good" / "case.json").stat().st_mtime_ns == before
    capsys.readouterr()


def test_prepare_training_folders_pseudonyms_and_duplicates(tmp_path, capsys):
    source, output = tmp_path / "source", tmp_path / "dataset"
    random = np.random.default_rng(0)
    for name in ("Smith_John", "b", "c"):
        image = random.integers(1, 255, (40, 40), dtype=np.uint8)
        for kind, values in (("imagesTr", image), ("labelsTr", (image > 250).astype(np.uint8))):
            (source / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(source / kind / f"{name}.png")
    same = source / "imagesTr" / "copy.png"
    same.write_bytes((source / "imagesTr" / "b.png").read_bytes())
    assert medseg("prepare", source, "-o", output) == 0
    table = rows(output / "dataset.csv")
    assert len(table) == 4
    assert all(row["patient_id"].startswith("p") and "Smith" not in row["patient_id"] for row in table)
    assert [row["mask"] == "" for row in table if row["case_id"] == "copy"] == [True]  # unlabelled, not negative
    pairs = rows(output / "duplicates.csv")
    assert [(sorted((pair["case_a"], pair["case_b"])), pair["kind"]) for pair in pairs] == [(["b", "copy"], "exact")]
    assert medseg("prepare", source, "-o", output) == 0  # again: the same
    assert rows(output / "dataset.csv") == table
    capsys.readouterr()


def test_full_disk_is_one_line(trained, tmp_path, capsys, monkeypatch):
    import errno
    import os

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(1, 200, (48, 48), dtype=np.uint8)).save(images / "a.png")
    monkeypatch.setattr(os, "replace", full)
    assert medseg("predict", "-m", trained, "-i", images, "-o", tmp_path / "out") == 2
    assert "the disk is full" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_interrupting_a_prediction_is_one_line_and_resume_goes_on(trained, number, tmp_path):
    images, output, scratch = (tmp_path / name for name in ("images", "out", "scratch"))
    images.mkdir()
    scratch.mkdir()
    random = np.random.default_rng(0)
    for name in range(200):
        Image.fromarray(random.integers(1, 200, (48, 48), dtype=np.uint8)).save(images / f"{name}.png")
    command = [sys.executable, "-c", "from medseg.cli import main; main()", "predict", "-m", trained, "-i", images]
    command += ["-o", output, "--slabs", 2]  # from temporary files
    environment = os.environ | {"TMPDIR": str(scratch)}
    process = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True, env=environment)
    while not list(output.glob("cases/*/case.json")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, error = process.communicate()
    assert process.returncode == 2
    assert not list(scratch.iterdir())
    assert error.splitlines()[-1] == "medseg: interrupted; what was finished is kept"
    done = len(list(output.glob("cases/*/case.json")))
    assert 0 < done < 200
    assert medseg("predict", "-m", trained, "-i", images, "-o", output, "--resume") == 0
    assert len(rows(output / "cases.csv")) == 200


@pytest.mark.parametrize("error", [
    MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 99 bytes"),
    RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
])  # fmt: skip
def test_used_up_memory_is_said_with_what_helps(error, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("medseg.training.train.load_manifest", lambda path: (_ for _ in ()).throw(error))
    assert medseg("train", "brain_infarct", "-d", tmp_path, "-o", tmp_path / "run") == 2
    said = capsys.readouterr().err
    assert said.startswith("medseg: error: memory is used up: lower training.batch_size")
    assert "layout.slabs" in said
