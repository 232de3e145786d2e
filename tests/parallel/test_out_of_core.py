"""Slabs that one device works on in turn: the numbers of the whole, in little memory, with nothing left behind."""

import copy
import gc
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from operation_cases import EXACT, apart, largest
from parallel_networks import build, size_of, targets
from torch import nn
from torch.nn import functional

from medseg.errors import OutputError
from medseg.parallel import UnsupportedOperation, layout_of, out_of_core
from medseg.parallel.pages import Paged

pytestmark = pytest.mark.usefixtures("one_thread")
NETWORKS = ["UNet batch", "BasicUNet", "DynUNet deep", "SegResNet", "AttentionUnet", "VNet", "HighResNet",
            "DenseNet121", "AutoencoderKL", "SwinUNETR"]  # fmt: skip


SHARES = {"uneven": (0, 0.3, 0.35, 1), "empty": (0, 0, 0.5, 0.5, 1)}


def flat(y):
    return list(y) if isinstance(y, tuple | list) else [y]


def weights_like(outputs):
    return [torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(7)) for y in outputs]


def differences(name, d, slabs, dim=2, *, keep="host", shares=None, dtype=torch.float64, batch=2, folder=None):
    """Of outputs, gradients and buffers between slabs and the whole, over the largest absolute value."""
    x = torch.randn(batch, 1, *size_of(name, d), dtype=dtype, generator=torch.Generator().manual_seed(1))
    network = build(name, d).to(dtype).train()
    reference = copy.deepcopy(network)
    torch.manual_seed(5)
    expected = flat(reference(x))
    weights = weights_like(expected)
    sum((y * w).sum() for y, w in zip(expected, weights)).backward()
    bounds = None if shares is None else [round(share * x.shape[dim]) for share in shares]
    torch.manual_seed(5)
    with out_of_core(slabs, dim, keep=keep, folder=folder) as context:
        found = flat(network(context.cut(x, bounds)))
        loss = sum((y * w).sum() for y, w in zip(found, weights, strict=True))
    loss.backward()
    scale = largest(*(one.grad for one in reference.parameters() if one.grad is not None))
    pairs = list(zip(network.parameters(), reference.parameters(), strict=True))
    assert all((a.grad is None) == (b.grad is None) for a, b in pairs)
    unit = torch.finfo(dtype).eps / torch.finfo(torch.float64).eps
    gaps = [apart(context.gather(got), want.detach(), largest(*expected)) for got, want in zip(found, expected)]
    gaps += [apart(a.grad, b.grad, scale) for a, b in pairs if b.grad is not None]
    buffers = zip(network.buffers(), reference.buffers(), strict=True)
    gaps += [apart(a.double(), b.double(), largest(b)) for a, b in buffers]
    return max(gaps) * unit


@pytest.mark.parametrize("name", NETWORKS)
def test_exact_in_uneven_slabs(name):
    assert differences(name, 2, 3, shares=SHARES["uneven"], keep="disk") < EXACT


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "DenseNet121"])
def test_exact_in_two_cuts(name):
    assert differences(name, 2, (2, 3), (2, 3)) < EXACT


@pytest.mark.parametrize("name", ["UNet batch", "SegResNet", "AutoencoderKL"])
def test_exact_with_empty_slabs_and_with_more_slabs_than_a_deep_level_has_rows(name):
    assert differences(name, 2, 4, shares=SHARES["empty"]) < EXACT
    assert differences(name, 2, 16, dim=3, keep="disk") < EXACT


@pytest.mark.parametrize("name", ["UNet batch", "BasicUNet"])
def test_exact_in_three_dimensions(name):
    assert differences(name, 3, 4, batch=1, keep="disk") < EXACT


def test_single_precision():
    assert differences("BasicUNet", 2, 4, dtype=torch.float32, keep="disk") < 1e-5


WAYS = [(3, 2, "host"), (2, 4, "disk"), ((2, 3), (2, 3), "disk")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "way"), [(name, WAYS[number % 3]) for number, name in enumerate(NETWORKS)])
def test_every_network_in_three_dimensions(name, way):
    slabs, dim, keep = way
    batch = 1 if name == "SwinUNETR" else 2
    assert differences(name, 3, slabs, dim, keep=keep, batch=batch) < EXACT


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("slabs", [2, 5])
def test_every_network_in_host_memory_and_in_files(name, slabs):
    for keep in ("host", "disk"):
        assert differences(name, 2, slabs, keep=keep) < EXACT


# -- losses and training


def losses(criterion, channels, target):
    """Value and gradient of a loss, on the whole and on slabs."""
    logits = torch.randn(2, channels, 32, 32, generator=torch.Generator().manual_seed(4), requires_grad=True)
    whole = criterion(logits, target)
    (wanted,) = torch.autograd.grad(whole, logits)
    with out_of_core(3) as context:
        cut = criterion(context.cut(logits), context.cut(target))
    (found,) = torch.autograd.grad(cut, logits)
    return whole, cut, wanted, found


def monai_loss():
    from monai.losses import DiceCELoss

    return DiceCELoss(to_onehot_y=True, softmax=True)


