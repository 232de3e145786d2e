"""Shares of gradients become the gradient of the run on a mesh (data, space), by three ways, exactly."""

import pytest
from operation_cases import EXACT
from rank_pool import get_pool


def check(way, shape, steps, *args, limit=EXACT):
    answers = get_pool().run(4, "composed_gradients:trained", way, shape, steps, *args)
    for losses, gradients, buffers in answers:
        assert max(losses) < limit
        assert gradients < limit
        assert buffers < limit


@pytest.mark.parametrize("way", ["reduced", "DDP", "FSDP"])
def test_gradients_of_data_and_space(way):
    check(way, "data 2, space 2", 2)


@pytest.mark.parametrize("shape", ["space 2", "space 4", "data 2"])
@pytest.mark.parametrize("way", ["reduced", "DDP", "FSDP"])
def test_other_meshes(way, shape):
    check(way, shape, 1)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["reduced", "DDP", "FSDP"])
def test_ten_steps(way):
    check(way, "data 2, space 2", 10, limit=1e-11)  # differences of rounding grow with training


@pytest.mark.parametrize("way", ["reduced", "DDP", "FSDP"])
def test_running_statistics(way):
    """Those that share a volume agree, and are as on one device."""
    check(way, "space 4", 2, "BatchNorm3d")


@pytest.mark.parametrize("way", ["reduced", "DDP", "FSDP"])
def test_checkpointed(way):
    check(way, "data 2, space 2", 1, "InstanceNorm3d", "checkpointed")


@pytest.mark.parametrize("way", ["reduced", "DDP, unused", "FSDP"])
def test_parameters_that_are_not_used_or_not_trained(way):
    check(way, "data 2, space 2", 2, "InstanceNorm3d", "plain", "WithUnused")


def test_batch_normalisation_over_data_and_space():
    for gradients, buffers in get_pool().run(4, "composed_gradients:batch_cut"):
        assert gradients < EXACT
        assert buffers < EXACT


def test_what_only_some_ranks_have():
    """Ranks 0 to 3: sums over all of them, halved because two work on other data; missing ones count as zero."""
    for first, second, third, fourth in get_pool().run(4, "composed_gradients:here_and_there"):
        assert first == [3.0, 3.0, 3.0]
        assert second == [30.0, 30.0]
        assert third == [0.5, 0.5]
        assert fourth is None


def test_other_networks_are_refused():
    for text in get_pool().run(1, "composed_gradients:not_wrapped"):
        assert "reduce_gradients" in text
