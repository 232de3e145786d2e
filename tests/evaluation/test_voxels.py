"""Figures over the voxels of all cases: by hand, against scikit-learn, and against a sweep over all thresholds."""

import math

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

from medseg.errors import TableError
from medseg.evaluation import voxels
from medseg.evaluation.voxels import voxel_figures

FIGURES = ("average_precision", "roc_auc", "aupro")
COUNTS = ("n_voxels", "n_lesion_voxels", "n_regions")


def synthetic(seed=0, n_cases=6, shape=(5, 12, 11), *, levels=None, dtype=np.float64):
    """Cases with a few round regions, the last one without; scores rounded to `levels` steps where given."""
    random = np.random.default_rng(seed)
    cases = []
    for number in range(n_cases):
        field = ndimage.gaussian_filter(random.normal(size=shape), 1)
        mask = (field > np.quantile(field, 0.9)) & (number < n_cases - 1)
        score = 1 / (1 + np.exp(-(random.normal(size=shape) + 1.5 * mask)))
        cases.append((np.asarray(np.rint(score * levels) / levels if levels else score, dtype), mask))
    return cases


def pooled(cases):
    return np.concatenate([c[1].ravel() for c in cases]), np.concatenate([c[0].ravel() for c in cases])


def swept_aupro(cases, max_fpr):
    """Area of per-region overlap from a threshold at every distinct score, as the definition reads."""
    truth, score = pooled(cases)
    regions = []
    for probability, mask in cases:
        label, n = ndimage.label(mask, np.ones((3,) * mask.ndim))
        regions += [probability[label == number] for number in range(1, n + 1)]
    points = [(0.0, 0.0)]
    for threshold in np.unique(score)[::-1]:
        overlap = np.mean([np.mean(region >= threshold) for region in regions])
        points.append((np.mean(score[~truth] >= threshold), overlap))
    fpr, pro = np.array(points).T
    kept = fpr <= max_fpr
    # where the curve is cut; at a vertical rise the segment that leaves it is the one that counts
    last = np.flatnonzero(kept)[-1]
    if last + 1 < len(fpr):
        slope = (pro[last + 1] - pro[last]) / (fpr[last + 1] - fpr[last])
        x, y = np.append(fpr[kept], max_fpr), np.append(pro[kept], pro[last] + slope * (max_fpr - fpr[last]))
    else:
        x, y = fpr, pro
    return np.trapezoid(y, x) / max_fpr


def values(figures, names=FIGURES):
    return [getattr(figures, name) for name in names]


class TestByHand:
    def test_no_ties(self):
        # by falling score: lesion, other, lesion, other; the lesion voxels are two regions
        figures = voxel_figures([(np.array([[0.9, 0.8, 0.3, 0.1]]), np.array([[1, 0, 1, 0]]))], max_fpr=1)
        assert figures.average_precision == pytest.approx((1 / 1 + 2 / 3) / 2)
        assert figures.roc_auc == pytest.approx(3 / 4)  # of 4 pairs, 3 are in order
        assert figures.aupro == pytest.approx(3 / 4)  # 1/2 up to a fraction of 1/2, then 1
        assert values(figures, COUNTS) == [4, 2, 2]

    def test_all_tied(self):
        figures = voxel_figures([(np.full((2, 4), 0.5), np.eye(2, 4))], max_fpr=1)
        assert figures.average_precision == pytest.approx(2 / 8)
        assert figures.roc_auc == pytest.approx(0.5)
        assert figures.aupro == pytest.approx(0.5)  # one straight rise from (0, 0) to (1, 1)

    def test_cut_within_a_rise(self):
        # one lesion voxel tied with all 4 others: at a fraction of 0.3 the overlap is 0.3, the mean below it 0.15
        figures = voxel_figures([(np.full((1, 5), 0.5), np.array([[1, 0, 0, 0, 0]]))], max_fpr=0.3)
        assert figures.aupro == pytest.approx(0.15)

    def test_regions_count_alike(self):
        # a region of 4 voxels found first, one of 1 found after all others
        score, mask = np.array([[9, 9, 9, 9, 5, 5, 1]]) / 10, np.array([[1, 1, 1, 1, 0, 0, 1]])
        figures = voxel_figures([(score, mask)], max_fpr=0.5)
        assert figures.aupro == pytest.approx(0.5)  # of two regions, though 4 of 5 voxels are found
        assert figures.roc_auc == pytest.approx(4 / 5)

    def test_regions_connect_across_corners(self):
        figures = voxel_figures([(np.zeros((3, 3, 3)), np.eye(3)[:, :, None] * np.eye(3)[None])])
        assert figures.n_regions == 1

    def test_perfect_and_reversed(self):
        mask = np.zeros((4, 5), bool)
        mask[1:3, 1:4] = True
        assert values(voxel_figures([(mask.astype(float), mask)])) == [1, 1, 1]
        worst = voxel_figures([(1 - mask.astype(float), mask)])
        assert worst.average_precision == pytest.approx(6 / 20)
        assert (worst.roc_auc, worst.aupro) == (0, 0)

    def test_others_above_and_below_all_levels(self):
        # two others above, one tied, one below
        score, mask = np.array([[0.9, 0.8, 0.5, 0.5, 0.1]]), np.array([[0, 0, 1, 0, 0]])
        figures = voxel_figures([(score, mask)], max_fpr=1)
        assert figures.average_precision == pytest.approx(1 / 4)
        assert figures.roc_auc == pytest.approx(1.5 / 4)
        assert figures.aupro == pytest.approx(0.25 * 0.5 + 0.25)


