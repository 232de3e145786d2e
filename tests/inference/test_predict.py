"""Prediction by several processes: their results are those of one, and what goes wrong in one ends the others."""

import csv
import tempfile
import time

import numpy as np
import pydicom
import pytest
from dicom_sources import write_study
from PIL import Image

from medseg.errors import ConfigError
from medseg.imaging import read
from medseg.imaging.objects.read_segmentation import read_segmentation
from medseg.inference.model import load_model
from medseg.inference.predict import predict
from medseg.parallel.errors import RankError
from medseg.parallel.launch import run_ranks
from medseg.parallel.settings import LayoutSettings

SAVE = ("mask", "probability", "overlay")


def rows(path):
    with path.open() as stream:
        return {row["case_id"]: row for row in csv.DictReader(stream)}


def parametric_values(data):
    return np.frombuffer(data.FloatPixelData, np.float32)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(4):
        values = random.integers(1, 120, (48, 48), dtype=np.uint8)
        values[10:20, 10 + number : 20] = 220
        Image.fromarray(values).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """The system's place for temporary files."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


@pytest.mark.parametrize("layout", [{"slabs": 3}, pytest.param({"space": 2}, marks=pytest.mark.slow)], ids=str)
def test_dicom_objects_of_a_spread_prediction_are_those_of_one_process(trained, layout, tmp_path):
    write_study(tmp_path / "in")
    save = ("mask", "probability", "overlay", "seg", "sr", "pm", "sc", "pr")
    for name, options in (("one", {}), ("spread", layout)):
        predict(trained, tmp_path / "in", tmp_path / name, save=save, **options)
    (one,), (spread,) = ((tmp_path / name / "cases").iterdir() for name in ("one", "spread"))
    assert sorted(file.name for file in one.iterdir()) == sorted(file.name for file in spread.iterdir())
    masks = [read(case / "mask.nii.gz") for case in (one, spread)]
    segments = [read_segmentation(case / "seg.dcm").mask(grid=masks[0].grid)[0] for case in (one, spread)]
    maps = [pydicom.dcmread(case / "pm.dcm") for case in (one, spread)]
    assert masks[0].array.any()
    np.testing.assert_array_equal(masks[0].array, masks[1].array)
    np.testing.assert_array_equal(*segments)
    np.testing.assert_allclose(*(parametric_values(one) for one in maps), atol=1e-5)
    np.testing.assert_array_equal(*(pydicom.dcmread(case / "sc.dcm").pixel_array for case in (one, spread)))


@pytest.fixture
def arguments(trained, images, tmp_path):
    """What `predict_here` is given for two processes."""
    return {
        "model": trained, "source": images, "output": tmp_path / "out", "layout": LayoutSettings(space=2),
        "device": "cpu", "operating_point": None, "options": {"save": ()},
    }  # fmt: skip


def test_two_processes_write_what_one_writes_past_a_bad_case_and_resume(trained, images, scratch, tmp_path):
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(images / "zero.png")
    one = predict(trained, images, tmp_path / "one", save=SAVE)
    two = predict(trained, images, tmp_path / "two", save=SAVE, space=2)
    assert one.failures == two.failures
    assert list(two.failures) == ["zero"]
    a, b = rows(tmp_path / "one" / "cases.csv"), rows(tmp_path / "two" / "cases.csv")
    assert {name: row["status"] for name, row in b.items()} == {name: row["status"] for name, row in a.items()}
    for name in "0123":
        assert float(b[name]["score"]) == pytest.approx(float(a[name]["score"]), abs=1e-5)
        files = [tmp_path / folder / "cases" / name for folder in ("one", "two")]
        masks, maps = ([read(folder / f"{kind}.nii.gz").array for folder in files] for kind in SAVE[:2])
        assert masks[0].any()
        np.testing.assert_array_equal(*masks)
        np.testing.assert_allclose(*maps, atol=1e-5)
        np.testing.assert_array_equal(*(np.asarray(Image.open(folder / "overlay.png")) for folder in files))
    kept = (tmp_path / "two" / "cases" / "0" / "case.json").stat().st_mtime_ns
    Image.open(images / "1.png").save(images / "zero.png")
    again = predict(trained, images, tmp_path / "two", save=SAVE, slabs=3, resume=True)  # spread in another way
    assert (again.n_cases, again.failures) == (5, {})
    assert (tmp_path / "two" / "cases" / "0" / "case.json").stat().st_mtime_ns == kept
    assert list(scratch.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_error_in_one_process_ends_all_soon_and_what_was_done_is_kept(rank, arguments, scratch):
    began = time.monotonic()
    with pytest.raises(RankError, match=rf"rank {rank} of 2 .*ends with what failed in one: .*something unforeseen"):
        run_ranks("spread_toys:predict_with_fate", {"fate": f"{rank}:error", **arguments}, n=2)
    assert time.monotonic() - began < 40
    assert len(list(arguments["output"].glob("cases/*/case.json"))) == 2
    assert list(scratch.iterdir()) == []
    assert predict(arguments["model"], arguments["source"], arguments["output"], save=(), resume=True).failures == {}


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_process_that_hangs_in_a_window_is_named(rank, arguments):
    with pytest.raises(RankError, match=rf"rank {rank} of 2 .*no sign of life for \d+ s; it is at spread_toys"):
        run_ranks("spread_toys:predict_with_fate", {"fate": f"{rank}:hang", **arguments}, n=2, hang_seconds=5)


@pytest.mark.slow
def test_long_work_of_the_first_process_is_no_hang(arguments):
    result = run_ranks("spread_toys:predict_slowly", {"seconds": 8, **arguments}, n=2, hang_seconds=5)
    assert (result.n_cases, result.failures) == (4, {})


@pytest.mark.slow
def test_what_is_wrong_for_all_is_said_once(trained, images, tmp_path):
    with pytest.raises(ConfigError, match=r"^--save heart: unknown"):
        predict(trained, images, tmp_path / "out", save=("heart",), space=2)


def test_volumes_are_spread_in_one_way(trained, images, tmp_path):
    with pytest.raises(ConfigError, match="--space 2 and --slabs 3: spread volumes over processes, or over time"):
        predict(trained, images, tmp_path / "out", space=2, slabs=3)


def test_one_process_takes_slabs_where_training_had_processes(trained, images, tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("plan.json", "splits.json", "checkpoints/model.pt"):
        (run / name).symlink_to(trained / name)
    text = (trained / "pipeline.yaml").read_text()
    assert "space: 1\n" in text
    (run / "pipeline.yaml").write_text(text.replace("space: 1\n", "space: 3\n"))
    model, whole = load_model(run), load_model(trained)
    assert (model.team.layout.space, model.team.layout.slabs, model.team.layout.keep) == (1, 3, "disk")
    assert whole.team.layout.slabs == 1
    found, expected = (one.predict(read(images / "0.png")) for one in (model, whole))
    assert found.score == pytest.approx(expected.score, abs=1e-5)
    np.testing.assert_array_equal(found.mask, expected.mask)
    np.testing.assert_allclose(found.probability, expected.probability, atol=1e-5)
