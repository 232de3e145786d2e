"""A batch whose cases lack phases: the column, the log, the refusal; from a trained model on."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from medseg.config import load_pipeline
from medseg.data.manifest import Case, write_manifest
from medseg.data.settings import InputSettings
from medseg.files import read_csv
from medseg.imaging import write_mask, write_volume
from medseg.inference.batch import predict_batch
from medseg.inference.missing import log_missing, missing_channels
from medseg.inference.model import load_model
from medseg.inference.prediction_folder import CaseRecord
from medseg.training.train import train
from medseg.volume import Grid, Volume

PHASES = ("native", "arterial", "portal", "late")
OVERRIDES = (
    "input.registration=none", "input.spacing_mm=[3,3,3]", "sampling.patch_size=[16,16,16]",
    "network.filters=[4,4,4]", "training.batch_size=1", "training.max_minutes=null", "training.max_steps=2",
    "training.workers=0", "training.precision=float32", "training.channels_last=off", "training.compile=off",
    "training.validate_every_minutes=null", "inference.operating_point=0.5",
)  # fmt: skip


def test_names_are_those_of_the_rules_or_of_the_columns():
    images = ("a", None, "c", None)
    assert missing_channels(images, load_pipeline("liver_mr_nodule").input) == ["arterial", "late"]
    assert missing_channels(images, InputSettings(channels=4)) == ["image_2", "image_4"]
    assert missing_channels(("a",), InputSettings()) == []


def test_the_log_says_once_how_many_lack_which(caplog):
    settings = load_pipeline("liver_mr_nodule").input
    records = [
        CaseRecord(case_id="a", missing_channels=["late"]),
        CaseRecord(case_id="b", missing_channels=["arterial", "late"]),
        CaseRecord(case_id="c"), CaseRecord(case_id="d", status="failed", missing_channels=["portal"]),
    ]  # fmt: skip
    with caplog.at_level(logging.WARNING):
        log_missing(records, settings)
        log_missing(records[2:], settings)
    (record,) = caplog.records
    assert record.getMessage() == (
        "2 of 4 case(s) lack channels, see missing_channels in cases.csv: arterial (1), late (2)"
    )


def exam(folder, name, split, missing=()):
    grid = Grid((12, 16, 16), np.diag([3.0, 3.0, 3.0, 1.0]))
    random = np.random.default_rng(len(name))
    mask = np.zeros(grid.shape, bool)
    mask[4:8, 6:10, 6:10] = True
    images = []
    for phase in PHASES:
        images.append(str(folder / f"{name}_{phase}.nii.gz"))
        values = random.normal(100, 10, grid.shape) - 50 * mask
        write_volume(images[-1], Volume(values[None].astype(np.float32), grid, modality="MR"))
    write_mask(folder / f"{name}.nii.gz", mask, grid)
    kept = tuple(None if phase in missing else image for phase, image in zip(PHASES, images))
    return Case(
        case_id=name, patient_id=name, images=kept, mask=folder / f"{name}.nii.gz", label=1, split=split, modality="MR"
    )


@pytest.mark.slow
def test_a_model_predicts_cases_that_lack_phases_and_names_them(tmp_path, caplog):
    data = tmp_path / "data"
    data.mkdir()
    cases = [exam(data, "a", "train", ("portal",)), exam(data, "bb", "train"), exam(data, "ccc", "test"),
             exam(data, "dddd", "test", ("arterial", "late"))]  # fmt: skip
    write_manifest(data / "dataset.csv", cases)
    run = train("liver_mr_nodule", data, tmp_path / "run", overrides=OVERRIDES)
    model = load_model(run)
    with caplog.at_level(logging.WARNING):
        result = predict_batch(model, data, tmp_path / "out", subset="test", save=("overlay",))
    assert not result.failures
    rows = {row["case_id"]: row for row in read_csv(tmp_path / "out" / "cases.csv")[1]}
    assert (rows["ccc"]["missing_channels"], rows["dddd"]["missing_channels"]) == ("", "arterial; late")
    assert caplog.text.count("see missing_channels in cases.csv: arterial (1), late (1)") == 1
    assert (tmp_path / "out" / "cases" / "dddd" / "overlay.png").is_file()
    strict = model.pipeline.input.model_copy(update={"missing_channel": "refuse"})
    model = replace(model, pipeline=model.pipeline.model_copy(update={"input": strict}))
    result = predict_batch(model, data, tmp_path / "strict", subset="test", save=())
    assert set(result.failures) == {"dddd"}
    assert "arterial is missing" in result.failures["dddd"]
