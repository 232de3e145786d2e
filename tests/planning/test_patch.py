"""Patches of planned networks: proportions, limits, memory."""

import math

import numpy as np
import pytest

from medseg.config import apply_overrides, pipeline_from_dict
from medseg.errors import CheckpointError, ConfigError
from medseg.files import write_json
from medseg.networks.topology import plan_topology
from medseg.planning.budget import pipeline_memory
from medseg.planning.patch import cascade_reason, shortened, starting_patch
from medseg.planning.plan import make_plan, read_plan
from medseg.planning.resolve import resolve


def pipeline(*overrides, **training):
    given = {
        "name": "p", "input": {"dimensions": 3}, "network": {"name": "unet", "filters": "auto"},
        "training": {"max_steps": 10, "precision": "float32", "batch_size": 2, **training},
    }  # fmt: skip
    return pipeline_from_dict(apply_overrides(given, overrides))


def planned(settings, shape, spacing=(1.0, 1.0, 1.0), **options):
    return make_plan(settings, [shape] * 20, [True] * 20, spacing_mm=spacing, spacing_reason="given", **options)


def test_small_volume_is_taken_whole():
    plan = planned(pipeline(), (30, 60, 50))
    assert plan.patch_size == (32, 64, 56)  # 30 -> 15 -> 8 -> 4: three halvings; 60: four; 50 -> 25 -> 13 -> 7: three
    assert plan.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 1))
    assert plan.filters == (32, 64, 128, 256, 320)
    assert plan.kernel_sizes == ((3, 3, 3),) * 5
    assert plan.row_step == 8
    assert set(plan.reasons) >= {"patch_size", "filters", "strides", "kernel_sizes"}
    assert "cascade" not in plan.reasons


def test_anisotropic_volume_gets_an_anisotropic_patch_and_network():
    plan = planned(pipeline(), (24, 256, 256), (5.0, 0.7, 0.7))
    z, y, x = plan.patch_size
    assert z * y * x <= 2 * 48**3
    assert y == x
    assert 0.5 < (z / 24) / (y / 256) < 2  # the proportions of the median volume
    assert plan.strides[1] == (1, 2, 2)
    assert plan.kernel_sizes[0] == (1, 3, 3)
    assert plan_topology(plan.patch_size, (5.0, 0.7, 0.7)) == plan.topology


def test_patch_of_a_large_volume_is_as_long_in_mm_along_each_axis():
    assert starting_patch((1000, 1000, 1000), (2, 1, 1)) == (192, 384, 384)  # 161 and 323, rounded up to 32 and 64
    assert starting_patch((3000, 3000), (1, 1)) == (2048, 2048)


@pytest.mark.parametrize("limit", [1e6, 2e5, 3e4, 5e3])
@pytest.mark.parametrize("steps", [(1, 1, 1), (5, 0.7, 0.7), (1, 1, 3)])
def test_shortened_patch_keeps_to_the_limit_and_nearly_to_the_proportions(limit, steps):
    typical = (100, 240, 200)
    patch = shortened(starting_patch(typical, steps), typical, steps, limit)
    divisor = plan_topology(patch, steps).divisor
    assert math.prod(patch) <= limit
    assert all(side % d == 0 for side, d in zip(patch, divisor))
    assert math.prod(patch) > limit / 3
    shares = np.array(patch) / typical
    assert shares.max() - shares.min() <= max(np.array(divisor) / typical) + 0.05


def test_what_cannot_be_shortened_ends():
    assert math.prod(shortened((16, 16, 16), (16, 16, 16), (1, 1, 1), 10)) >= 64  # four voxels a side


