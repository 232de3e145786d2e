"""Choosing between configurations on the same folds."""

import pytest
from blobs import OVERRIDES

from medseg.errors import CheckpointError, ConfigError, OutputError
from medseg.experiment import choose, cross_validate
from medseg.files import write_json


def write(folder, values, *, parts="train"):
    content = {"n_folds": 2, "out_of_fold": {"metric": "dice", "pooled": {}, "by_fold": values}}
    write_json(folder / "cross_validation.json", content)
    for number in (0, 1):
        write_json(folder / f"fold_{number}" / "splits.json", {"cases": {"a": parts, "b": "val"}})
    return folder


def test_the_best_mean_over_the_folds_is_chosen(tmp_path):
    a = write(tmp_path / "a", [{"dice": 0.9, "auc": 0.6}, {"dice": 0.1, "auc": 0.8}])
    b = write(tmp_path / "b", [{"dice": 0.6, "auc": 0.5}, {"dice": 0.5, "auc": None}])
    chosen = choose([a, b])
    assert chosen.cross_validations == (b,)
    assert chosen.metric == "dice"
    assert chosen.figures == pytest.approx({str(a): 0.5, str(b): 0.55})
    assert choose([a], "auc").cross_validations == (a,)
    with pytest.raises(ConfigError, match="the figure auc is unknown or undefined in a fold; there are dice, auc"):
        choose([a, b], "auc")


def test_other_folds_and_unfinished_ones_are_refused(tmp_path):
    a = write(tmp_path / "a", [{"dice": 0.9}, {"dice": 0.1}])
    with pytest.raises(OutputError, match="has other cases in its folds"):
        choose([a, write(tmp_path / "b", [{"dice": 0.9}, {"dice": 0.1}], parts="test")])
    write_json(tmp_path / "c" / "cross_validation.json", {"n_folds": 2})
    with pytest.raises(CheckpointError, match="is not finished"):
        choose([tmp_path / "c"])
    with pytest.raises(ConfigError, match="no cross-validation"):
        choose([])


@pytest.mark.slow
def test_the_mean_of_a_configuration_with_itself_is_as_good_and_the_simpler_one_is_taken(blobs, tmp_path):
    options = (*OVERRIDES, "split.folds=2", "training.max_steps=10", "training.validate_every_epochs=100")
    folder = cross_validate("brain_infarct", blobs, tmp_path / "cv", overrides=options).path
    (tmp_path / "same").symlink_to(folder)
    chosen = choose([folder, tmp_path / "same"], data=blobs)
    assert chosen.cross_validations == (folder,)
    alone, same, both = chosen.figures.values()
    assert alone == same == pytest.approx(both, abs=1e-6)
