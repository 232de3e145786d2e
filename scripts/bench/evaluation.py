"""Speed of the evaluation beside its peers, in one run (synthetic data).

    python scripts/bench/evaluation.py

FROC of 888 scans and 50,000 marks with 1,000 bootstraps by patient; DeLong on 100,000 cases; 2,000 bootstraps of the
partial AUC of 10,000 cases beside a loop over scikit-learn. The voxel figures have `scripts/bench/voxels.py`.
"""

import argparse
import time

import numpy as np
from sklearn.metrics import roc_auc_score

from medseg.evaluation import (
    bootstrap,
    delong_interval,
    delong_test,
    froc_interval,
    match_marks,
    partial_auc,
    partial_auc_weighted,
)
from medseg.evaluation.froc import CPM_RATES, LesionLevels, lesion_strata, sensitivity_at
from medseg.evaluation.resampling import Resampling


def timed(function, *arguments, **options):
    start = time.perf_counter()
    result = function(*arguments, **options)
    return time.perf_counter() - start, result


def scans(random: np.random.Generator, n: int = 888, n_lesions: int = 1186, n_marks: int = 50_000):
    """Lesions at random places, two thirds of them marked once, the other marks anywhere."""
    case_id = np.array([f"{number:04d}" for number in range(n)])
    own = random.integers(n, size=n_lesions)
    place = random.uniform(-200, 200, (n_lesions, 3))
    lesions = {"case_id": case_id[own], "diameter_mm": random.uniform(3, 30, n_lesions)}
    found = random.random(n_lesions) < 2 / 3
    false = n_marks - int(found.sum())
    marks = {
        "case_id": np.concatenate([case_id[own[found]], case_id[random.integers(n, size=false)]]),
        "score": np.concatenate([random.normal(1, 1, int(found.sum())), random.normal(0, 1, false)]),
    }
    elsewhere = random.uniform(-200, 200, (false, 3))
    for number, axis in enumerate("xyz"):
        lesions[axis] = place[:, number]
        marks[axis] = np.concatenate([place[found, number], elsewhere[:, number]])
    return {"case_id": case_id}, marks, lesions


def froc_with_bootstrap(cases, marks, lesions, replicates: int):
    matches = match_marks(cases, marks, lesions)
    intervals = froc_interval(matches, n_replicates=replicates)
    levels = LesionLevels(matches)
    cpm = Resampling.of(
        matches.patient_id, n_cases=matches.n_cases, strata=lesion_strata(matches), n_replicates=replicates
    ).replicates(lambda w: sensitivity_at(*levels.corners(w), np.array(CPM_RATES)).mean(axis=1))
    return intervals, np.percentile(cpm, [2.5, 97.5])


def loop_over_scikit_learn(truth: np.ndarray, score: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = []
    for _ in range(replicates):
        drawn = random.integers(len(truth), size=len(truth))
        values.append(roc_auc_score(truth[drawn], score[drawn], max_fpr=0.1))
    return np.percentile(values, [2.5, 97.5])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--loop", type=int, default=400, help="replicates of the loop, scaled to 2,000")
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)

    seconds, (intervals, _) = timed(froc_with_bootstrap, *scans(random), 1000)
    at_one = intervals[3]
    print(f"FROC, 888 scans, 50,000 marks, 1,000 bootstraps: {seconds:.2f} s, from the tables "
          f"(sensitivity at 1: {at_one.value:.3f}, {at_one.low:.3f} to {at_one.high:.3f})")  # fmt: skip

    truth = random.random(100_000) < 0.3
    a, b = random.normal(truth, 1), random.normal(truth, 1)
    one, _ = timed(delong_interval, truth, a)
    two, _ = timed(delong_test, truth, a, b)
    print(f"DeLong, 100,000 cases: interval {one:.3f} s, paired test {two:.3f} s")

    truth = np.arange(10_000) % 2 == 0
    score = random.normal(truth, 1)
    data = {"y_true": truth, "y_score": score}
    fast, interval = timed(bootstrap, partial_auc_weighted, data, unit=None, vectorized=True)
    plain, _ = timed(
        bootstrap, lambda y_true, y_score: partial_auc(y_true, y_score).mcclish, data, unit=None,
        n_replicates=options.loop,
    )  # fmt: skip
    slow, theirs = timed(loop_over_scikit_learn, truth, score, options.loop, options.seed)
    slow, plain = slow * 2000 / options.loop, plain * 2000 / options.loop
    print(f"partial AUC, 10,000 cases, 2,000 bootstraps: vectorised {fast:.2f} s, any statistic {plain:.2f} s, "
          f"loop over scikit-learn {slow:.2f} s: {slow / fast:.1f} and {slow / plain:.1f} times as fast "
          f"({interval.low:.4f} to {interval.high:.4f}; scikit-learn {theirs[0]:.4f} to {theirs[1]:.4f})")  # fmt: skip


if __name__ == "__main__":
    main()
