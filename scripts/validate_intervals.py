"""Coverage of the intervals and size of the tests, by simulation (synthetic data).

Each line is one situation: how often the 95 % interval contains the true value, or how often a test at 0.05 rejects
a null hypothesis that is true.

    python scripts/validate_intervals.py --simulations 2000 -o intervals.csv
    python scripts/validate_intervals.py --only froc
"""

import argparse
import csv
import os
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import norm

from medseg.errors import EvaluationWarning
from medseg.evaluation import (
    Matches,
    Resampling,
    bootstrap,
    clustered_auc,
    clustered_auc_test,
    delong_interval,
    delong_test,
    delong_test_unpaired,
    froc_interval,
    partial_auc_weighted,
    permutation_test,
    roc_auc_weighted,
    shared_ranks,
)
from medseg.evaluation.afroc import wafroc_auc_weighted
from medseg.evaluation.froc import CPM_RATES, LesionLevels, false_positive_scale, lesion_strata, sensitivity_at
from medseg.evaluation.precision import average_precision_weighted

REPLICATES = 1000
Trial = Callable[[np.random.Generator], dict[str, bool]]  # name of an interval or test -> covered, or rejected


@dataclass(frozen=True)
class Situation:
    group: str
    name: str
    n: int
    trial: Trial


def binormal(random: np.random.Generator, n: int, auc: float) -> tuple[np.ndarray, np.ndarray]:
    """`n` cases of each kind, normal scores of equal variance."""
    truth = np.repeat([False, True], n)
    return truth, random.normal(truth * norm.ppf(auc) * np.sqrt(2))


def true_partial(auc: float, high: float) -> float:
    """McClish's figure of the equal-variance binormal curve up to a false-positive fraction."""
    x = np.linspace(0, high, 200_001)[1:]
    y = norm.cdf(norm.ppf(auc) * np.sqrt(2) + norm.ppf(x))
    raw, chance = float(np.trapezoid(np.append(0, y), np.append(0, x))), high**2 / 2
    return (1 + (raw - chance) / (high - chance)) / 2


def auc_trial(random: np.random.Generator, *, n: int, auc: float) -> dict[str, bool]:
    truth, score = binormal(random, n, auc)
    logit, plain = delong_interval(truth, score), delong_interval(truth, score, logit=False)
    return {"AUC, DeLong logit": logit[1] <= auc <= logit[2], "AUC, DeLong plain": plain[1] <= auc <= plain[2]}


def partial_trial(random: np.random.Generator, *, n: int, auc: float, high: float, true: float) -> dict[str, bool]:
    truth, score = binormal(random, n, auc)
    covered = {}
    for method in ("bca", "percentile"):
        interval = bootstrap(
            partial(partial_auc_weighted, fpr_range=(0, high)), {"y_true": truth, "y_score": score}, unit=None,
            method=method, strata=truth, vectorized=True, n_replicates=REPLICATES, seed=int(random.integers(2**31)),
        )  # fmt: skip
        covered[f"partial AUC, {method}"] = interval.low <= true <= interval.high
    return covered


def marks(
    random: np.random.Generator, patient: np.ndarray, n_lesions: np.ndarray, *, shift: float, spread: float = 0.0,
    rate: float = 3.0, marked: float = 0.95,
) -> Matches:  # fmt: skip
    """Marks of a detector: `rate` false ones a case, lesions marked with probability `marked` and scored higher.

    `spread` is the standard deviation that the lesions of a patient share, of 1 in total.
    """
    n = len(patient)
    lesion_case = np.repeat(np.arange(n), n_lesions)
    shared = random.normal(size=int(patient.max()) + 1)[patient] * spread
    score = shift + shared[lesion_case] + random.normal(size=len(lesion_case)) * np.sqrt(1 - spread**2)
    score[random.random(len(lesion_case)) > marked] = -np.inf
    false_case = np.repeat(np.arange(n), random.poisson(rate, n))
    none, text = np.empty(0), np.array([], dtype=np.str_)
    count = np.bincount(lesion_case, minlength=n)
    return Matches(
        case_id=np.arange(n).astype(str), patient_id=patient.astype(str), lesion_case=lesion_case, lesion_score=score,
        lesion_weight=1 / count[lesion_case], lesion_diameter=np.ones(len(score)), lesion_class=np.full(len(score), ""),
        false_case=false_case, false_score=random.normal(size=len(false_case)),
        false_class=np.full(len(false_case), ""), neither_case=none.astype(int), neither_score=none,
        neither_class=text, rule="simulated", positive=n_lesions > 0,
    )  # fmt: skip


