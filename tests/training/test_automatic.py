"""A pipeline that leaves everything to the plan is trained, taken up again and used with the same numbers."""

import json

import nibabel as nib
import numpy as np
import pytest
import yaml

from medseg.config import pipeline_from_dict
from medseg.data.manifest import Case, write_manifest
from medseg.errors import CheckpointError
from medseg.imaging import read
from medseg.inference.model import load_model, pipeline_of
from medseg.planning.resolve import resolve
from medseg.training.train import train

PIPELINE = {
    "name": "auto",
    "input": {"dimensions": "auto", "intensity": {"method": "auto"}},
    "network": {"name": "unet", "filters": "auto"},
    "sampling": {"max_patch_voxels": 2048},
    "augmentation": {"enabled": False},
    "detector": {"kind": "segmentation"},
    "training": {
        "max_steps": 2, "batch_size": 1, "precision": "float32", "channels_last": "off", "compile": "off", "workers": 0,
        "tensorboard": False, "warmup_steps": 0,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """CT of 32 slices, 5 mm apart, with a bright ball."""
    folder = tmp_path_factory.mktemp("ct")
    random, cases = np.random.default_rng(0), []
    x, y, z = np.meshgrid(np.arange(32), np.arange(32), np.arange(33), indexing="ij")
    for number in range(5):
        mask = ((x - 16) ** 2 + (y - 14 - number) ** 2 + (3 * (z - 12)) ** 2 < 64).astype(np.uint8)
        image = np.where(mask, 60, -80) + random.normal(0, 20, mask.shape)
        for name, values in (("image", image.astype(np.int16)), ("mask", mask)):
            nib.save(nib.Nifti1Image(values, np.diag([-1.2, -1.2, 5, 1])), folder / f"{name}{number}.nii")
        cases.append(
            Case(
                case_id=f"c{number}", patient_id=f"p{number}", images=(str(folder / f"image{number}.nii"),),
                mask=folder / f"mask{number}.nii", modality="CT", split="val" if number == 4 else "train",
            )
        )  # fmt: skip
    write_manifest(folder / "dataset.csv", cases)
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return train(pipeline_from_dict(PIPELINE), data, tmp_path_factory.mktemp("runs") / "run", device="cpu", workers=1)


@pytest.mark.slow
def test_run_holds_the_question_and_the_answer(run):
    plan = json.loads((run / "plan.json").read_text())
    asked = yaml.safe_load((run / "pipeline.yaml").read_text())
    assert (asked["input"]["dimensions"], asked["network"]["filters"]) == ("auto", "auto")
    assert plan["intensity"]["method"] == asked["input"]["intensity"]["method"].replace("auto", "ct")
    assert plan["intensity"]["mean"] == pytest.approx(60, abs=2)
    assert plan["intensity"]["deviation"] == pytest.approx(20, abs=2)
    assert (len(plan["patch_size"]), plan["kernel_sizes"][0], plan["strides"][1]) == (3, [1, 3, 3], [1, 2, 2])
    assert set(plan["reasons"]) >= {"dimensions", "spacing_mm", "intensity", "patch_size", "filters", "strides"}


@pytest.mark.slow
def test_prediction_uses_the_numbers_of_the_plan(run, data):
    model = load_model(run, device="cpu")
    assert model.pipeline.input.n_dimensions == 3
    assert model.pipeline.input.intensity.method == "ct"
    assert model.network.input_block.conv1.conv.kernel_size == (1, 3, 3)
    volume = read(data / "image0.nii")
    assert model.predict(volume).probability.shape == volume.array.shape[1:]


@pytest.mark.slow
def test_run_is_taken_up_again(run, data):
    train(pipeline_from_dict(PIPELINE), data, run, resume=True, device="cpu", workers=1)


@pytest.mark.slow
def test_plan_that_lacks_an_answer_is_refused(run, tmp_path):
    from medseg.planning.plan import read_plan

    content = json.loads((run / "plan.json").read_text())
    for name, says in (("intensity", "has no intensity"), ("filters", "has no filters")):
        (tmp_path / "plan.json").write_text(json.dumps({**content, name: None}))
        with pytest.raises(CheckpointError, match=says):
            resolve(pipeline_of(run), read_plan(tmp_path / "plan.json"))
    (tmp_path / "plan.json").write_text(json.dumps({**content, "intensity": {"method": "ct", "deviation": -1}}))
    with pytest.raises(CheckpointError, match="damaged"):
        resolve(pipeline_of(run), read_plan(tmp_path / "plan.json"))


def test_settled_pipeline_comes_back_as_it_is():
    from medseg.config import load_pipeline
    from medseg.planning.plan import Plan

    plan = Plan(
        spacing_mm=None, patch_size=(32, 48, 48), batch_size=1, steps_per_epoch=1, n_training_cases=1,
        n_positive_cases=1,
    )  # fmt: skip
    for name in ("ct_lung_nodule", "brain_infarct", "mnist_cnn"):
        assert resolve(settled := load_pipeline(name), plan) is settled
