"""Losses of parts of a volume in several processes: the value and the gradient of the whole."""

import pytest
from rank_pool import get_pool

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("bounds", [(0, 12, 32), (0, 8, 8, 32)], ids=["two", "three, one without rows"])
def test_every_loss_is_that_of_one_process(bounds):
    differences = get_pool().run(len(bounds) - 1, "loss_toys:apart", bounds)
    assert all(value < 1e-6 for found in differences for value in found.values()), differences