def true_sensitivity(shift: float, *, rate: float = 3.0, marked: float = 0.95, at: float = 1.0) -> float:
    return float(marked * norm.sf(norm.isf(at / rate) - shift))


def shift_for(sensitivity: float, *, rate: float = 3.0, marked: float = 0.95, at: float = 1.0) -> float:
    return float(norm.isf(at / rate) - norm.isf(sensitivity / marked))


def _froc_covered(random: np.random.Generator, matches: Matches, true: float) -> dict[str, bool]:
    seed = int(random.integers(2**31))
    score = froc_interval(matches, [1.0], n_replicates=REPLICATES, seed=seed)[0]
    levels = LesionLevels(matches)
    resampling = Resampling.of(
        matches.patient_id, n_cases=matches.n_cases, strata=lesion_strata(matches), n_replicates=REPLICATES, seed=seed
    )
    replicates = resampling.replicates(lambda w: sensitivity_at(*levels.corners(w), np.array([1.0]))[:, 0])
    low, high = np.percentile(replicates, [2.5, 97.5])
    return {
        "sensitivity at 1 FP, score": score.low <= true <= score.high,
        "sensitivity at 1 FP, percentile": low <= true <= high,
    }


def froc_trial(random: np.random.Generator, *, n: int, sensitivity: float) -> dict[str, bool]:
    n_lesions = np.repeat([1, 0], n)
    matches = marks(random, np.arange(2 * n), n_lesions, shift=shift_for(sensitivity))
    return _froc_covered(random, matches, sensitivity)


def true_curve_figures(shift: float, *, rate: float = 3.0, marked: float = 0.95) -> dict[str, float]:
    """CPM, average precision and wAFROC area of the simulated detector, half of the cases having one lesion."""
    cpm = np.mean([true_sensitivity(shift, at=min(at, rate)) if at < rate else marked for at in CPM_RATES])
    t = np.linspace(-12, 16, 400_001)
    hits, false = marked * norm.sf(t - shift) / 2, rate * norm.sf(t)  # a case, at a threshold
    with np.errstate(invalid="ignore"):
        precision = np.where(hits + false > 0, hits / (hits + false), 1.0)
    density = norm.pdf(t - shift)
    highest = np.exp(-rate * norm.sf(t))  # probability that no false mark lies above
    return {
        "CPM": float(cpm),
        "average precision": float(np.trapezoid(marked * density * precision, t)),
        "wAFROC": float(np.trapezoid(marked * density * highest, t) + (1 - marked) * np.exp(-rate) / 2),
    }


def curve_trial(random: np.random.Generator, *, n: int, sensitivity: float, true: dict[str, float]) -> dict[str, bool]:
    matches = marks(random, np.arange(2 * n), np.repeat([1, 0], n), shift=shift_for(sensitivity))
    levels, seed = LesionLevels(matches), int(random.integers(2**31))
    statistics: dict[str, Any] = {
        "CPM": lambda w: sensitivity_at(*levels.corners(w), np.array(CPM_RATES)).mean(axis=1),
        "average precision": lambda w: average_precision_weighted(levels, w),
        "wAFROC": lambda w: wafroc_auc_weighted(matches, w),
    }
    covered = {}
    for name, statistic in statistics.items():
        for method in ("bca", "percentile"):
            interval = bootstrap(
                lambda case, weights, statistic=statistic: statistic(weights), {"case": np.arange(2 * n)}, unit=None,
                method=method, strata=lesion_strata(matches), vectorized=True, n_replicates=REPLICATES, seed=seed,
            )  # fmt: skip
            covered[f"{name}, {method}"] = interval.low <= true[name] <= interval.high
    return covered