class TestAgainstOthers:
    @pytest.mark.parametrize("levels", [None, 7, 50])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_scikit_learn(self, levels, dtype):
        cases = synthetic(1, levels=levels, dtype=dtype)
        figures = voxel_figures(cases)
        truth, score = pooled(cases)
        assert figures.average_precision == pytest.approx(average_precision_score(truth, score), abs=1e-12)
        assert figures.roc_auc == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
        assert values(figures, COUNTS[:2]) == [truth.size, truth.sum()]

    @pytest.mark.parametrize("max_fpr", [0.05, 0.3, 1.0])
    @pytest.mark.parametrize("levels", [None, 7, 50])
    def test_threshold_sweep(self, levels, max_fpr):
        cases = synthetic(2, n_cases=4, levels=levels)
        assert voxel_figures(cases, max_fpr=max_fpr).aupro == pytest.approx(swept_aupro(cases, max_fpr), abs=1e-12)

    def test_whole_area_of_single_voxels_is_the_roc_area(self):
        random = np.random.default_rng(3)
        mask = np.zeros((20, 20), bool)
        mask[::2, ::2] = True  # no two touch: each is a region
        figures = voxel_figures([(random.random(mask.shape) + 0.3 * mask, mask)], max_fpr=1)
        assert figures.n_regions == 100
        assert figures.aupro == pytest.approx(figures.roc_auc, abs=1e-12)

    def test_chunks_do_not_show(self, monkeypatch):
        cases = synthetic(4, levels=50)
        whole = voxel_figures(cases)
        monkeypatch.setattr(voxels, "CHUNK", 17)
        assert values(voxel_figures(cases)) == pytest.approx(values(whole), abs=1e-13)


class TestInvariance:
    @pytest.fixture(scope="class")
    def cases(self):
        return synthetic(5, levels=200)

    @pytest.fixture(scope="class")
    def expected(self, cases):
        return values(voxel_figures(cases), FIGURES + COUNTS)

    def test_flips(self, cases, expected):
        flipped = [(np.flip(p, 1), np.flip(m, 1)) for p, m in cases]
        assert values(voxel_figures(flipped), FIGURES + COUNTS) == pytest.approx(expected, abs=1e-13)

    def test_order_of_cases(self, cases, expected):
        assert values(voxel_figures(cases[::-1]), FIGURES + COUNTS) == pytest.approx(expected, abs=1e-13)

    def test_cases_joined(self, cases, expected):
        # with a border of background voxels that belongs to neither, regions stay apart; here each case gets it
        border = [(np.pad(p, 1, constant_values=0.005), np.pad(m, 1)) for p, m in cases]
        joined = [tuple(np.concatenate(arrays) for arrays in zip(*border))]
        apart, together = voxel_figures(border), voxel_figures(joined)
        assert values(together, FIGURES + COUNTS) == pytest.approx(values(apart, FIGURES + COUNTS), abs=1e-13)
        assert apart.n_regions == expected[-1]

    def test_cases_split(self, cases, expected):
        # cut between lesions: voxels without lesion form cases of their own
        split = []
        for p, m in cases:
            rows = m.any(axis=(0, 2))
            split += [(p[:, rows], m[:, rows]), (p[:, ~rows], m[:, ~rows])]
        figures = voxel_figures(split)
        assert values(figures, FIGURES[:2] + COUNTS[:2]) == pytest.approx(expected[:2] + expected[3:5], abs=1e-13)

    @pytest.mark.parametrize("transform", [lambda p: 40 * p - 7, np.exp, lambda p: np.log(p + 1e-3)])
    def test_monotone_transforms(self, cases, expected, transform):
        changed = [(transform(p), m) for p, m in cases]
        assert values(voxel_figures(changed), FIGURES + COUNTS) == expected

    def test_kind_of_number(self, cases, expected):
        whole = [(np.rint(p * 200).astype(np.uint8), m.astype(np.uint8) * 255) for p, m in cases]
        assert values(voxel_figures(whole), FIGURES + COUNTS) == expected

    def test_mixed_precision_is_compared_as_float64(self):
        # the other voxel is higher by less than float32 resolves
        lesion = (np.array([[0.5]], np.float32), np.array([[1]]))
        other = (np.array([[0.5 + 1e-12]], np.float64), np.array([[0]]))
        assert voxel_figures([lesion, other]).roc_auc == 0
        assert voxel_figures([other, lesion]).roc_auc == 0
        assert voxel_figures([lesion, (other[0].astype(np.float32), other[1])]).roc_auc == 0.5

    def test_other_voxels_in_float64_alone(self):
        cases = [(p.astype(np.float32) if m.any() else p, m) for p, m in synthetic(6)]
        assert {p.dtype for p, _ in cases} == {np.dtype(np.float32), np.dtype(np.float64)}
        truth, score = pooled(cases)
        assert voxel_figures(cases).roc_auc == pytest.approx(roc_auc_score(truth, score), abs=1e-12)


