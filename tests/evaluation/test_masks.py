"""Figures of one case from two masks: counted by hand, and against MONAI and a distance map."""

import math

import numpy as np
import pytest
from scipy import ndimage

from medseg.errors import TableError
from medseg.evaluation.lesionwise import lesionwise_f1
from medseg.evaluation.masks import bounding_box, checked_mask, mask_figures

SPACINGS = [None, (3.0, 0.7, 0.9), (0.5, 2.5, 1.0)]


def block(shape, *corners):
    """A mask of boxes, each given as (start, stop) along each axis."""
    mask = np.zeros(shape, bool)
    for corner in corners:
        mask[tuple(slice(*ends) for ends in corner)] = True
    return mask


def blobs(seed, shape=(14, 31, 26), quantile=0.85):
    """Two overlapping masks of several round pieces, some at the border."""
    random = np.random.default_rng(seed)
    field, other = (ndimage.gaussian_filter(random.normal(size=shape), 2) for _ in range(2))
    mixed = field + 0.5 * other
    return mixed > np.quantile(mixed, quantile), field > np.quantile(field, quantile + 0.03)


def surface_distances(a, b, spacing):
    """Distances of the surface voxels of `a` from those of `b`, by erosion and a distance map of the whole image."""
    a_edge, b_edge = (mask & ~ndimage.binary_erosion(mask) for mask in (a, b))
    return ndimage.distance_transform_edt(~b_edge, sampling=spacing)[a_edge]


class TestByHand:
    def test_shifted_square(self):
        # 3 x 3 squares, shifted by 2 columns: 3 common voxels of 9 and 9; surfaces are the 8 outer voxels
        figures = mask_figures(block((7, 9), ((2, 5), (2, 5))), block((7, 9), ((2, 5), (4, 7))), tolerance_mm=1)
        assert figures.dice == 2 * 3 / 18
        # distances of the left square's columns: 2, 2, 2 / 1, 1 / 0, 0, 0 (its centre is no surface voxel)
        assert figures.surface_dice == 10 / 16
        assert figures.assd == pytest.approx(8 / 8)
        assert figures.hd95 == pytest.approx(2)
        assert (figures.n_predicted, figures.n_reference) == (9, 9)
        assert figures.volume_error == 0
        assert figures.relative_volume_error == 0
        assert figures.unit == "voxel"

    def test_spacing_scales_each_axis(self):
        # one voxel against another, 1 slice, 2 rows and 3 columns away: sqrt(4^2 + (2 * 1.5)^2 + (3 * 4)^2) = 13
        a, b = block((3, 5, 6), ((0, 1), (0, 1), (0, 1))), block((3, 5, 6), ((1, 2), (2, 3), (3, 4)))
        figures = mask_figures(a, b, spacing_mm=(4, 1.5, 4), tolerance_mm=12.9)
        assert figures.hd95 == figures.assd == pytest.approx(13)
        assert figures.surface_dice == 0
        assert mask_figures(a, b, spacing_mm=(4, 1.5, 4), tolerance_mm=13).surface_dice == 1
        assert figures.predicted_volume == figures.reference_volume == 4 * 1.5 * 4
        assert figures.unit == "mm"

    def test_volume_errors_are_signed(self):
        small, large = block((4, 4, 4), ((0, 1), (0, 2), (0, 3))), block((4, 4, 4), ((0, 2), (0, 2), (0, 3)))
        less = mask_figures(small, large, spacing_mm=(2, 1, 0.5))
        assert (less.predicted_volume, less.reference_volume) == (6, 12)
        assert (less.volume_error, less.relative_volume_error) == (-6, -0.5)
        more = mask_figures(large, small, spacing_mm=(2, 1, 0.5))
        assert (more.volume_error, more.relative_volume_error) == (6, 1)

    def test_percentile_is_interpolated(self):
        # two rows of 20 voxels against their first column, all of it surface: distances 0, 0, 1, 1, ..., 19, 19; the
        # 95th percentile is at place 0.95 * 39 = 37.05, between 18 and 19; the other direction is 0
        figures = mask_figures(np.ones((2, 20)), block((2, 20), ((0, 2), (0, 1))))
        assert figures.hd95 == pytest.approx(18.05)
        assert figures.assd == pytest.approx(2 * sum(range(20)) / 42)

    def test_tolerance_absorbs_rounding(self):
        a, b = block((2, 8), ((0, 1), (0, 1))), block((2, 8), ((0, 1), (3, 4)))
        assert 3 * 0.1 > 0.3  # in floating point
        assert mask_figures(a, b, spacing_mm=(1, 0.1), tolerance_mm=0.3).surface_dice == 1
        assert mask_figures(a, b, spacing_mm=(1, 0.1), tolerance_mm=0.2999).surface_dice == 0

    def test_border_of_the_array_is_surface(self):
        # all of a 4 x 4 image: the 12 outer voxels are surface; the 4 inner ones are the surface of the inner square
        full, inner = np.ones((4, 4), bool), block((4, 4), ((1, 3), (1, 3)))
        figures = mask_figures(full, inner, tolerance_mm=1)
        # 4 corners at sqrt 2, 8 at 1; the inner 4 at 1
        assert figures.assd == pytest.approx((4 * math.sqrt(2) + 8 + 4) / 16)
        assert figures.surface_dice == 12 / 16


