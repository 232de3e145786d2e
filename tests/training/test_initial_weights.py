"""Fine-tuning: what is loaded, what is refused, what is taken over; and trainings that are given up."""

import csv
import json

import pytest
import torch
from blobs import OVERRIDES
from safetensors.torch import save_file
from torch import nn

from medseg.errors import CheckpointError, ConfigError
from medseg.inference.model import load_model
from medseg.planning.plan import Plan
from medseg.training.checkpoint import save_checkpoint
from medseg.training.initial_weights import begin_with
from medseg.training.settings import TrainingSettings
from medseg.training.train import loaded_pipeline, train


def network(n_inputs=2, n_outputs=3):
    return nn.Sequential(nn.Linear(n_inputs, 4), nn.Linear(4, n_outputs))


PLAN = Plan(spacing_mm=None, patch_size=(8, 8), batch_size=1, steps_per_epoch=1, n_training_cases=1, n_positive_cases=1)


def begun(path, one, **options):
    return begin_with(one, PLAN, TrainingSettings(max_steps=1, initial_weights=str(path), **options))


@pytest.mark.parametrize("kind", ["model.safetensors", "state.pt", "checkpoint.pt", "bundle"])
def test_all_weights_are_taken_from_each_kind_of_file(kind, tmp_path):
    source, fresh = network(), network()
    weights = source.state_dict()
    path = tmp_path / kind
    if kind == "bundle":
        (path / "models").mkdir(parents=True)
        save_file(weights, path / "models" / "model.safetensors")
    elif kind == "model.safetensors":
        save_file(weights, path)
    else:
        save_checkpoint(path, weights if kind == "state.pt" else {"weights": weights, "format": 1})
    plan = begun(path, fresh)
    assert all(torch.equal(fresh.state_dict()[name], weights[name]) for name in weights)
    assert plan.reasons["initial_weights"].startswith("4 of 4 tensors of ")


def test_what_does_not_fit_is_refused_or_named_and_fresh(tmp_path):
    source, other_head = network(), network(n_outputs=5)
    save_file(source.state_dict(), tmp_path / "a.safetensors")
    before = {name: tensor.clone() for name, tensor in other_head.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"1\.weight \(5, 4\), found \(3, 4\); 1\.bias .*allow_partial_weights"):
        begun(tmp_path / "a.safetensors", other_head)
    assert all(torch.equal(other_head.state_dict()[name], before[name]) for name in before)
    plan = begun(tmp_path / "a.safetensors", other_head, allow_partial_weights=True)
    assert torch.equal(other_head.state_dict()["0.weight"], source.state_dict()["0.weight"])
    assert torch.equal(other_head.state_dict()["1.weight"], before["1.weight"])
    assert "2 of 4 tensors" in plan.reasons["initial_weights"]
    assert "fresh: 1.weight (5, 4), found (3, 4)" in plan.reasons["initial_weights"]
    save_file({**source.state_dict(), "more": torch.zeros(1)}, tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match="more unknown"):
        begun(tmp_path / "b.safetensors", network())
    save_file({"x": torch.zeros(1)}, tmp_path / "c.safetensors")
    with pytest.raises(CheckpointError, match="none of its 1 tensors fits"):
        begun(tmp_path / "c.safetensors", network(), allow_partial_weights=True)


def test_what_is_no_file_of_weights_is_one_line(tmp_path):
    (tmp_path / "text.safetensors").write_text("no weights")
    (tmp_path / "text.pt").write_text("no weights")
    (tmp_path / "cv" / "fold_0").mkdir(parents=True)
    for name, said in (
        ("text.safetensors", "damaged or not in the format"), ("text.pt", "damaged or not a checkpoint"),
        ("nothing", "no such file or folder"), ("cv", "name one fold"), (".", "holds no weights"),
    ):  # fmt: skip
        with pytest.raises(CheckpointError, match=said):
            begun(tmp_path / name, network())


def test_a_training_begins_with_the_weights_of_a_run(trained, blobs, tmp_path):
    options = (*OVERRIDES, "training.max_steps=1", "training.learning_rate=1e-9", "training.ema_decay=null")
    run = train("brain_infarct", blobs, tmp_path / "run", overrides=(*options, f"training.initial_weights={trained}"))
    source, tuned = load_model(trained).network.state_dict(), load_model(run).network.state_dict()
    assert all(torch.allclose(source[name], tuned[name], atol=1e-6) for name in source)
    reason = json.loads((run / "plan.json").read_text())["reasons"]["initial_weights"]
    assert f"{len(source)} of {len(source)} tensors of model.pt" in reason
    with pytest.raises(CheckpointError, match="does not fit the network of this pipeline"):
        train(
            "brain_infarct", blobs, tmp_path / "other",
            overrides=(*options, f"training.initial_weights={trained}", "classes=[infarct,bleeding]"),
        )  # fmt: skip


def test_the_patch_of_the_run_is_taken_over_where_none_is_given(trained):
    options = [option for option in OVERRIDES if "patch_size" not in option]
    weights = f"training.initial_weights={trained}"
    taken = loaded_pipeline("brain_infarct", [*options, weights, "training.initial_plan=true"])
    assert taken.sampling.patch_size == (48, 48)
    assert loaded_pipeline("brain_infarct", [*options, weights]).sampling.patch_size is None
    given = [*options, weights, "training.initial_plan=true", "sampling.patch_size=[32,32]"]
    assert loaded_pipeline("brain_infarct", given).sampling.patch_size == (32, 32)
    with pytest.raises(ConfigError, match="needs training.initial_weights to name a run"):
        loaded_pipeline("brain_infarct", [*options, "training.initial_plan=true"])


@pytest.mark.parametrize(
    ("values", "stale"), [([0.1, 0.2, 0.2, 0.1], 2), ([0.3, 0.2, 0.4], 0), ([float("nan")] * 3, 0), ([0.5, 0.5], 1)]
)
def test_validations_without_a_better_figure_are_counted(values, stale):
    from medseg.training.loop import TrainingState, _validate
    from medseg.training.validation import Validation

    state = TrainingState()
    for value in values:
        _validate(lambda _, v=value: Validation("m", v, {}), {"w": torch.zeros(1)}, state, {})
    assert state.without_gain == stale


def test_a_training_without_gain_ends_early_and_says_so(blobs, tmp_path, monkeypatch, caplog):
    from medseg.training import train as module
    from medseg.training.validation import Validation

    monkeypatch.setattr(module, "_validated", lambda model, store: Validation("dice", 0.5, {}, []))
    monkeypatch.setattr(module, "calibrate", lambda model, result: {})
    monkeypatch.setattr(module, "score_file", lambda model, result, patient_of: {})
    options = (*OVERRIDES, "training.patience_validations=2")
    with caplog.at_level("INFO", "medseg"):
        run = train("brain_infarct", blobs, tmp_path / "run", overrides=options)
    per_epoch = json.loads((run / "plan.json").read_text())["steps_per_epoch"]
    with (run / "log.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 3 * per_epoch  # the first is the best, two do not beat it
    assert "no better figure in 2 validations, the training ends here (best 0.5000)" in caplog.text
