"""U-Nets: against MONAI's DynUNet with the same weights, gates and supervised levels by their definition."""

import pytest
import torch
from monai.networks.nets import DynUNet
from torch.nn import functional

from medseg.config import pipeline_from_dict
from medseg.detectors.factory import build_detector
from medseg.detectors.settings import HeatmapSettings
from medseg.errors import ConfigError
from medseg.networks.factory import build_network
from medseg.networks.settings import UNetSettings
from medseg.networks.unet import LevelUNet

FILTERS = (4, 6, 8, 8)
SHAPES = {2: (32, 48), 3: (8, 16, 32)}


def arguments(dimensions, **more):
    strides = [1, 2, 2, (1,) * (dimensions - 1) + (2,)]
    return {"spatial_dims": dimensions, "in_channels": 2, "out_channels": 3, "kernel_size": [3, 3, 3, 3],
            "strides": strides, "upsample_kernel_size": strides[1:], "filters": FILTERS, "norm_name": "instance",
            **more}  # fmt: skip


def image(dimensions, seed=0, batch=2):
    return torch.randn(batch, 2, *SHAPES[dimensions], generator=torch.Generator().manual_seed(seed))


def in_order(network, names):
    """Parameters by their place in the network: (module, name in it), first those of `names`, ..."""
    return {name: value for part in names for name, value in network.state_dict().items() if name.startswith(part)}


