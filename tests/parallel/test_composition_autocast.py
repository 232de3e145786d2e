"""Under autocast, parts have the types of one device, and errors of rounding of the same size."""

import composed_autocast
import pytest
import torch
from rank_pool import get_pool

FACTOR, ROUNDING = 2.5, 1e-6  # of one device's own error; where that is none, the rounding of single precision


def check(results):
    for result in results:
        assert result.types[0] == result.types[1]
        for one, found in (result.outputs, result.gradients):
            assert found <= FACTOR * one + ROUNDING, result


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", composed_autocast.OPERATIONS)
def test_operations(name, dtype):
    check(get_pool().run(2, "composed_autocast:compare", name, dtype))


def test_a_network():
    check(get_pool().run(2, "composed_autocast:network"))