class TestEmpties:
    SHAPE, SPACING = (3, 4, 12), (4.0, 0.75, 1.0)  # 12 x 3 x 12 mm
    DIAGONAL = math.sqrt(12**2 + 3**2 + 12**2)

    def test_both(self):
        empty = np.zeros(self.SHAPE, bool)
        figures = mask_figures(empty, empty, spacing_mm=self.SPACING)
        assert (figures.dice, figures.surface_dice, figures.hd95, figures.assd) == (1, 1, 0, 0)
        assert (figures.volume_error, figures.relative_volume_error) == (0, 0)
        assert (figures.n_predicted, figures.n_reference) == (0, 0)

    def test_prediction_only(self):
        empty, some = np.zeros(self.SHAPE, bool), block(self.SHAPE, ((0, 1), (0, 1), (0, 2)))
        figures = mask_figures(empty, some, spacing_mm=self.SPACING)
        assert (figures.dice, figures.surface_dice) == (0, 0)
        assert figures.hd95 == figures.assd == pytest.approx(self.DIAGONAL)
        assert (figures.volume_error, figures.relative_volume_error) == (-6, -1)

    def test_reference_only(self):
        empty, some = np.zeros(self.SHAPE, bool), block(self.SHAPE, ((0, 1), (0, 1), (0, 2)))
        figures = mask_figures(some, empty, spacing_mm=self.SPACING)
        assert (figures.dice, figures.surface_dice) == (0, 0)
        assert figures.hd95 == figures.assd == pytest.approx(self.DIAGONAL)
        assert figures.volume_error == 6
        assert math.isnan(figures.relative_volume_error)

    def test_a_miss_is_worse_than_any_contour(self):
        first, last = np.zeros(self.SHAPE, bool), np.zeros(self.SHAPE, bool)
        first[0, 0, 0] = last[-1, -1, -1] = True
        assert mask_figures(first, last, spacing_mm=self.SPACING).hd95 < self.DIAGONAL
        assert mask_figures([[1]], [[0]]).hd95 == pytest.approx(math.sqrt(2))

    def test_array_without_voxels(self):
        assert mask_figures(np.zeros((0, 5)), np.zeros((0, 5))).dice == 1


class TestAgainstOthers:
    @pytest.mark.parametrize("spacing", SPACINGS)
    @pytest.mark.parametrize("seed", range(4))
    def test_monai(self, seed, spacing):
        import torch
        from monai.metrics import (
            compute_average_surface_distance,
            compute_dice,
            compute_hausdorff_distance,
            compute_surface_dice,
        )

        a, b = blobs(seed)
        figures = mask_figures(a, b, spacing_mm=spacing, tolerance_mm=1.75)
        # (batch, channel, z, y, x); with the background included, the one channel is the lesion
        pair = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (a, b)]
        options = {"include_background": True, "spacing": spacing}
        assert figures.dice == pytest.approx(compute_dice(*pair, include_background=True).item(), abs=1e-6)
        hd95 = compute_hausdorff_distance(*pair, percentile=95, **options).item()
        assert figures.hd95 == pytest.approx(hd95, abs=1e-5)
        assd = compute_average_surface_distance(*pair, symmetric=True, **options).item()
        assert figures.assd == pytest.approx(assd, abs=1e-5)
        surface_dice = compute_surface_dice(*pair, class_thresholds=[1.75], **options).item()
        assert figures.surface_dice == pytest.approx(surface_dice, abs=1e-6)

    @pytest.mark.parametrize("spacing", SPACINGS)
    @pytest.mark.parametrize("seed", range(4))
    def test_distance_map(self, seed, spacing):
        a, b = blobs(seed, shape=(9, 40, 33), quantile=0.93)
        figures = mask_figures(a, b, spacing_mm=spacing, tolerance_mm=2)
        forward, backward = surface_distances(a, b, spacing), surface_distances(b, a, spacing)
        both = np.concatenate([forward, backward])
        assert figures.hd95 == pytest.approx(max(np.percentile(forward, 95), np.percentile(backward, 95)), abs=1e-12)
        assert figures.assd == pytest.approx(both.mean(), abs=1e-12)
        assert figures.surface_dice == np.mean(both <= 2 + 1e-6)

    def test_simpleitk(self):
        import SimpleITK as sitk

        a, b = blobs(7)
        images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (a, b)]
        overlap = sitk.LabelOverlapMeasuresImageFilter()
        overlap.Execute(images[1], images[0])
        assert mask_figures(a, b).dice == pytest.approx(overlap.GetDiceCoefficient(), abs=1e-12)


