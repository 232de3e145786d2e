"""What fits into a stated memory is planned, and what does not is refused."""

import pytest

from medseg.config import load_pipeline, pipeline_from_dict
from medseg.errors import ConfigError
from medseg.planning import budget
from medseg.planning.budget import largest_batch, pipeline_memory
from medseg.planning.plan import make_plan

VOLUMES = [(60, 100, 120)] * 40


def pipeline(*overrides, **content):
    given = {
        "name": "p",
        "input": {"dimensions": 3},
        "network": {"name": "unet", "filters": [8, 16, 32]},
        "detector": {"kind": "segmentation"},
        "training": {"max_steps": 10, "precision": "float32", **content},
    }
    from medseg.config import apply_overrides

    return pipeline_from_dict(apply_overrides(given, overrides))


def planned(settings, shapes=VOLUMES, **options):
    return make_plan(settings, shapes, [True] * len(shapes), spacing_mm=None, spacing_reason="", **options)


@pytest.mark.parametrize("limit", [99, 100, 109, 110, 119, 120, 1000, 5000])
@pytest.mark.parametrize("step", [1, 3])
def test_largest_batch(limit, step):
    """Bytes 90 + 10 a sample, and from a batch of 40 on 20 a sample."""

    def needed(batch):
        return max(90 + 10 * batch, 20 * batch - 310)

    best = max((n for n in range(0, 301, step) if n and needed(n) <= limit), default=0)
    found = largest_batch(needed, limit, step=step, most=300)
    assert found % step == 0
    assert found <= best
    assert (found == 0) == (best == 0)
    assert found == best or needed(found) >= 0.95 * limit


def test_automatic_batch_fills_the_memory_and_not_more():
    settings = pipeline("sampling.patch_size=[32,48,48]", batch_size="auto", memory_mb=400)
    plan = planned(settings)
    more = pipeline_memory(settings, plan.patch_size, plan.batch_size + 1, device="cpu").training_bytes
    assert plan.batch_size > 2
    assert plan.memory_bytes <= 0.8 * 400e6
    assert more > 0.95 * 0.8 * 400e6
    assert "80% of 400 MB (training.memory_mb=400)" in plan.reasons["batch_size"]
    assert plan.steps_per_epoch == -(-40 // plan.batch_size)
    assert plan.step_flops > 0


def test_automatic_batch_is_a_small_share_of_the_data():
    plan = planned(pipeline("sampling.patch_size=[8,16,16]", batch_size="auto", memory_mb=100_000), VOLUMES[:1])
    assert plan.batch_size == int(0.05 * 60 * 100 * 120 / (8 * 16 * 16))
    assert "5% of the training voxels" in plan.reasons["batch_size"]


def test_automatic_batch_without_a_limit_takes_the_device(monkeypatch):
    monkeypatch.setattr(budget, "_default_limit", lambda device, processes: (int(100e6), "a small device"))
    settings = pipeline("sampling.patch_size=[32,48,48]", batch_size="auto")
    plan = planned(settings, estimate=True)
    assert "a small device" in plan.reasons["batch_size"]
    assert plan.memory_bytes <= 80e6 or plan.batch_size == 1


def test_automatic_batch_can_be_shared_out():
    settings = pipeline("sampling.patch_size=[32,48,48]", "layout.data=3", batch_size="auto", memory_mb=200)
    assert planned(settings).batch_size % 3 == 0


def test_planned_patch_shrinks_until_the_step_fits():
    free, tight = planned(pipeline(batch_size=2), estimate=True), planned(pipeline(batch_size=2, memory_mb=120))
    assert free.memory_bytes > 120e6
    assert tight.memory_bytes <= 0.8 * 120e6
    assert all(b <= a and b % 8 == 0 for a, b in zip(free.patch_size, tight.patch_size))
    assert "2 samples a step fit into memory" in tight.reasons["patch_size"]


def test_patch_and_batch_that_were_given_are_kept_or_refused():
    given = ("sampling.patch_size=[32,48,48]",)
    needed = planned(pipeline(*given, batch_size=4), estimate=True).memory_bytes
    kept = planned(pipeline(*given, batch_size=4, memory_mb=needed / 1e6 + 1))
    assert (kept.patch_size, kept.batch_size) == ((32, 48, 48), 4)
    with pytest.raises(ConfigError, match=r"memory_mb=\d+.*4 samples of \[32, 48, 48\].*layout\.space.*layout\.slabs"):
        planned(pipeline(*given, batch_size=4, memory_mb=int(needed / 1e6) - 1))


def test_parts_of_a_volume_need_less():
    given = ("sampling.patch_size=[64,48,48]",)
    whole = planned(pipeline(*given, batch_size=2), estimate=True).memory_bytes
    part = planned(pipeline(*given, "layout.slabs=4", batch_size=2), estimate=True)
    assert part.memory_bytes < 0.4 * whole
    assert "4 parts" in part.reasons["memory_bytes"]


@pytest.mark.parametrize(
    ("name", "shape"),
    [("brain_infarct", (1, 192, 160)), ("chest_xray_nodule", (1, 256, 256)), ("ct_lung_nodule", (100, 200, 200)),
     ("liver_mr_nodule", (80, 200, 250)),
     ("mnist_cnn", (1, 28, 28)), ("mnist_cnn6", (1, 28, 28))],
)  # fmt: skip
def test_shipped_pipelines_keep_their_numbers(name, shape):
    settings = load_pipeline(name)
    plan = planned(settings, [shape] * 10)
    assert plan.batch_size == settings.training.batch_size
    assert plan.memory_bytes is None  # nothing depends on it, so that nothing is estimated
    assert plan.reasons["batch_size"] == "given in the pipeline"


@pytest.mark.parametrize("given", ["0", "many", "-3"])
def test_wrong_batches_are_answered_in_one_line(given):
    with pytest.raises(ConfigError, match=rf"training\.batch_size: given '?{given}'?, allowed: a whole number .* auto"):
        load_pipeline("brain_infarct", [f"training.batch_size={given}"])
