"""Slices or volumes."""

import re

import pytest

from medseg.planning.dimensions import choose_dimensions
from medseg.planning.survey import ImageFacts


def facts(spacing, shape, *, is_projection=False):
    return ImageFacts(spacing_mm=spacing, shape=shape, is_projection=is_projection, modality="MR", zero_border=0.0)


@pytest.mark.parametrize(
    ("spacing", "shape", "expected", "says"),
    [
        ((5.0, 0.7, 0.7), (24, 256, 256), 2, "ratio 7.1.*24 slices.*few"),
        ((5.0, 0.7, 0.7), (32, 256, 256), 3, "32 slices"),  # enough slices
        ((2.0, 0.7, 0.7), (24, 256, 256), 3, "ratio 2.9"),
        ((0.7, 5.0, 0.7), (24, 20, 256), 3, "ratio 7.1"),  # the slices that a 2D network sees are not those acquired
        ((1.0, 1.0, 1.0), (1, 256, 256), 2, "single slices"),
    ],
)
def test_choice(spacing, shape, expected, says):
    chosen, reason = choose_dimensions([facts(spacing, shape)] * 3, None)
    assert chosen == expected
    assert re.search(says, reason)


def test_projections_are_two_dimensional():
    mixed = [facts((1.0, 1.0, 1.0), (100, 100, 100)), facts((1.0, 0.1, 0.1), (1, 900, 900), is_projection=True)]
    assert choose_dimensions(mixed, None) == (2, "1 of 2 training images are projections or single slices")


def test_a_given_patch_decides():
    assert choose_dimensions([facts((5.0, 0.7, 0.7), (24, 256, 256))], (16, 64, 64))[0] == 3
    assert choose_dimensions([facts((1.0, 1.0, 1.0), (90, 90, 90))], (64, 64))[0] == 2
