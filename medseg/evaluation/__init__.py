"""Figures of merit for detection: numbers in, numbers out. NumPy and SciPy only."""

from medseg.evaluation.afroc import wafroc_auc
from medseg.evaluation.bootstrap import Interval, bootstrap
from medseg.evaluation.delong import DelongTest, delong_interval, delong_test
from medseg.evaluation.froc import FrocCurve, froc
from medseg.evaluation.matching import Matches, match_marks, match_pairs
from medseg.evaluation.pixel import PixelCounts, dice_score
from medseg.evaluation.precision import average_precision
from medseg.evaluation.report import evaluate_tables
from medseg.evaluation.roc import PartialAuc, RocCurve, partial_auc, roc_auc, roc_curve

__all__ = [
    "DelongTest",
    "FrocCurve",
    "Interval",
    "Matches",
    "PartialAuc",
    "PixelCounts",
    "RocCurve",
    "average_precision",
    "bootstrap",
    "delong_interval",
    "delong_test",
    "dice_score",
    "evaluate_tables",
    "froc",
    "match_marks",
    "match_pairs",
    "partial_auc",
    "roc_auc",
    "roc_curve",
    "wafroc_auc",
]
