"""ROC figures of 200 random data sets with ties against the R package pROC, computed by R while the test runs."""

import math
import shutil
import subprocess
import warnings

import numpy as np
import pytest

from medseg.evaluation import delong_test, delong_test_unpaired, delong_variance, partial_auc, roc_auc
from medseg.files import read_csv, write_csv, write_text

pytestmark = pytest.mark.slow

# pROC's name of a partial area, the same in terms of this package
AREAS = {
    "specificity_1_0.9": {"fpr_range": (0.0, 0.1)},
    "specificity_0.9_0.8": {"fpr_range": (0.1, 0.2)},
    "specificity_1_0.5": {"fpr_range": (0.0, 0.5)},
    "sensitivity_1_0.9": {"tpr_range": (0.9, 1.0)},
    "sensitivity_0.9_0.8": {"tpr_range": (0.8, 0.9)},
}
SETS, SIZES = 200, ((6, 6), (6, 40), (25, 7), (20, 20), (40, 60), (90, 30), (150, 150))

# One row a data set. corrected_: McClish's formula also below chance; default_: as pROC gives it unasked, NA there.
SCRIPT = """
suppressMessages(library(pROC))
arguments <- commandArgs(trailingOnly = TRUE)
cases <- read.csv(arguments[1])
ranges <- list(c("specificity", 1, 0.9), c("specificity", 0.9, 0.8), c("specificity", 1, 0.5),
               c("sensitivity", 1, 0.9), c("sensitivity", 0.9, 0.8))
below <- if ("allow.invalid.partial.auc.correct" %in% names(formals(getS3method("auc", "roc"))))
  list(allow.invalid.partial.auc.correct = TRUE) else list()
curve <- function(rows, score)
  roc(rows$truth, rows[[score]], levels = c(0, 1), direction = "<", quiet = TRUE)
one <- function(rows) {
  first <- rows[rows$sample == 1, ]
  a <- curve(first, "a")
  b <- curve(first, "b")
  other <- curve(rows[rows$sample == 2, ], "a")
  out <- c(auc = as.numeric(a$auc), auc_b = as.numeric(b$auc), auc_other = as.numeric(other$auc),
           variance = var(a, method = "delong"))
  for (range in ranges) {
    name <- paste(range, collapse = "_")
    partial <- list(a, partial.auc = as.numeric(range[2:3]), partial.auc.focus = range[1])
    correct <- c(partial, partial.auc.correct = TRUE)
    out[paste0("raw_", name)] <- as.numeric(do.call(auc, partial))
    out[paste0("default_", name)] <- as.numeric(do.call(auc, correct))
    out[paste0("corrected_", name)] <- as.numeric(do.call(auc, c(correct, below)))
  }
  paired <- roc.test(a, b, method = "delong", paired = TRUE)
  unpaired <- roc.test(a, other, method = "delong", paired = FALSE)
  c(out, z = unname(paired$statistic), z_p = paired$p.value,
    d = unname(unpaired$statistic), d_p = unpaired$p.value)
}
table <- suppressWarnings(t(sapply(split(cases, cases$set), one)))
write.csv(matrix(sprintf("%.17g", table), nrow(table), dimnames = list(NULL, colnames(table))),
          arguments[2], row.names = FALSE, quote = FALSE)
"""


def _scores(rng: np.random.Generator, truth: np.ndarray, kind: int) -> tuple[np.ndarray, np.ndarray]:
    """Two correlated scores of the same cases: ratings from 1 to 5, rounded, continuous, or worse than chance."""
    latent = rng.normal(size=len(truth))
    shift = (0.8, 1.2, 0.6, -0.7)[kind]
    pair = [latent + shift * strength * truth + rng.normal(size=len(truth)) for strength in (1.0, 0.5)]
    if kind == 0:
        return tuple(np.clip(np.round(3 + score), 1, 5) for score in pair)
    if kind == 2:
        return pair[0], np.round(pair[1], 1)
    return tuple(np.round(score, 1) for score in pair)