def detector_loss(kind, loss, **options):
    from medseg.detectors.heatmap import HeatmapDetector
    from medseg.detectors.segmentation import SegmentationDetector
    from medseg.detectors.settings import HeatmapSettings, SegmentationSettings

    if kind == "segmentation":
        return SegmentationDetector(SegmentationSettings(kind=kind, loss=loss, **options), ("a", "b")).loss
    return HeatmapDetector(HeatmapSettings(kind=kind, loss=loss), ("a", "b")).loss


@pytest.mark.parametrize(
    ("make", "channels", "target_channels"),
    [
        (monai_loss, 2, 1),
        (lambda: detector_loss("segmentation", "dice_ce"), 2, 2),
        (lambda: detector_loss("segmentation", "focal"), 2, 2),
        (lambda: detector_loss("segmentation", "dice_focal"), 2, 2),
        (lambda: detector_loss("segmentation", "tversky_focal"), 2, 2),
        (lambda: detector_loss("segmentation", "dice_topk"), 2, 2),
        (lambda: detector_loss("segmentation", "dice_balanced"), 2, 3),
        (lambda: detector_loss("segmentation", "dice_ce", exclusive=True), 3, 2),
        (lambda: detector_loss("segmentation", "dice_topk", exclusive=True), 3, 2),
        (lambda: detector_loss("segmentation", "dice_focal", exclusive=True), 3, 2),
        (lambda: detector_loss("heatmap", "focal"), 4, 5),
        (lambda: detector_loss("heatmap", "mse"), 4, 5),
    ],
    ids=[
        "MONAI Dice",
        "Dice",
        "focal",
        "Dice focal",
        "Tversky",
        "top k",
        "balanced",
        "softmax",
        "softmax top k",
        "softmax focal",
        "heat map",
        "heat map mse",
    ],
)
def test_losses_and_the_gradient_of_what_was_cut(make, channels, target_channels):
    target = (torch.rand(2, target_channels, 32, 32, generator=torch.Generator().manual_seed(3)) < 0.3).float()
    whole, cut, wanted, found = losses(make(), channels, target)
    assert cut.item() == pytest.approx(whole.item(), rel=1e-6)
    assert largest(found - wanted) < 1e-5 * largest(wanted)


@pytest.mark.parametrize("keep", ["host", "disk"])
def test_ten_steps_have_the_same_losses(keep):
    criterion, (x, y) = monai_loss(), targets()

    def trained(step):
        network = build("UNet", 2).double()
        optimiser, values = torch.optim.AdamW(network.parameters(), 1e-3), []
        for _ in range(10):
            optimiser.zero_grad()
            loss = step(network)
            loss.backward()
            optimiser.step()
            values.append(loss.item())
        return values

    def in_slabs(network):
        with out_of_core(3, keep=keep) as context:
            return criterion(network(context.cut(x)), context.cut(y))

    expected, found = trained(lambda network: criterion(network(x), y)), trained(in_slabs)
    assert expected[-1] < 0.98 * expected[0]
    assert found == pytest.approx(expected, rel=EXACT)


@pytest.mark.parametrize("entered", ["outside", "inside"])
def test_autocast_is_as_near_as_bfloat16_allows(entered):
    x, y = (one.float() for one in targets())
    network, criterion = build("UNet", 2), monai_loss()
    reference = copy.deepcopy(network)
    criterion(reference(x), y).backward()
    context, autocast = out_of_core(3, keep="disk"), torch.autocast("cpu", torch.bfloat16)
    first, second = (autocast, context) if entered == "outside" else (context, autocast)
    with first, second:
        output = network(context.cut(x))
        assert output.dtype == torch.bfloat16
        loss = criterion(output.float(), context.cut(y))
    loss.backward()
    scale = largest(*(one.grad for one in reference.parameters()))
    gaps = [largest(a.grad - b.grad) / scale for a, b in zip(network.parameters(), reference.parameters())]
    assert max(gaps) < 0.05  # the whole under autocast: 0.02; bfloat16 has 8 bits
    assert all(one.grad.dtype == torch.float32 for one in network.parameters())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("keep", ["host", "disk"])
@pytest.mark.parametrize("entered", ["outside", "inside"])
def test_inference_keeps_no_graph(mode, keep, entered):
    network, x = build("UNet batch", 2).double().eval(), targets()[0]
    context = out_of_core(3, keep=keep)
    first, second = (mode(), context) if entered == "outside" else (context, mode())
    with first, second:
        y = network(context.cut(x))
        assert not y.requires_grad
        found = context.gather(y)
    with torch.no_grad():
        assert largest(found - network(x)) < EXACT * largest(found)


def test_what_is_not_needed_any_more_is_let_go():
    """Without a graph the file holds a few tensors, not those of all layers."""
    network, sizes = nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(20))), []
    for number in (4, 20):
        with torch.no_grad(), out_of_core(4, keep="disk") as context:
            network[:number](context.cut(torch.zeros(1, 4, 32, 32)))
            sizes.append(context.space.pages._file.size)
    assert sizes[0] == sizes[1] <= 3 * 4 * 32 * 32 * 4


