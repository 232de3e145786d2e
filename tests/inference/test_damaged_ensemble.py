"""What was chosen for an ensemble, read from a damaged ``cross_validation.json``."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medseg.config import load_pipeline
from medseg.errors import CheckpointError
from medseg.inference import ensemble


@pytest.mark.parametrize(
    "damage",
    [{"calibration": None}, {"calibration": {"mask_threshold": "x"}}, {"postprocessing": "x"},
     {"postprocessing": {"detector": 3}}],
)  # fmt: skip
def test_damaged_choices_are_named(damage: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = load_pipeline("brain_infarct")
    content = {"folds": [{"fold": 0, "state": "finished"}], "calibration": {"operating_point": 0.5}} | damage
    (tmp_path / ensemble.CROSS_VALIDATION).write_text(json.dumps(content))
    member = SimpleNamespace(pipeline=pipeline, team=None)
    monkeypatch.setattr(ensemble, "pipeline_of", lambda _: pipeline)
    monkeypatch.setattr(ensemble, "load_model", lambda *_, **__: member)
    monkeypatch.setattr(ensemble, "mean_of", lambda *_: member)
    with pytest.raises(CheckpointError, match=r"cross_validation.json: damaged"):
        ensemble.load_ensemble(tmp_path, device="cpu", operating_point=None, team=None)