class TestEmpties:
    @pytest.mark.parametrize(
        ("cases", "counts"),
        [
            ([], [0, 0, 0]),
            ([(np.zeros((2, 3)), np.zeros((2, 3)))], [6, 0, 0]),
            ([(np.zeros((2, 3)), np.ones((2, 3)))], [6, 6, 1]),
            ([(np.zeros((0, 3)), np.zeros((0, 3)))], [0, 0, 0]),
        ],
    )
    def test_one_kind_of_voxel(self, cases, counts):
        figures = voxel_figures(cases)
        assert all(math.isnan(value) for value in values(figures))
        assert values(figures, COUNTS) == counts

    def test_case_without_lesion_counts(self):
        cases = [(np.array([[0.6]]), np.array([[1]])), (np.array([[0.7, 0.1]]), np.array([[0, 0]]))]
        assert voxel_figures(cases).roc_auc == 0.5


class Loader:
    """Cases made anew each time; counts how often."""

    def __init__(self, cases):
        self.cases, self.rounds = cases, 0

    def __iter__(self):
        self.rounds += 1
        for probability, mask in self.cases:
            yield probability.copy(), mask.copy()


class TestCases:
    def test_object_that_starts_anew(self):
        cases = synthetic(7)
        loader = Loader(cases)
        assert voxel_figures(loader) == voxel_figures(cases)
        assert loader.rounds == 2

    @pytest.mark.parametrize("once", [iter, lambda cases: (case for case in cases), lambda cases: map(tuple, cases)])
    def test_iterator_is_refused(self, once):
        with pytest.raises(TableError, match="gone through twice"):
            voxel_figures(once(synthetic()))

    def test_hidden_iterator_is_refused(self):
        class Exhausted:
            def __init__(self):
                self.cases = iter(synthetic())

            def __iter__(self):
                return self.cases

        with pytest.raises(TableError, match="must start anew"):
            voxel_figures(Exhausted())

    def test_inputs_stay_as_they_are(self):
        cases = synthetic(8)
        before = [(p.copy(), m.copy()) for p, m in cases]
        voxel_figures(cases)
        for (p, m), (p0, m0) in zip(cases, before):
            np.testing.assert_array_equal(p, p0)
            np.testing.assert_array_equal(m, m0)


class TestErrors:
    @pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("in_lesion", [True, False])
    def test_probability(self, wrong, in_lesion):
        cases = synthetic(9)
        p, m = cases[2]
        p[tuple(np.argwhere(m == in_lesion)[3])] = wrong
        with pytest.raises(TableError, match="^case number 2: the probability is NaN or infinite"):
            voxel_figures(cases)
        with pytest.raises(TableError, match="^case c: the probability is NaN or infinite"):
            voxel_figures(cases, names=list("abcdef"))

    def test_shapes(self):
        cases = [*synthetic(n_cases=2), (np.zeros((2, 3)), np.zeros((3, 2)))]
        with pytest.raises(
            TableError, match=r"^case number 2: probability of shape \(2, 3\), reference of shape \(3, 2\)"
        ):
            voxel_figures(cases)

    def test_reference(self):
        with pytest.raises(TableError, match="^case p7: the reference is NaN"):
            voxel_figures([(np.zeros((1, 2)), np.array([[0, math.nan]]))], names=["p7"])

    def test_text(self):
        with pytest.raises(TableError, match="^case number 0: the probability must hold numbers"):
            voxel_figures([(np.array([["a"]]), np.array([[1]]))])

    def test_names(self):
        with pytest.raises(TableError, match="2 names were given for 6 cases"):
            voxel_figures(synthetic(), names=["a", "b"])

    @pytest.mark.parametrize("wrong", [0, -0.1, 1.1, math.nan])
    def test_range(self, wrong):
        with pytest.raises(TableError, match="max_fpr"):
            voxel_figures(synthetic(), max_fpr=wrong)


def test_voxels_that_do_not_count_are_as_if_they_were_not_there():
    random = np.random.default_rng(5)
    reference = random.random((2, 9, 9)) < 0.2
    probability = random.random((2, 9, 9)).astype(np.float32)
    counted = (random.random((2, 9, 9)) < 0.5) | reference
    some = voxel_figures([(p, r, c) for p, r, c in zip(probability, reference, counted)])
    moved = np.where(counted, probability, -1.0)  # below every score: no false positive at any level, but counted
    assert some.average_precision == pytest.approx(
        voxel_figures(list(zip(moved, reference))).average_precision, abs=1e-12
    )
    assert some.n_voxels == counted.sum()
    assert some.roc_auc == pytest.approx(roc_auc_score(reference[counted], probability[counted]), abs=1e-12)
    with pytest.raises(TableError, match="case number 0: which voxels count"):
        voxel_figures([(probability[0], reference[0], counted[0].astype(int))])
