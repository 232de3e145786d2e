"""The estimated memory of a step against real steps, counted by torch's own tracker."""

import importlib.util
import time
from pathlib import Path

import pytest
import torch
from monai.networks.nets import DynUNet
from torch import nn
from torch.distributed._tools.mem_tracker import MemTracker

import medseg
from medseg.planning.budget import pipeline_memory
from medseg.planning.live import LiveBytes
from medseg.planning.memory import estimate_memory

SCRIPT = Path(medseg.__file__).parents[1] / "scripts" / "bench" / "memory_estimate.py"
spec = importlib.util.spec_from_file_location("memory_estimate", SCRIPT)
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)

QUICK = ("unet2d_heatmap", "unet3d_small", "small_cnn", "small_cnn_deep")
SLOW = sorted(set(bench.CASES) - set(QUICK))


def check(name, precision, **training):
    _, _, patch, batch = bench.CASES[name]
    pipeline = bench.pipeline_of(name, **training)
    estimate = pipeline_memory(pipeline, patch, batch, device="cpu", precision=precision)
    measured = bench.tracked_bytes(bench.RealSteps(name, precision, **training))
    assert 0.9 * measured <= estimate.training_bytes <= 1.1 * measured


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", QUICK)
def test_within_ten_percent_of_a_real_step(name, precision):
    check(name, precision)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_within_ten_percent_of_a_real_step_of_larger_networks(name):
    check(name, "float32")


@pytest.mark.parametrize("training", [{"optimizer": "sgd"}, {"ema_decay": None}])
def test_the_optimiser_counts(training):
    check("unet2d_heatmap", "float32", **training)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet2d", "unet3d", "residual3d", "densenet121", "small_cnn"])
def test_the_allocator_gives_out_at_least_that(name):
    """Counted below torch's operations; kernels take temporaries in addition."""
    _, _, patch, batch = bench.CASES[name]
    estimate = pipeline_memory(bench.pipeline_of(name), patch, batch, device="cpu", precision="float32")
    allocated = bench.allocated_bytes(bench.RealSteps(name, "float32"))
    assert 0.98 <= allocated / estimate.training_bytes <= 1.15


def test_by_hand():
    """One linear layer, 4 x 3 weights without bias, SGD without momentum, batch of 5."""
    estimate = estimate_memory(
        lambda: nn.Linear(3, 4, bias=False),
        lambda output, target: output.sum(),
        image_shape=(5, 3),
        target_shape=(1,),
        window_shape=(10, 3),
        optimizer=lambda network: torch.optim.SGD(network.parameters()),
        averaged=True,
    )
    assert estimate.weights_bytes == 2 * 12 * 4  # with the average
    assert (estimate.gradient_bytes, estimate.optimizer_bytes) == (12 * 4, 0)
    # weights, image, output
    assert estimate.inference_bytes == 4 * (12 + 10 * 3 + 10 * 4)
    assert estimate.inference_flops == 2 * 10 * 3 * 4
    assert estimate.training_flops == 2 * 2 * 5 * 3 * 4  # forward, and the gradient of the weights


def test_a_built_network_is_neither_run_nor_changed():
    """Deep supervision is the network's and the loss's matter: all outputs come, stacked."""
    arguments = {
        "spatial_dims": 2, "in_channels": 1, "out_channels": 2, "kernel_size": [3] * 4, "strides": [1, 2, 2, 2],
        "upsample_kernel_size": [2, 2, 2], "filters": [8, 16, 32, 32],
    }  # fmt: skip

    def loss(output, target):
        return ((output - (target[:, None] if output.ndim > target.ndim else target)) ** 2).mean()

    def estimated(network):
        return estimate_memory(network, loss, image_shape=(2, 1, 64, 64), target_shape=(2, 2, 64, 64))

    network = DynUNet(**arguments, deep_supervision=True, deep_supr_num=2).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    deep = estimated(network)
    assert torch.equal(torch.get_rng_state(), random)
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())

    tracker = MemTracker()
    network.train()
    image, target = torch.randn(2, 1, 64, 64), torch.randn(2, 2, 64, 64)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    tracker.track_external(network, image, target, *[parameter.grad for parameter in network.parameters()])
    with tracker:
        value = loss(network(image), target)
        network.zero_grad()
        value.backward()
    measured = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    assert deep.training_bytes == pytest.approx(measured, rel=0.1)
    assert estimated(DynUNet(**arguments)).training_bytes < deep.training_bytes


def test_a_gpu_optimiser_takes_all_tensors_at_a_time():
    _, _, patch, _ = bench.CASES["unet2d_small"]
    small, large = (
        pipeline_memory(bench.pipeline_of("unet2d_small"), patch, 1, device=device, precision="float32")
        for device in ("cpu", "cuda")
    )
    weights = small.gradient_bytes
    assert large.training_bytes - small.training_bytes > 0.5 * weights
    assert large.state_bytes == small.state_bytes


def test_seconds_at_any_size():
    began = time.process_time()
    estimate = pipeline_memory(bench.pipeline_of("unet3d"), (512, 512, 512), 2, device="cuda", precision="bfloat16")
    assert time.process_time() - began < 20
    assert estimate.training_bytes > 100e9


def test_live_bytes_count_views_once_and_forget():
    base = torch.zeros(100)
    with LiveBytes() as live:
        live.hold(base)
        kept = base[10:]  # of the same storage
        assert live.now == 400
        other = base + 1
        assert live.now == 800
        del other
        assert live.now == 400
    assert live.peak == 800
    assert kept.numel() == 90