# -- reading and writing by rows


def test_no_more_than_the_rows_of_a_slab_are_read_at_a_time():
    volume, asked = torch.randn(1, 1, 10, 6, dtype=torch.float64), []
    network = nn.Conv2d(1, 2, 3, padding=1).double()

    def read(start, stop):
        asked.append((start, stop))
        return volume[:, :, start:stop]

    with torch.no_grad(), out_of_core(4, keep="disk") as context:
        y = network(context.from_rows(read, 10))
        rows = [part.shape[2] for part in context.parts(y)]
        written = torch.cat(list(context.parts(y)), 2)
    assert asked == [(0, 2), (2, 5), (5, 7), (7, 10)]
    assert rows == [2, 3, 2, 3]
    assert largest(written - network(volume)) < EXACT
    with out_of_core(2) as context:
        context.from_rows(read, 10, (0, 9, 10))
    assert asked[4:] == [(0, 9), (9, 10)]


def test_image_target_and_label_are_read_together():
    x, y = targets()
    with out_of_core(2) as context:
        image, target, label = context.several_from_rows(
            lambda start, stop: (x[:, :, start:stop], y[:, :, start:stop], torch.tensor([1, 0])), (0, 20, 32)
        )
    assert layout_of(image) == layout_of(target)
    assert torch.equal(context.gather(target), y)
    assert label.tolist() == [1, 0]


def test_parts_of_what_is_whole():
    with out_of_core(2) as context:
        pooled = functional.adaptive_avg_pool2d(context.cut(torch.ones(1, 1, 8, 8)), 1)
        assert [part.shape for part in context.parts(pooled)] == [(1, 1, 1, 1)]


def test_large_random_tensors_are_drawn_slab_by_slab(monkeypatch):
    monkeypatch.setattr("medseg.parallel.in_turn.WHOLE_DRAW", 10)
    with out_of_core(4) as context:
        noise = torch.randn_like(context.cut(torch.zeros(1, 1, 64, 64)))
        assert isinstance(noise, Paged)
        whole = context.gather(noise)
    assert abs(whole.mean()) < 0.1
    assert whole.std() == pytest.approx(1, abs=0.1)
    assert not torch.equal(whole[:, :, :16], whole[:, :, 16:32])


# -- files


def unnamed_files():
    """Files without a name that this process has open."""
    gc.collect()
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sorted(name for name in map(os.readlink, links) if name.endswith("(deleted)"))


def test_the_file_is_gone_after_a_step_and_after_an_error(tmp_path):
    before = unnamed_files()
    network, (x, _) = build("UNet", 2).double(), targets()
    with out_of_core(3, keep="disk", folder=tmp_path) as context:
        loss = network(context.cut(x)).mean()
    assert len(unnamed_files()) == len(before) + 1
    loss.backward()
    del loss, context
    assert unnamed_files() == before
    try:
        with out_of_core(3, keep="disk", folder=tmp_path) as context:
            torch.quantile(network(context.cut(x)), 0.5)
    except UnsupportedOperation:
        del context
    assert unnamed_files() == before
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_ends_the_step_with_a_message(monkeypatch):
    write, left = os.pwrite, SimpleNamespace(bytes=200_000)

    def full(file, data, offset):
        left.bytes -= len(data)
        if left.bytes < 0:
            raise OSError(28, "No space left on device")
        return write(file, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    network, x = build("UNet", 2).double(), targets()[0]
    with out_of_core(3, keep="disk") as context, pytest.raises(OutputError, match="No space left on device after"):
        network(context.cut(x))


LIMITED = """
import resource, sys, torch
from torch import nn
from medseg.parallel import out_of_core
torch.set_num_threads(1)
side, slabs, limit = map(int, sys.argv[1:])
torch.manual_seed(0)
network = nn.Sequential(*(nn.Sequential(nn.Conv3d(8 if n else 1, 8, 3, padding=1), nn.ReLU()) for n in range(8)))
def step(side, slabs):
    if not slabs:
        return network(torch.ones(1, 1, side, side, side)).mean().backward()
    with out_of_core(slabs, keep="disk") as context:
        rows = lambda start, stop: torch.ones(1, 1, stop - start, side, side)
        loss = network(context.from_rows(rows, side)).mean()
    loss.backward()
step(16, 0)
step(16, 2)
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData")) << 10
resource.setrlimit(resource.RLIMIT_DATA, (used + (limit << 20),) * 2)
step(side, slabs)
"""
LIMIT_MIB = 180


@pytest.mark.slow
def test_eight_times_the_volume_under_one_limit():
    """64^3 fits into what a process may take besides what it has anyway, 80^3 does not, 128^3 does in slabs."""

    def ends(side, slabs):
        environment = {"MALLOC_ARENA_MAX": "1", "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, str(side), str(slabs), str(LIMIT_MIB)], env=environment, check=False
        )
        return done.returncode

    assert [ends(64, 0), ends(80, 0), ends(128, 32)] == [0, 1, 0]
