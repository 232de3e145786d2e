"""The spread of figures over evaluations."""

import pytest

from medseg.errors import OutputError
from medseg.experiment import spread
from medseg.experiment.figure_spread import spread_lines
from medseg.files import write_json


def write(folder, auc, *, accuracy=None):
    figure = {"value": auc, "ci_low": None, "ci_high": None}
    case = {"auc": figure, "partial_auc": {"fpr_range": [0, 0.1], "mcclish": {**figure, "value": None}, "raw": figure}}
    if accuracy is not None:
        case["accuracy"] = {**figure, "value": accuracy}
    write_json(folder / "evaluation.json", {"counts": {}, "case_level": case})
    return folder


def test_mean_and_standard_deviation_of_what_all_have(tmp_path):
    folders = [write(tmp_path / name, value) for name, value in (("a", 0.7), ("b", 0.8), ("c", 0.9))]
    write(folders[0], 0.7, accuracy=0.5)
    rows = {row["figure"]: row for row in spread(folders)}
    assert set(rows) == {"AUC", "Partial AUC, FPR 0 to 0.1, raw"}
    row = rows["AUC"]
    assert (row["n"], row["min"], row["max"]) == (3, 0.7, 0.9)
    assert (row["mean"], row["sd"]) == pytest.approx((0.8, 0.1))
    assert spread_lines([row])[0].endswith("0.800 SD 0.100 (0.700 to 0.900, n 3)")
    with pytest.raises(OutputError, match="at least two"):
        spread(folders[:1])