def test_given_patch_is_kept_or_refused_with_what_the_levels_need():
    plan = planned(pipeline("sampling.patch_size=[16,48,48]"), (60, 200, 200), (4.0, 1.0, 1.0))
    assert plan.patch_size == (16, 48, 48)
    assert plan.strides == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 1, 1))
    with pytest.raises(ConfigError, match=r"patch_size=\(16, 50, 48\): each side must be a multiple of \(4, 8, 8\)"):
        planned(pipeline("sampling.patch_size=[16,50,48]"), (60, 200, 200), (4.0, 1.0, 1.0))


@pytest.mark.slow
def test_memory_shrinks_the_patch_then_the_filters():
    shape = (56, 56, 56)
    free = planned(pipeline(), shape, estimate=True)
    tight = planned(pipeline(memory_mb=900), shape)
    tiny = planned(pipeline(memory_mb=120), shape)
    assert free.filters[0] == tight.filters[0] == 32
    assert math.prod(tight.patch_size) < math.prod(free.patch_size)
    assert tiny.filters[0] < 32
    assert "only a tiny patch would fit" in tiny.reasons["filters"]
    for plan, limit in ((tight, 900e6), (tiny, 120e6)):
        assert plan.memory_bytes <= 0.8 * limit
        settings = resolve(pipeline(), plan)
        needs = pipeline_memory(settings, plan.patch_size, 2, device="cpu", topology=plan.topology)
        assert needs.training_bytes == plan.memory_bytes


@pytest.mark.slow
def test_memory_alone_may_limit_the_patch():
    large = planned(pipeline("sampling.max_patch_voxels=null", memory_mb=4000), (200, 200, 200))
    assert math.prod(large.patch_size) > 2 * 48**3
    assert large.memory_bytes <= 0.8 * 4000e6


def test_a_patch_without_any_limit_is_refused():
    with pytest.raises(ConfigError, match=r"max_patch_voxels=null.*training\.memory_mb.*batch_size=auto"):
        planned(pipeline("sampling.max_patch_voxels=null"), (200, 200, 200))


def test_images_get_a_deeper_network():
    plan = planned(pipeline("input.dimensions=2"), (1, 256, 200), None)
    assert plan.patch_size == (256, 224)  # 200 -> 100 -> 50 -> 25 -> 13 -> 7: five halvings
    assert plan.filters == (32, 64, 128, 256, 512, 512, 512)
    assert set(plan.strides[1:]) == {(2, 2), (2, 1)}


@pytest.mark.parametrize(
    ("patch", "advised"), [((25, 100, 100), False), ((24, 100, 100), True), ((500, 25, 100), False)]
)
def test_low_resolution_stage_is_advised_below_a_quarter(patch, advised):
    reason = cascade_reason(patch, np.array([[100, 100, 100]] * 3))
    assert (reason is not None) == advised
    assert reason is None or "24%" in reason


def test_a_plan_with_a_topology_is_read_back(tmp_path):
    plan = planned(pipeline(), (24, 64, 64), (5.0, 1.0, 1.0))
    plan.write(tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == plan
    assert plan.topology is not None


def test_given_filters_leave_the_network_as_it_was():
    plan = planned(pipeline("network.filters=[8,16,32]"), (24, 256, 256), (5.0, 0.7, 0.7))
    assert (plan.filters, plan.strides, plan.kernel_sizes, plan.topology) == (None, None, None, None)


@pytest.mark.parametrize("wrong", [None, [], [0, 32], [8, 8, 8, 8]])
def test_a_plan_with_another_patch_is_damaged(wrong, tmp_path):
    content = {"schema_version": 1, "spacing_mm": None, "batch_size": 1, "steps_per_epoch": 1, "n_training_cases": 1}
    write_json(tmp_path / "plan.json", content | {"n_positive_cases": 1, "patch_size": [32, 32]})
    assert read_plan(tmp_path / "plan.json").patch_size == (32, 32)
    write_json(tmp_path / "plan.json", content | {"n_positive_cases": 1, "patch_size": wrong})
    with pytest.raises(CheckpointError, match="damaged"):
        read_plan(tmp_path / "plan.json")
