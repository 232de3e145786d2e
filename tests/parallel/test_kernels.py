"""Convolutions of thin slabs on a CPU: the numbers of torch, by oneDNN."""

from itertools import product

import pytest
import torch
from torch import nn
from torch.profiler import profile

from medseg.parallel import out_of_core
from medseg.parallel.operations import kernels
from medseg.parallel.operations.kernels import Geometry, convolve, gradient_of_weight

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
DEFAULTS = {
    "stride": (1, 1, 1), "padding": (0, 1, 1), "dilation": (1, 1, 1), "transposed": False,
    "output_padding": (0, 0, 0), "groups": 1,
}  # fmt: skip
THIN = {  # channels of x and of what comes out, sizes, kernel, and what differs
    "thin": (32, 32, (6, 32, 32), (3, 3, 3), {}),
    "flat kernel": (32, 16, (4, 64, 64), (1, 3, 3), {}),
    "more channels": (16, 128, (3, 32, 40), (3, 3, 3), {}),
    "wide padding": (32, 24, (6, 31, 33), (3, 3, 3), {"padding": (2, 0, 3)}),
    "dilated": (32, 32, (7, 32, 32), (3, 3, 3), {"dilation": (2, 1, 3), "padding": (0, 1, 3)}),
    "one wide side": (8, 16, (8, 40, 40), (7, 5, 3), {"padding": (3, 2, 1)}),
    "transposed": (32, 32, (4, 32, 32), (3, 3, 3), {"transposed": True}),
    "transposed, dilated": (16, 40, (4, 32, 32), (3, 3, 3), {"transposed": True, "dilation": (1, 2, 1)}),
}
OTHERS = {
    "strided": (32, 32, (6, 64, 64), (3, 3, 3), {"stride": (1, 2, 2)}),
    "strided, transposed": (
        32, 32, (4, 64, 64), (3, 3, 3), {"stride": (2, 2, 2), "transposed": True, "output_padding": (1, 0, 1)}
    ),
    "output padding": (
        16, 40, (4, 32, 32), (3, 3, 3), {"transposed": True, "dilation": (2, 2, 2), "output_padding": (1, 0, 1)}
    ),
    "groups": (32, 32, (6, 32, 32), (3, 3, 3), {"groups": 2}),
    "1x1x1": (32, 32, (8, 64, 64), (1, 1, 1), {"padding": (0, 0, 0)}),
    "line": (32, 32, (8, 64, 64), (3, 1, 1), {"padding": (0, 0, 0)}),
    "wide kernel": (16, 16, (8, 32, 32), (5, 5, 5), {}),
    "one channel": (1, 32, (10, 64, 64), (3, 3, 3), {}),
    "few voxels": (256, 256, (3, 8, 8), (3, 3, 3), {}),
    "little": (16, 16, (4, 16, 16), (3, 3, 3), {}),
    "thick": (32, 32, (16, 64, 8), (3, 3, 3), {}),
    "plane": (16, 16, (12, 100), (3, 3), {}),
    "row": (16, 16, (1000,), (3,), {}),
}  # fmt: skip


def problem(name, *, dtype=torch.float32, batch=1, layout=torch.contiguous_format):
    """Operands, and the gradient of an output of ones and minus ones."""
    channels, out, sizes, kernel, changes = (THIN | OTHERS)[name]
    draw = torch.Generator().manual_seed(3)
    options = {key: value[-len(sizes) :] if isinstance(value, tuple) else value for key, value in DEFAULTS.items()}
    options |= changes
    pair = (channels, out) if options["transposed"] else (out, channels // options["groups"])
    x = torch.randn(batch, channels, *sizes, generator=draw, dtype=dtype).to(memory_format=layout)
    weight = torch.randn(*pair, *kernel, generator=draw, dtype=dtype).to(memory_format=layout)
    bias = torch.randn(out, generator=draw, dtype=dtype)
    shape = torch.ops.aten.convolution(x, weight, bias, *options.values()).shape
    gradient = torch.randn(shape, generator=draw, dtype=dtype).sign().to(memory_format=layout)
    return x, weight, bias, gradient, tuple(options.values())


def way(work):
    """Whether work brings its input into oneDNN's format."""
    with profile() as profiled:
        work()
    names = {event.name for event in profiled.events()}
    return "aten::to_mkldnn" in names


def both(x, weight, bias, gradient, options):
    """Results of both functions, and whether each of them went to oneDNN on purpose."""
    works = (
        (lambda: convolve(x, weight, bias, Geometry(*options))),
        (lambda: gradient_of_weight(gradient, x, weight, Geometry(*options))),
    )
    return [work() for work in works], [way(work) for work in works]


def plain(x, weight, bias, gradient, options):
    mask = [False, True, False]
    of_weight = torch.ops.aten.convolution_backward(gradient, x, weight, None, *options, mask)[1]
    return [torch.ops.aten.convolution(x, weight, bias, *options), of_weight]


def apart(found, wanted):
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())


@needs_onednn
@pytest.mark.parametrize(("name", "layout"), product(THIN, (torch.contiguous_format, torch.channels_last_3d)))
def test_thin_slabs_go_to_onednn_and_are_exact(name, layout):
    x, weight, bias, gradient, options = problem(name, layout=layout)
    found, taken = both(x, weight, bias, gradient, options)
    assert taken == [True, True]
    wanted = plain(x.double(), weight.double(), bias.double(), gradient.double(), options)
    assert max(map(apart, found, wanted)) < 2e-5
    assert [one.layout for one in found] == [torch.strided] * 2


@pytest.mark.parametrize("name", OTHERS)
def test_all_else_is_left_to_torch(name):
    operands = problem(name)
    found, taken = both(*operands)
    assert taken == [False, False]
    assert all(map(torch.equal, found, plain(*operands)))


@pytest.mark.parametrize("options", [{"dtype": torch.float64}, {"batch": 2}], ids=["float64", "two images"])
def test_thin_slabs_that_are_left_to_torch(options):
    operands = problem("thin", **options)
    found, taken = both(*operands)
    assert taken == [False, False]
    assert all(map(torch.equal, found, plain(*operands)))


def test_without_onednn_all_is_left_to_torch(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    operands = problem("thin")
    found, taken = both(*operands)
    assert taken == [False, False]
    assert all(map(torch.equal, found, plain(*operands)))


@needs_onednn
@pytest.mark.parametrize("transposed", [False, True])
def test_rule_of_torch(transposed):
    """Torch copies up to the size that is written down, and not beyond: else the module has lost its reason."""
    weight, geometry = torch.empty(32, 32, 3, 3, 3), ((1, 1, 1), (1, 1, 1), (1, 1, 1), transposed, (0, 0, 0), 1)

    def backend(rows):
        return str(torch._C._select_conv_backend(torch.empty(1, 32, rows, 64, 64), weight, None, *geometry))

    rows = kernels.LARGEST_COPIED // (32 * 64)
    assert "Slow" in backend(rows)
    assert "Slow" not in backend(rows + 1)


@needs_onednn
def test_slabs_in_turn_make_no_copy():
    """Neither forward nor in the gradients of input and weight."""
    x = torch.randn(1, 32, 32, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    convolution = nn.Conv3d(32, 32, 3, padding=1)
    with profile() as profiled:
        with out_of_core(8) as context:
            loss = convolution(context.cut(x)).square().mean()
        loss.backward()
    names = [event.name for event in profiled.events()]
    assert names.count("aten::to_mkldnn") == 3 * 8
    assert not [name for name in names if "slow_conv" in name]