def _data_set(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Labels and two scores of sample "1", and of the independent sample "2" of another size."""
    rng = np.random.default_rng(seed)
    samples = {}
    for sample, size in (("1", SIZES[seed % len(SIZES)]), ("2", SIZES[(seed // 3 + 2) % len(SIZES)])):
        truth = rng.permutation(np.repeat([1, 0], size))
        samples[sample] = (truth, *_scores(rng, truth, seed % 4))
    return samples


def _need_proc() -> str:
    rscript = shutil.which("Rscript")
    if rscript is None:
        pytest.skip("R is not here: install r-base-core and r-cran-proc")
    asked = [rscript, "--vanilla", "-e", "quit(status = !requireNamespace('pROC', quietly = TRUE))"]
    if subprocess.run(asked, capture_output=True).returncode:
        pytest.skip("the R package pROC is not here: install r-cran-proc")
    return rscript


@pytest.fixture(scope="module")
def data():
    """The random data sets, then two without variance: both scores separate perfectly; one does, one says nothing."""
    truth, perfect, constant = np.repeat([0, 1], 10), np.arange(20.0), np.ones(20)
    without = [{"1": (truth, perfect, b), "2": (truth, perfect, b)} for b in (perfect**2, constant)]
    return [_data_set(seed) for seed in range(SETS)] + without


@pytest.fixture(scope="module")
def proc(data, tmp_path_factory):
    """pROC's answers: name -> array, shape (data set,)."""
    rscript, folder = _need_proc(), tmp_path_factory.mktemp("proc")
    rows = [
        {"set": number, "sample": sample, "truth": truth, "a": a, "b": b}
        for number, samples in enumerate(data)
        for sample, columns in samples.items()
        for truth, a, b in zip(*columns)
    ]
    write_csv(folder / "cases.csv", ("set", "sample", "truth", "a", "b"), rows)
    write_text(folder / "proc.R", SCRIPT)
    command = [rscript, "--vanilla", folder / "proc.R", folder / "cases.csv", folder / "answers.csv"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert finished.returncode == 0, finished.stderr
    names, answers = read_csv(folder / "answers.csv")
    assert len(answers) == len(data)
    return {name: np.array([float(row[name].replace("NA", "nan")) for row in answers]) for name in names}


def _close(ours: list[float], theirs: np.ndarray) -> None:
    """Equal to 1e-9, absolute or (for what is larger than 1) relative, NaN where the other has NaN."""
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def _partial(data, options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that few negatives lie in the range, which does not change the value
        return [partial_auc(*samples["1"][:2], **options) for samples in data]


def test_the_data_sets_have_ties_and_curves_below_chance(data, proc):
    tied = [len(np.unique(samples["1"][1])) < len(samples["1"][1]) for samples in data]
    assert sum(tied) >= 120
    assert (proc["auc"] < 0.5).sum() >= 40
    assert {(int(samples["1"][0].sum()), int((1 - samples["1"][0]).sum())) for samples in data[:SETS]} == set(SIZES)


def test_auc(data, proc):
    _close([roc_auc(*samples["1"][:2]) for samples in data], proc["auc"])
    _close([roc_auc(samples["1"][0], samples["1"][2]) for samples in data], proc["auc_b"])
    _close([roc_auc(*samples["2"][:2]) for samples in data], proc["auc_other"])


@pytest.mark.parametrize(("name", "options"), AREAS.items(), ids=AREAS)
def test_partial_area(data, proc, name, options):
    _close([area.raw for area in _partial(data, options)], proc[f"raw_{name}"])


@pytest.mark.parametrize(("name", "options"), AREAS.items(), ids=AREAS)
def test_mcclish(data, proc, name, options):
    """Where pROC leaves it undefined, below chance, the formula's value is kept and `below_chance` is set."""
    areas, corrected, default = _partial(data, options), proc[f"corrected_{name}"], proc[f"default_{name}"]
    known = ~np.isnan(corrected)  # everywhere in versions of pROC that can be asked for the value below chance
    assert known.sum() >= 100
    _close(np.array([area.mcclish for area in areas])[known], corrected[known])
    decided = ~(np.abs(corrected - 0.5) < 1e-12)  # exactly at chance rounding decides
    assert [area.below_chance for area in np.array(areas)[decided]] == list(np.isnan(default)[decided])


def test_delong_variance(data, proc):
    ours = [delong_variance(*samples["1"][:2]) for samples in data]
    np.testing.assert_allclose(ours, proc["variance"], rtol=1e-9, atol=1e-15)  # variances are small


def test_paired(data, proc):
    tests = [delong_test(*samples["1"]) for samples in data[:SETS]]
    _close([test.z for test in tests], proc["z"][:SETS])
    _close([test.p_value for test in tests], proc["z_p"][:SETS])


def test_unpaired(data, proc):
    """The statistic is compared with Student's t distribution of Welch and Satterthwaite's degrees, as in pROC."""
    tests = [delong_test_unpaired(*samples["1"][:2], *samples["2"][:2]) for samples in data[:SETS]]
    _close([test.statistic for test in tests], proc["d"][:SETS])
    _close([test.p_value for test in tests], proc["d_p"][:SETS])


def test_without_variance_the_conventions_differ(data, proc):
    """pROC divides by 0; here the statistic is undefined, and the p-value is 1 only where nothing differs."""
    assert list(proc["z"][SETS:]) == [0, math.inf]
    assert list(proc["z_p"][SETS:]) == [1, 0]  # two perfect scores; perfect against 0.5, "certain" from 20 cases
    assert np.isnan(proc["d"][SETS:]).all()
    assert np.isnan(proc["d_p"][SETS:]).all()
    same, other = (delong_test(*samples["1"]) for samples in data[SETS:])
    assert math.isnan(same.z)
    assert same.p_value == 1
    assert math.isnan(other.z)
    assert math.isnan(other.p_value)
    unpaired = delong_test_unpaired(*data[SETS]["1"][:2], *data[SETS]["2"][:2])
    assert math.isnan(unpaired.statistic)
    assert unpaired.p_value == 1
