"""How often reader studies without a difference are called different: the null simulation of Roe and Metz (1997).

    python scripts/validate_readers.py --simulations 1000 --seed 0

Prints the share of studies with p < 0.05. Each design is tried under its own null hypothesis, with new readers and
cases in every study:

random_readers_random_cases   the model itself, both modalities alike
fixed_readers_random_cases    modality 2 moved until these very readers have the same mean true AUC in both
random_readers_fixed_cases    no interaction of modality and case, so these very cases are equally hard in both

The score of a case is a sum of normal effects (Roe and Metz 1997, doi:10.1016/S1076-6332(97)80032-3): of the reader
and of reader x modality, each of variance `reader`; and of case, case x modality, case x reader and the rest, whose
variances sum to 1. The diseased are higher by `separation`; without reader effects AUC = Phi(separation / sqrt 2).
"""

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from medseg.evaluation.areas import area, weighted_roc
from medseg.evaluation.dorfman_berbaum_metz import dorfman_berbaum_metz
from medseg.evaluation.obuchowski_rockette import obuchowski_rockette
from medseg.evaluation.reader_covariance import leave_one_out
from medseg.evaluation.reader_study import FIXED_CASES, FIXED_READERS, RANDOM_BOTH

LEVEL = 0.05
DESIGNS = (RANDOM_BOTH, FIXED_READERS, FIXED_CASES)


@dataclass(frozen=True, slots=True)
class Structure:
    separation: float
    reader: float
    case: float
    case_modality: float
    case_reader: float
    rest: float


STRUCTURES = {  # after Roe and Metz: readers alike and the cases dominant; readers unlike and the rest dominant
    "AUC 0.70, readers alike": Structure(0.75, 0.0055, 0.3, 0.3, 0.2, 0.2),
    "AUC 0.70, readers unlike": Structure(0.75, 0.011, 0.1, 0.1, 0.2, 0.6),
    "AUC 0.86, readers alike": Structure(1.5, 0.0055, 0.3, 0.3, 0.2, 0.2),
    "AUC 0.86, readers unlike": Structure(1.5, 0.03, 0.1, 0.1, 0.2, 0.6),
}


def separations(random, structure, n_readers, *, same_mean):
    """Distance of the diseased from the healthy, shape (modality, reader)."""
    # a reader's effect on the diseased less that on the healthy: twice the variance of one
    spread = np.sqrt(2 * structure.reader)
    distance = structure.separation + spread * (random.normal(size=n_readers) + random.normal(size=(2, n_readers)))
    if same_mean:
        first, second = norm.cdf(distance[0] / np.sqrt(2)).mean(), distance[1]
        distance[1] += brentq(lambda move: norm.cdf((second + move) / np.sqrt(2)).mean() - first, -5, 5)
    return distance


def scores_of(random, structure, distance, truth):
    """Scores, shape (modality, reader, case)."""
    n_readers, n_cases = distance.shape[1], len(truth)
    effects = (
        (structure.case, (1, 1, n_cases)),
        (structure.case_modality, (2, 1, n_cases)),
        (structure.case_reader, (1, n_readers, n_cases)),
        (structure.rest, (2, n_readers, n_cases)),
    )
    return truth * distance[..., None] + sum(np.sqrt(v) * random.normal(size=shape) for v, shape in effects)


def analyses(truth, scores):
    """Both analyses of one study, from the same leave-one-out areas."""
    unit = np.arange(len(truth))
    found = [
        [leave_one_out(lambda w, s=score: area(*weighted_roc(truth, s, w)[:2]), unit) for score in modality]
        for modality in scores
    ]
    values = np.array([[value for value, _ in row] for row in found])
    without = np.array([[rest for _, rest in row] for row in found])
    return obuchowski_rockette(values, without), dorfman_berbaum_metz(values, without)


def rejection_rates(structure, design, *, simulations, seed, n_readers=5, n_diseased=50, n_healthy=50):
    """Share of studies with p < 0.05: after Obuchowski and Rockette, after Dorfman, Berbaum and Metz."""
    random = np.random.default_rng(seed)
    truth = np.arange(n_diseased + n_healthy) < n_diseased
    if design == FIXED_CASES:
        structure = replace(structure, case=structure.case + structure.case_modality, case_modality=0.0)
    rejected = np.zeros(2)
    for _ in range(simulations):
        distance = separations(random, structure, n_readers, same_mean=design == FIXED_READERS)
        for number, study in enumerate(analyses(truth, scores_of(random, structure, distance, truth))):
            tests = {test.design: test for test in (study.random_both, study.fixed_readers, study.fixed_cases)}
            rejected[number] += tests[design].p_value < LEVEL
    return rejected / simulations


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1000, help="studies for each line")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", type=int, default=5)
    parser.add_argument("--diseased", type=int, default=50)
    parser.add_argument("--healthy", type=int, default=50)
    options = parser.parse_args()
    size = {"n_readers": options.readers, "n_diseased": options.diseased, "n_healthy": options.healthy}
    error = np.sqrt(LEVEL * (1 - LEVEL) / options.simulations)
    print(f"{options.simulations} studies a line, {size}; a rate of 0.05 has a standard error of {error:.4f}")
    print(f"{'structure':<26}{'design':<30}{'OR':>8}{'DBM':>8}{'seconds':>9}")
    for number, (name, structure) in enumerate(STRUCTURES.items()):
        for design in DESIGNS:
            began = time.monotonic()
            seed = options.seed + 1000 * number
            rates = rejection_rates(structure, design, simulations=options.simulations, seed=seed, **size)
            took = time.monotonic() - began
            print(f"{name:<26}{design:<30}{rates[0]:>8.3f}{rates[1]:>8.3f}{took:>9.0f}", flush=True)


if __name__ == "__main__":
    main()
