"""Levels of a U-Net from patch and spacing, counted by hand."""

import numpy as np
import pytest
import torch

from medseg.errors import ConfigError
from medseg.networks.factory import build_network
from medseg.networks.settings import UNetSettings
from medseg.networks.topology import Topology, auto_filters, plan_topology


def test_isotropic_cube():
    """64 -> 32 -> 16 -> 8 -> 4."""
    found = plan_topology((64, 64, 64), (1, 1, 1))
    assert found.strides == ((1, 1, 1), *[(2, 2, 2)] * 4)
    assert found.kernel_sizes == ((3, 3, 3),) * 5
    assert found.divisor == (16, 16, 16)


def test_thick_slices():
    """0.7 mm in plane, 5 mm slices: spacings 0.7, 1.4, 2.8 against 5; 5 / 2.8 < 2 from the third level on."""
    found = plan_topology((16, 128, 128), (5, 0.7, 0.7))
    assert found.strides == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
    assert found.kernel_sizes == ((1, 3, 3), (1, 3, 3), *[(3, 3, 3)] * 4)
    assert found.divisor == (4, 32, 32)


def test_exactly_twice_the_spacing_is_not_near():
    found = plan_topology((16, 32, 32), (2, 1, 1))
    assert found.strides[1] == (1, 2, 2)
    assert found.kernel_sizes[:2] == ((1, 3, 3), (3, 3, 3))


def test_axes_that_are_used_up_do_not_hold_back_the_others():
    """After y and x are 4 voxels, z (5 mm against 4 mm) goes on alone: 32 -> 16 -> 8 -> 4."""
    found = plan_topology((32, 8, 8), (5, 1, 1))
    assert found.strides == ((1, 1, 1), (1, 2, 2), (2, 1, 1), (2, 1, 1), (2, 1, 1))


def test_small_patch_has_the_fewest_levels():
    assert plan_topology((6, 6), (1, 1)) == Topology(((1, 1),) * 3, ((3, 3),) * 3)


def test_axes_may_come_in_any_order():
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        size, spacing = np.array([20, 96, 128])[list(order)], np.array([4, 0.8, 0.9])[list(order)]
        found, straight = plan_topology(size.tolist(), spacing.tolist()), plan_topology((20, 96, 128), (4, 0.8, 0.9))
        assert found.strides == tuple(tuple(one[axis] for axis in order) for one in straight.strides)
        assert found.kernel_sizes == tuple(tuple(one[axis] for axis in order) for one in straight.kernel_sizes)


def test_rules_hold_for_any_patch():
    random = np.random.default_rng(0)
    for _ in range(300):
        size, spacing = random.integers(4, 200, 3), random.uniform(0.5, 6, 3)
        topology = plan_topology(size.tolist(), spacing.tolist())
        padded = -(-size // topology.divisor) * topology.divisor
        assert plan_topology(padded.tolist(), spacing.tolist()) == topology  # rounding up changes nothing
        sides, space = padded, spacing
        for stride, kernel in zip(topology.strides[1:], topology.kernel_sizes):
            assert (space[np.array(kernel) == 1] >= 2 * space.min()).all()
            assert (sides[np.array(stride) == 2] >= 8).all()
            sides, space = sides // stride, space * stride
        assert (sides < 8).all()
        assert (padded // topology.divisor >= np.minimum(4, size)).all()
        assert (np.diff(topology.kernel_sizes, axis=0) >= 0).all()  # once 3, an axis stays 3


@pytest.mark.parametrize(("dimensions", "first", "expected"), [
    (3, 32, (32, 64, 128, 256, 320, 320)), (2, 32, (32, 64, 128, 256, 512, 512)), (3, 16, (16, 32, 64, 128, 256, 320)),
])  # fmt: skip
def test_filters_double_up_to_a_limit(dimensions, first, expected):
    assert auto_filters(6, dimensions, first) == expected


def test_network_has_the_planned_strides_and_kernels():
    topology = plan_topology((8, 32, 32), (5, 1, 1))
    assert topology.strides == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2))
    settings = UNetSettings(filters=(4, 8, 8, 8))
    network = build_network(settings, in_channels=1, out_channels=2, patch_size=(8, 32, 32), topology=topology).eval()
    assert network(torch.zeros(1, 1, 8, 32, 32)).shape == (1, 2, 8, 32, 32)
    first = next(module for module in network.modules() if isinstance(module, torch.nn.Conv3d))
    assert first.kernel_size == (1, 3, 3)
    deepest = network.bottleneck.conv1.conv
    assert (deepest.kernel_size, deepest.stride) == ((3, 3, 3), (2, 2, 2))


def test_auto_is_never_built_unresolved():
    with pytest.raises(ConfigError, match="network.filters=auto"):
        build_network(UNetSettings(filters="auto"), in_channels=1, out_channels=1, patch_size=(32, 32))


def test_topology_of_another_depth_is_refused():
    topology = plan_topology((8, 32, 32), (5, 1, 1))
    settings = UNetSettings(filters=(4, 8, 8))
    with pytest.raises(ConfigError, match="4 levels.*3 filters"):
        build_network(settings, in_channels=1, out_channels=1, patch_size=(8, 32, 32), topology=topology)