class TestInvariance:
    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_flips(self, axis):
        a, b = blobs(1)
        spacing = (2.2, 0.7, 0.9)
        straight = mask_figures(a, b, spacing_mm=spacing)
        flipped = mask_figures(np.flip(a, axis), np.flip(b, axis), spacing_mm=spacing)
        for name in ("dice", "surface_dice", "hd95", "assd", "predicted_volume"):
            assert getattr(flipped, name) == pytest.approx(getattr(straight, name), rel=1e-13)

    def test_axes_turned_with_the_spacing(self):
        a, b = blobs(2)
        straight = mask_figures(a, b, spacing_mm=(2.2, 0.7, 0.9))
        turned = mask_figures(a.transpose(2, 0, 1), b.transpose(2, 0, 1), spacing_mm=(0.9, 2.2, 0.7))
        assert turned.hd95 == pytest.approx(straight.hd95, rel=1e-13)
        assert turned.assd == pytest.approx(straight.assd, rel=1e-13)
        assert turned.surface_dice == straight.surface_dice

    def test_exchange_of_masks(self):
        a, b = blobs(3)
        there, back = mask_figures(a, b), mask_figures(b, a)
        assert (there.dice, there.surface_dice, there.hd95) == (back.dice, back.surface_dice, back.hd95)
        assert there.volume_error == -back.volume_error != 0

    def test_empty_margin_changes_nothing(self):
        a, b = blobs(4)
        assert mask_figures(np.pad(a, 5), np.pad(b, 5)) == mask_figures(a, b)

    def test_a_slice_is_an_image_of_two_axes(self):
        a, b = (mask[6] for mask in blobs(5))
        flat, volume = (
            mask_figures(a, b, spacing_mm=(0.7, 0.9)),
            mask_figures(a[None], b[None], spacing_mm=(5, 0.7, 0.9)),
        )
        assert a.any()
        assert (volume.hd95, volume.assd, volume.surface_dice) == (flat.hd95, flat.assd, flat.surface_dice)
        assert volume.predicted_volume == pytest.approx(5 * flat.predicted_volume)
        missed = mask_figures(a[None], np.zeros_like(a[None]), spacing_mm=(5, 0.7, 0.9))
        assert missed.hd95 == mask_figures(a, np.zeros_like(a), spacing_mm=(0.7, 0.9)).hd95

    def test_kind_of_number(self):
        a, b = blobs(6)
        assert mask_figures(a.astype(np.uint8) * 255, b.astype(np.float32)) == mask_figures(a, b)


