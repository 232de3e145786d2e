"""Figures of merit for detection: numbers in, numbers out. NumPy and SciPy only."""

from medseg.evaluation.afroc import afroc_auc, lroc_auc, wafroc_auc
from medseg.evaluation.bootstrap import Interval, bootstrap
from medseg.evaluation.calibration import (
    BrierScore,
    ReliabilityCurve,
    brier_score,
    expected_calibration_error,
    reliability_curve,
)
from medseg.evaluation.clustered import auc_interval, clustered_auc, clustered_auc_test
from medseg.evaluation.cross_validation import cross_validated
from medseg.evaluation.delong import AucTest, delong_interval, delong_test, delong_test_unpaired, delong_variance
from medseg.evaluation.froc import FrocCurve, false_positive_scale, froc, froc_interval
from medseg.evaluation.lesionwise import LesionwiseF1, lesionwise_f1
from medseg.evaluation.maps import match_maps
from medseg.evaluation.masks import MaskFigures, dice_score, mask_figures
from medseg.evaluation.matches import Matches, read_matches
from medseg.evaluation.matching import match_marks, match_pairs
from medseg.evaluation.operating_points import (
    OperatingPoint,
    choose_threshold,
    operating_point,
    predictive_values,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
)
from medseg.evaluation.paired import PairedDifference, holm, paired_bootstrap, permutation_test, shared_ranks
from medseg.evaluation.partial import PartialAuc, partial_auc, partial_auc_weighted, two_way_partial_auc
from medseg.evaluation.pixel import PixelCounts
from medseg.evaluation.precision import average_precision, precision_recall
from medseg.evaluation.proportions import auc_score_interval, clopper_pearson, effective_size_interval, wilson
from medseg.evaluation.reader_marks import match_readers
from medseg.evaluation.reader_study import VarianceComponents
from medseg.evaluation.readers import ReaderStudy, dorfman_berbaum_metz, mark_study, obuchowski_rockette, rating_study
from medseg.evaluation.report import evaluate_tables
from medseg.evaluation.resampling import Resampling
from medseg.evaluation.roc import RocCurve, roc_auc, roc_auc_weighted, roc_curve
from medseg.evaluation.sample_size import reader_study_power, reader_study_sample_size
from medseg.evaluation.voxels import VoxelFigures, voxel_figures

__all__ = [
    "AucTest",
    "BrierScore",
    "FrocCurve",
    "Interval",
    "LesionwiseF1",
    "MaskFigures",
    "Matches",
    "OperatingPoint",
    "PairedDifference",
    "PartialAuc",
    "PixelCounts",
    "ReaderStudy",
    "ReliabilityCurve",
    "Resampling",
    "RocCurve",
    "VarianceComponents",
    "VoxelFigures",
    "afroc_auc",
    "auc_interval",
    "auc_score_interval",
    "average_precision",
    "bootstrap",
    "brier_score",
    "choose_threshold",
    "clopper_pearson",
    "clustered_auc",
    "clustered_auc_test",
    "cross_validated",
    "delong_interval",
    "delong_test",
    "delong_test_unpaired",
    "delong_variance",
    "dice_score",
    "dorfman_berbaum_metz",
    "effective_size_interval",
    "evaluate_tables",
    "expected_calibration_error",
    "false_positive_scale",
    "froc",
    "froc_interval",
    "holm",
    "lesionwise_f1",
    "lroc_auc",
    "mark_study",
    "mask_figures",
    "match_maps",
    "match_marks",
    "match_pairs",
    "match_readers",
    "obuchowski_rockette",
    "operating_point",
    "paired_bootstrap",
    "partial_auc",
    "partial_auc_weighted",
    "permutation_test",
    "precision_recall",
    "predictive_values",
    "rating_study",
    "read_matches",
    "reader_study_power",
    "reader_study_sample_size",
    "reliability_curve",
    "roc_auc",
    "roc_auc_weighted",
    "roc_curve",
    "sensitivity_at_specificity",
    "shared_ranks",
    "specificity_at_sensitivity",
    "two_way_partial_auc",
    "voxel_figures",
    "wafroc_auc",
    "wilson",
]
