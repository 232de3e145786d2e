"""A second stage belongs to one run."""

from pathlib import Path

import pytest

from medseg.detectors.second_stage_settings import SecondStageSettings
from medseg.errors import ConfigError
from medseg.experiment.second_stage import train_second_stage
from medseg.inference.ensemble import CROSS_VALIDATION


def test_a_cross_validation_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / CROSS_VALIDATION).write_text("{}")
    with pytest.raises(ConfigError, match="is a cross-validation"):
        train_second_stage(SecondStageSettings(), tmp_path / "out_of_fold", tmp_path, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [CROSS_VALIDATION]