def with_weights_of(network, reference):
    """Give a LevelUNet the weights of a DynUNet."""
    theirs = in_order(reference, ("input_block", "downsamples", "bottleneck"))
    ups = len(network.ups)
    own = in_order(network, ("encoder",))
    for level in reversed(range(ups)):  # DynUNet counts them from the bottom up
        own |= in_order(network, (f"ups.{level}.", f"decoder.{level}."))
        theirs |= in_order(reference, (f"upsamples.{ups - 1 - level}.",))
    own |= in_order(network, ("output_block",))
    theirs |= in_order(reference, ("output_block", "deep_supervision_heads"))
    assert [value.shape for value in own.values()] == [value.shape for value in theirs.values()]
    assert set(own) == set(network.state_dict())
    network.load_state_dict(dict(zip(own, theirs.values())))
    return network


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("residual", [False, True])
def test_without_gates_it_is_monais_network_and_its_supervised_levels(dimensions, residual):
    torch.manual_seed(0)
    reference = DynUNet(**arguments(dimensions, res_block=residual), deep_supervision=True, deep_supr_num=2).train()
    network = with_weights_of(LevelUNet(**arguments(dimensions, res_block=residual), supervised=2).train(), reference)
    expected = reference(image(dimensions)).unbind(1)
    outputs = network(image(dimensions))
    assert len(outputs) == 3
    for found, wanted in zip(outputs, expected):  # DynUNet brings lower levels to the size of the finest
        assert torch.allclose(functional.interpolate(found, wanted.shape[2:]), wanted, atol=1e-5)
    assert outputs[1].shape[2:] == tuple(side // 2 for side in SHAPES[dimensions])
    reference.eval()
    assert torch.allclose(network.eval()(image(dimensions)), reference(image(dimensions)), atol=1e-5)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_gate_multiplies_the_skip_connection_by_one_factor_a_voxel(norm):
    torch.manual_seed(0)
    network = LevelUNet(**arguments(2, norm_name=norm), attention=True).eval()
    plain = LevelUNet(**arguments(2, norm_name=norm)).eval()
    plain.load_state_dict({name: value for name, value in network.state_dict().items() if "gates" not in name})
    x = image(2)
    assert not torch.allclose(network(x), plain(x), atol=1e-3)
    for gate in network.gates:  # factors of sigmoid(100) = 1 let everything through
        gate.psi[0].conv.weight.data.zero_()
        gate.psi[0].conv.bias.data.fill_(100.0 if norm == "instance" else 0)
        if norm == "batch":
            gate.psi[1].bias.data.fill_(100)
    assert torch.allclose(network(x), plain(x), atol=1e-5)
    gate = network.gates[0]
    g, skip = torch.randn(2, 4, 5, 5), torch.randn(2, 4, 5, 5)
    gate.psi[0].conv.weight.data.normal_()
    factor = gate(g=g, x=skip) / skip
    assert torch.allclose(factor, factor[:, :1].expand_as(factor), rtol=1e-4)


def test_a_gated_network_answers_an_image_whatever_else_is_in_the_batch():
    torch.manual_seed(0)
    network = LevelUNet(**arguments(2), attention=True, supervised=1).train()
    both, alone = network(image(2)), network(image(2)[:1])
    for one, other in zip(both, alone):
        assert torch.allclose(one[:1], other, atol=1e-5)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_residual_encoder_has_the_stated_blocks(dimensions):
    settings = UNetSettings(block="residual_encoder", filters=FILTERS, deep_supervision=2)
    assert settings.blocks == (1, 3, 4, 6)
    network = build_network(settings, in_channels=2, out_channels=3, patch_size=SHAPES[dimensions])
    assert [len(level) for level in network.encoder] == [1, 3, 4, 6]
    convolution = torch.nn.Conv2d if dimensions == 2 else torch.nn.Conv3d
    assert [sum(isinstance(m, convolution) for m in level.modules()) for level in network.decoder] == [1, 1, 1]
    outputs = network.train()(image(dimensions))
    assert [output.shape[1] for output in outputs] == [3, 3, 3]
    assert network.eval()(image(dimensions)).shape == (2, 3, *SHAPES[dimensions])
    sum(output.sum() for output in outputs).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_blocks_that_do_nothing_leave_a_residual_encoder_what_it_is():
    """A residual pair whose second normalisation gives 0 hands on what it got: ``relu(x + 0)``, of what is positive."""
    torch.manual_seed(0)
    short, long = (LevelUNet(**arguments(2, norm_name="batch"), encoder_blocks=n).eval() for n in ((1,) * 4, (3,) * 4))
    missing = long.load_state_dict(short.state_dict(), strict=False).missing_keys
    assert {name.split(".")[2] for name in missing} == {"1", "2"}
    for level in (*long.encoder, *short.encoder):
        level[0].lrelu = torch.nn.ReLU()
        for block in level[1:]:
            block.norm2.weight.data.zero_()
    assert torch.allclose(long(image(2)), short(image(2)), atol=1e-5)


def test_heads_of_all_levels_start_quiet():
    settings = UNetSettings(filters=FILTERS, deep_supervision=2)
    network = build_network(settings, in_channels=2, out_channels=3, patch_size=(32, 48), quiet_head=True)
    assert all(head.conv.conv.weight.std() < 0.02 for head in network.output_block)


def test_a_heat_map_is_learned_on_every_level():
    detector = build_detector(HeatmapSettings(), ("a",))
    network = build_network(UNetSettings(filters=FILTERS, deep_supervision=2), in_channels=2, out_channels=3,
                            patch_size=(32, 48), quiet_head=True)  # fmt: skip
    target = torch.zeros(2, 4, 32, 48)
    target[0, [0, 3], 9, 13] = 1
    detector.loss(network.train()(image(2)), target).backward()
    assert all(head.conv.conv.weight.grad.abs().sum() > 0 for head in network.output_block)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"filters": [4, 8, 8], "deep_supervision": 2}, "at most 1 lie between the finest and the deepest"),
        ({"encoder_blocks": [1, 2]}, "goes with block=residual_encoder"),
        ({"block": "residual_encoder", "encoder_blocks": [1, 2], "filters": [4] * 6}, "one for each of the 6 levels"),
    ],
)
def test_settings_that_do_not_fit_are_refused(network, message):
    with pytest.raises(ConfigError, match=message):
        pipeline_from_dict({"name": "n", "network": {"name": "unet", **network}, "training": {"max_steps": 1}})