def clustered_froc_trial(random: np.random.Generator, *, n: int, sensitivity: float) -> dict[str, bool]:
    """`n` patients, half with lesions; 1 to 3 images a patient, 1 to 4 lesions an image, alike within a patient."""
    patient = np.repeat(np.arange(n), random.integers(1, 4, n))
    n_lesions = np.where(patient < n // 2, random.integers(1, 5, len(patient)), 0)
    matches = marks(random, patient, n_lesions, shift=shift_for(sensitivity), spread=np.sqrt(0.5))
    return _froc_covered(random, matches, sensitivity)


def clustered_auc_trial(random: np.random.Generator, *, n: int, auc: float) -> dict[str, bool]:
    """`n` patients with 1 to 4 images; in half of them images of either kind occur; scores share the patient."""
    patient = np.repeat(np.arange(n), random.integers(1, 5, n))
    chance = np.array([0.0, 0.5, 0.5, 1.0])[np.arange(n) % 4]
    truth = random.random(len(patient)) < chance[patient]
    score = truth * norm.ppf(auc) * np.sqrt(2) + np.sqrt(0.5) * (
        random.normal(size=n)[patient] + random.normal(size=len(patient))
    )
    seed = int(random.integers(2**31))
    logit = clustered_auc(truth, score, cluster=patient)
    boot = bootstrap(
        roc_auc_weighted, {"y_true": truth, "y_score": score}, unit=patient, vectorized=True, seed=seed,
        n_replicates=REPLICATES,
    )  # fmt: skip
    wrong = delong_interval(truth, score)
    return {
        "AUC, Obuchowski logit": logit[1] <= auc <= logit[2],
        "AUC, patient bootstrap": boot.low <= auc <= boot.high,
        "AUC, DeLong as if images were patients": wrong[1] <= auc <= wrong[2],
    }


def null_roc_trial(random: np.random.Generator, *, n: int, auc: float, correlation: float = 0.5) -> dict[str, bool]:
    """Two models of equal AUC on the same cases, and on different ones."""
    truth = np.repeat([False, True], n)
    shared = random.normal(size=2 * n) * np.sqrt(correlation)
    a, b = (
        truth * norm.ppf(auc) * np.sqrt(2) + shared + random.normal(size=2 * n) * np.sqrt(1 - correlation)
        for _ in range(2)
    )
    ranks_a, ranks_b = shared_ranks(a, b)
    both_truth, both = np.tile(truth, 2), np.concatenate([ranks_a, ranks_b])
    seed = int(random.integers(2**31))
    tests = {"AUC, DeLong paired": delong_test(truth, a, b).p_value}
    tests["AUC, DeLong unpaired"] = delong_test_unpaired(*binormal(random, n, auc), *binormal(random, n, auc)).p_value
    for name, statistic in (("AUC", roc_auc_weighted), ("partial AUC", partial_auc_weighted)):
        tests[f"{name}, permutation"] = permutation_test(
            lambda w, statistic=statistic: statistic(both_truth, both, w), None, n_cases=2 * n, n_permutations=999,
            seed=seed,
        )[1]  # fmt: skip
    return {name: p_value <= 0.05 for name, p_value in tests.items()}


def null_clustered_trial(random: np.random.Generator, *, n: int, auc: float) -> dict[str, bool]:
    patient = np.repeat(np.arange(n), random.integers(1, 5, n))
    chance = np.array([0.0, 0.5, 0.5, 1.0])[np.arange(n) % 4]
    truth = random.random(len(patient)) < chance[patient]
    shared = random.normal(size=n)[patient] * np.sqrt(0.3)
    a, b = (
        truth * norm.ppf(auc) * np.sqrt(2) + shared + np.sqrt(0.2) * random.normal(size=n)[patient]
        + np.sqrt(0.5) * random.normal(size=len(patient))
        for _ in range(2)
    )  # fmt: skip
    return {"AUC, Obuchowski clustered": clustered_auc_test(truth, a, b, cluster=patient).p_value <= 0.05}


def null_froc_trial(random: np.random.Generator, *, n: int, sensitivity: float) -> dict[str, bool]:
    n_lesions = np.repeat([2, 0], n)
    a, b = (marks(random, np.arange(2 * n), n_lesions, shift=shift_for(sensitivity)) for _ in range(2))
    ranked = [m.with_scores(*false_positive_scale(m)) for m in (a, b)]
    both = ranked[0].followed_by(ranked[1])
    levels, seed = LesionLevels(both), int(random.integers(2**31))
    rates = np.array([0.125, 0.25, 0.5, 1, 2, 4, 8])
    tests: dict[str, Any] = {
        "CPM, permutation": lambda w: sensitivity_at(*levels.corners(w), rates).mean(axis=1),
        "wAFROC, permutation": lambda w: wafroc_auc_weighted(both, w),
    }
    return {
        name: permutation_test(statistic, None, n_cases=2 * n, n_permutations=499, seed=seed)[1] <= 0.05
        for name, statistic in tests.items()
    }


def situations() -> list[Situation]:
    found = []
    for n in (25, 50, 200, 500):
        for auc in (0.7, 0.8, 0.9, 0.95):
            found.append(Situation("auc", f"AUC {auc}", n, partial(auc_trial, n=n, auc=auc)))
        for sensitivity in (0.6, 0.75, 0.9):
            trial = partial(froc_trial, n=n, sensitivity=sensitivity)
            found.append(Situation("froc", f"sensitivity {sensitivity}", n, trial))
    for n in (50, 200, 500):
        for auc, high in ((0.8, 0.1), (0.9, 0.1), (0.9, 0.2)):
            trial = partial(partial_trial, n=n, auc=auc, high=high, true=true_partial(auc, high))
            found.append(Situation("partial", f"AUC {auc}, FPR to {high}", n, trial))
    for n in (25, 50, 200):
        for sensitivity in (0.6, 0.9):
            true = true_curve_figures(shift_for(sensitivity))
            trial = partial(curve_trial, n=n, sensitivity=sensitivity, true=true)
            found.append(Situation("curves", f"sensitivity {sensitivity} at 1", n, trial))
    for n in (20, 50, 100, 200):
        for auc in (0.75, 0.9):
            found.append(Situation("clustered", f"AUC {auc}", n, partial(clustered_auc_trial, n=n, auc=auc)))
        for sensitivity in (0.6, 0.8):
            trial = partial(clustered_froc_trial, n=n, sensitivity=sensitivity)
            found.append(Situation("clustered", f"sensitivity {sensitivity}", n, trial))
    for n in (25, 100):
        for auc in (0.75, 0.9):
            found.append(Situation("null", f"AUC {auc}", n, partial(null_roc_trial, n=n, auc=auc)))
        found.append(Situation("null", "sensitivity 0.75", n, partial(null_froc_trial, n=n, sensitivity=0.75)))
    for n in (50, 100):
        found.append(Situation("null", "AUC 0.8, patients", n, partial(null_clustered_trial, n=n, auc=0.8)))
    return found


def run(situation: Situation, simulations: int, seed: int) -> list[dict[str, Any]]:
    warnings.simplefilter("ignore", EvaluationWarning)
    random = np.random.default_rng([seed, situation.n])
    counts: dict[str, int] = {}
    for _ in range(simulations):
        for name, true in situation.trial(random).items():
            counts[name] = counts.get(name, 0) + bool(true)
    what = "rejected" if situation.group == "null" else "covered"
    return [
        {
            "group": situation.group, "situation": situation.name, "n": situation.n, "method": name, "what": what,
            "share": round(count / simulations, 4),
            "standard_error": round(float(np.sqrt(count / simulations * (1 - count / simulations) / simulations)), 4),
            "simulations": simulations,
        }
        for name, count in counts.items()
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["auc", "froc", "partial", "curves", "clustered", "null"])
    parser.add_argument("--sizes", type=int, nargs="*", help="only these n")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("-o", "--output", help="CSV file")
    options = parser.parse_args()
    chosen = [s for s in situations() if options.only in (None, s.group)]
    chosen = [s for s in chosen if not options.sizes or s.n in options.sizes]
    rows, start = [], time.monotonic()
    with ProcessPoolExecutor(options.workers) as pool:
        work = partial(run, simulations=options.simulations, seed=options.seed)
        for done in pool.map(work, sorted(chosen, key=lambda s: (s.group, s.name, s.n))):
            rows += done
            for row in done:
                print(f"{row['group']:<10} {row['situation']:<22} n={row['n']:<4} {row['method']:<40} "
                      f"{row['what']} {100 * row['share']:.1f} % (SE {100 * row['standard_error']:.1f})")  # fmt: skip
            sys.stdout.flush()
    print(f"{len(chosen)} situations x {options.simulations} simulations, {time.monotonic() - start:.0f} s")
    if options.output:
        with open(options.output, "w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