class TestLesionwise:
    def test_counts(self):
        # reference: three lesions; prediction: one component over the first two, one false, the third missed
        reference = np.array([[1, 1, 0, 1, 1, 0, 0, 0, 0, 1]])
        prediction = np.array([[0, 1, 1, 1, 0, 0, 1, 0, 0, 0]])
        counts = lesionwise_f1(prediction, reference)
        assert (counts.n_lesions, counts.n_detected, counts.n_missed) == (3, 2, 1)
        assert (counts.n_predicted, counts.n_false) == (2, 1)
        assert counts.f1 == 2 * 2 / (2 * 2 + 1 + 1)

    def test_least_overlap_is_exceeded(self):
        # intersection 1, union 4: IoU 0.25
        reference, prediction = np.array([[1, 1, 0, 0]]), np.array([[0, 1, 1, 1]])
        assert lesionwise_f1(prediction, reference, min_overlap=0.24).n_detected == 1
        strict = lesionwise_f1(prediction, reference, min_overlap=0.25)
        assert (strict.n_detected, strict.n_missed, strict.n_false) == (0, 1, 0)  # it touches a lesion: not false
        assert strict.f1 == 0

    def test_each_pair_has_its_own_overlap(self):
        # the first component covers 1 of 3, the second 2 of 3
        reference, prediction = np.array([[1, 1, 1, 0, 1, 1, 1]]), np.array([[1, 0, 0, 0, 0, 1, 1]])
        assert lesionwise_f1(prediction, reference, min_overlap=0.5).n_detected == 1
        assert lesionwise_f1(prediction, reference, min_overlap=0.3).n_detected == 2

    def test_connectivity(self):
        corner = np.zeros((2, 2, 2), bool)
        corner[0, 0, 0] = corner[1, 1, 1] = True
        edge = np.zeros((2, 2, 2), bool)
        edge[0, 0, 0] = edge[0, 1, 1] = True
        assert [lesionwise_f1(corner, corner, connectivity=n).n_lesions for n in (6, 18, 26)] == [2, 2, 1]
        assert [lesionwise_f1(edge, edge, connectivity=n).n_lesions for n in (6, 18, 26)] == [2, 1, 1]
        assert lesionwise_f1(corner, corner).n_lesions == 1
        assert [lesionwise_f1(np.eye(3), np.eye(3), connectivity=n).n_lesions for n in (4, 8)] == [3, 1]

    def test_empties(self):
        empty, some = np.zeros((2, 3)), np.array([[1, 0, 1], [0, 0, 0]])
        assert lesionwise_f1(empty, empty).f1 == 1
        missed, false = lesionwise_f1(empty, some), lesionwise_f1(some, empty)
        assert (missed.n_missed, missed.n_false, missed.f1) == (2, 0, 0)
        assert (false.n_missed, false.n_false, false.f1) == (0, 2, 0)

    @pytest.mark.parametrize("seed", range(3))
    def test_counted_one_component_at_a_time(self, seed):
        import cc3d

        a, b = blobs(seed, quantile=0.95)
        found, lesions = (cc3d.connected_components(mask, connectivity=26) for mask in (a, b))
        detected = sum(a[lesions == label].any() for label in range(1, lesions.max() + 1))
        false = sum(not b[found == label].any() for label in range(1, found.max() + 1))
        counts = lesionwise_f1(a, b)
        assert (counts.n_lesions, counts.n_detected) == (lesions.max(), detected)
        assert (counts.n_predicted, counts.n_false) == (found.max(), false)
        assert counts.n_lesions > 3

    def test_flips(self):
        a, b = blobs(8, quantile=0.95)
        assert lesionwise_f1(np.flip(a), np.flip(b), min_overlap=0.2) == lesionwise_f1(a, b, min_overlap=0.2)


class TestErrors:
    MASK = np.ones((2, 3, 4), bool)

    def test_shapes(self):
        with pytest.raises(TableError, match=r"differ in shape: predicted \(2, 3, 4\), reference \(2, 3, 5\)"):
            mask_figures(self.MASK, np.ones((2, 3, 5)))
        with pytest.raises(TableError, match=r"\(z, y, x\) or \(y, x\), found shape \(4,\)"):
            lesionwise_f1(np.ones(4), np.ones(4))

    @pytest.mark.parametrize("spacing", [(1, 1), (1, 1, 1, 1), 1.0])
    def test_length_of_spacing(self, spacing):
        with pytest.raises(TableError, match="must give 3 lengths"):
            mask_figures(self.MASK, self.MASK, spacing_mm=spacing)

    @pytest.mark.parametrize("wrong", [0, -1, math.nan, math.inf])
    def test_spacing_is_positive(self, wrong):
        with pytest.raises(TableError, match="spacing_mm must be positive"):
            mask_figures(self.MASK, self.MASK, spacing_mm=(1, wrong, 1))

    def test_masks(self):
        for wrong, message in [(math.nan, "NaN"), (math.inf, "infinite"), (0.5, "fractions")]:
            mask = np.ones((2, 3, 4))
            mask[1, 2, 3] = wrong
            with pytest.raises(TableError, match=f"reference mask.*{message}"):
                mask_figures(self.MASK, mask)
            with pytest.raises(TableError, match=f"predicted mask.*{message}"):
                lesionwise_f1(mask, self.MASK)
        with pytest.raises(TableError, match="must hold numbers"):
            checked_mask(["lesion"])

    def test_options(self):
        with pytest.raises(TableError, match="tolerance"):
            mask_figures(self.MASK, self.MASK, tolerance_mm=-1)
        with pytest.raises(TableError, match="min_overlap"):
            lesionwise_f1(self.MASK, self.MASK, min_overlap=1)
        with pytest.raises(TableError, match="one of 6, 18, 26, found 8"):
            lesionwise_f1(self.MASK, self.MASK, connectivity=8)


def test_bounding_box():
    mask = block((5, 6, 7), ((1, 2), (0, 3), (4, 7)), ((3, 4), (2, 5), (4, 5)))
    assert bounding_box(mask) == (slice(1, 4), slice(0, 5), slice(4, 7))
    assert bounding_box(np.zeros((2, 3), bool)) == (slice(0, 0), slice(0, 0))
