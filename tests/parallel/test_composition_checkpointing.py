"""Activation checkpointing inside the sharding context gives the gradients of one device, or is refused."""

import pytest
from operation_cases import EXACT
from rank_pool import get_pool

EVEN, UNEVEN, EMPTY = (0, 8, 16), (0, 3, 16), (0, 16, 16)


def gradients_apart(*args):
    return max(get_pool().run(2, "composed:checkpointed", *args))


@pytest.mark.parametrize("bounds", [UNEVEN, EMPTY, (0, 0, 16)])
@pytest.mark.parametrize("how", ["checkpointed", "nested", "tokens"])
def test_networks_that_checkpoint_by_themselves(how, bounds):
    assert gradients_apart(how, bounds) < EXACT


@pytest.mark.parametrize("how", ["named", "sequential", "selective", "debug"])
def test_other_ways_of_checkpointing(how):
    assert gradients_apart(how, EVEN) < EXACT


@pytest.mark.parametrize("how", ["context_fn", "checkpoint_contexts"])
def test_contexts_for_computing_again(how):
    assert gradients_apart(how, UNEVEN) < EXACT


@pytest.mark.parametrize("where", ["on cpu", "inside", "inside, by the function"])
@pytest.mark.parametrize("how", ["plain", "checkpointed", "tokens"])
def test_where_tensors_wait_and_the_backward_pass_runs(how, where):
    assert gradients_apart(how, UNEVEN, where) < EXACT


def test_a_region_draws_the_same_noise_again():
    assert all(get_pool().run(3, "composed:noise_of_region"))


def test_torch_is_as_it_was_after_the_last_context():
    assert get_pool().run(1, "composed:replaced_while_active") == [[True, False, True, True]]


def test_wrapped_modules():
    assert max(get_pool().run(2, "composed:wrapped_module")) < EXACT


def test_slabs_in_turn():
    assert get_pool().run(1, "composed:in_turn")[0] < EXACT


@pytest.mark.parametrize("d", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_swin_unetr_with_its_own_checkpoints(d):
    assert max(get_pool().run(2, "composed:swin", d)) < EXACT
