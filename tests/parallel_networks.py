"""Small networks of MONAI, and their comparison between parts and one device; ranks that tests start import this."""

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from operation_cases import apart, largest, own
from rank_pool import Seat
from torch import nn

from medseg.parallel import UnsupportedOperation, layout_of, spatial_parallel

CHANNELS = (4, 8, 16, 16)
STEPS = 10


def _nets() -> Any:
    from monai.networks import nets

    return nets


def _dyn_unet(d: int, *, deep: bool = False) -> nn.Module:
    more: dict[str, Any] = {"deep_supervision": True, "deep_supr_num": 2, "res_block": True} if deep else {}
    return _nets().DynUNet(d, 1, 2, [3] * 4, [1, 2, 2, 2], [2, 2, 2], filters=[4, 8, 8, 16], **more)


def _autoencoder(d: int) -> nn.Module:
    return _nets().AutoencoderKL(
        d, 1, 1, num_res_blocks=(1, 1, 1), channels=(8, 16, 16), attention_levels=(False, False, True),
        latent_channels=3, norm_num_groups=8,
    )  # fmt: skip


def _resnet(name: str) -> Callable[[int], nn.Module]:
    return lambda d: getattr(_nets(), name)(spatial_dims=d, n_input_channels=1, num_classes=3)


def _vit(d: int) -> nn.Module:
    return _nets().ViT(
        1, (32,) * d, (8,) * d, hidden_size=24, mlp_dim=32, num_layers=2, num_heads=2, classification=True,
        num_classes=3, spatial_dims=d,
    )  # fmt: skip


BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "UNet": lambda d: _nets().UNet(d, 1, 2, CHANNELS, (2, 2, 2), num_res_units=2),
    "UNet batch": lambda d: _nets().UNet(d, 1, 2, CHANNELS, (2, 2, 2), norm="batch", dropout=0.2),
    "BasicUNet": lambda d: _nets().BasicUNet(d, 1, 2, features=(4, 4, 8, 8, 16, 4)),
    "DynUNet": _dyn_unet,
    "DynUNet deep": lambda d: _dyn_unet(d, deep=True),
    "SegResNet": lambda d: _nets().SegResNet(d, init_filters=8, in_channels=1, out_channels=2),
    "SegResNetVAE": lambda d: _nets().SegResNetVAE((32,) * d, spatial_dims=d, init_filters=8, in_channels=1),
    "SegResNetDS": lambda d: _nets().SegResNetDS(d, init_filters=8, in_channels=1, dsdepth=2, blocks_down=(1, 1, 1)),
    "SegResNetDS2": lambda d: _nets().SegResNetDS2(d, init_filters=8, in_channels=1, dsdepth=2, blocks_down=(1, 1, 1)),
    "AttentionUnet": lambda d: _nets().AttentionUnet(d, 1, 2, (4, 8, 16), (2, 2)),
    "VNet": lambda d: _nets().VNet(d, 1, 2),
    "HighResNet": lambda d: _nets().HighResNet(d, 1, 2),
    "DenseNet121": lambda d: _nets().DenseNet121(d, 1, 3),
    "DenseNet169": lambda d: _nets().DenseNet169(d, 1, 3),
    "DenseNet201": lambda d: _nets().DenseNet201(d, 1, 3),
    "DenseNet264": lambda d: _nets().DenseNet264(d, 1, 3),
    "AutoencoderKL": _autoencoder,
    "SwinUNETR": lambda d: _nets().SwinUNETR(1, 2, feature_size=12, spatial_dims=d),
    "SwinUNETR v2": lambda d: _nets().SwinUNETR(1, 2, feature_size=12, spatial_dims=d, use_v2=True),
    "UNETR": lambda d: _nets().UNETR(1, 2, (32,) * d, 4, 24, 32, 2, spatial_dims=d),
    "ViT": _vit,
    "ViTAutoEnc": lambda d: _nets().ViTAutoEnc(
        1, (32,) * d, (16,) * d, hidden_size=24, mlp_dim=32, num_layers=2, num_heads=2, spatial_dims=d
    ),
    "ResNet10": _resnet("resnet10"),
    "ResNet50": _resnet("resnet50"),
    "SEResNet50": lambda d: _nets().SEResNet50(spatial_dims=d, in_channels=1, num_classes=3),
    "SENet154": lambda d: _nets().SENet154(spatial_dims=d, in_channels=1, num_classes=3, dropout_prob=None),
    "EfficientNet": lambda d: _nets().EfficientNetBN("efficientnet-b0", False, True, d, 1, 3),
    "FlexibleUNet": lambda d: _nets().FlexibleUNet(1, 2, "efficientnet-b0", spatial_dims=d),
    "BasicUNetPlusPlus": lambda d: _nets().BasicUNetPlusPlus(d, 1, 2, features=(4, 4, 8, 8, 16, 4)),
    "MedNeXt": lambda d: _nets().MedNeXt(d, 8, blocks_down=(1, 1), blocks_bottleneck=1, blocks_up=(1, 1),
                                         global_resp_norm=True, use_residual_connection=True, deep_supervision=True),
    "AHNet": lambda d: _nets().AHNet(spatial_dims=d, in_channels=1, out_channels=2, layers=(1, 1, 1, 1)),
    "RegUNet": lambda d: _nets().RegUNet(d, 1, 4, 2, out_channels=2),
    "LocalNet": lambda d: _nets().LocalNet(d, 1, 4, (0, 1, 2), out_channels=2),
    "VQVAE": lambda d: _nets().VQVAE(
        d, 1, 1, channels=(8, 8), num_res_channels=8, num_embeddings=8, embedding_dim=4, num_res_layers=1,
        ddp_sync=False,
        downsample_parameters=((2, 4, 1, 1),) * 2, upsample_parameters=((2, 4, 1, 1, 0),) * 2,
    ),
    "AutoEncoder": lambda d: _nets().AutoEncoder(d, 1, 2, (4, 8), (2, 2), inter_channels=(8,)),
    "VarAutoEncoder": lambda d: _nets().VarAutoEncoder(d, (1,) + (32,) * d, 1, 4, (4, 8), (2, 2)),
    "Classifier": lambda d: _nets().Classifier((1,) + (32,) * d, 3, (4, 8), (2, 2)),
    "Discriminator": lambda d: _nets().Discriminator((1,) + (32,) * d, (4, 8), (2, 2)),
    "PatchDiscriminator": lambda d: _nets().PatchDiscriminator(d, 4, 1, num_layers_d=2),
    "Restormer": lambda d: _restormer(d),
    "MaskedAutoEncoderViT": lambda d: _nets().MaskedAutoEncoderViT(
        1, (32,) * d, (8,) * d, 24, 32, 2, 2, decoder_hidden_size=24, decoder_mlp_dim=32, decoder_num_layers=1,
        decoder_num_heads=2, spatial_dims=d,
    ),
    "Quicknat": lambda d: _nets().Quicknat(num_classes=2, num_channels=1, num_filters=8, se_block="CSE"),
    "DiNTS": lambda d: _dints(d),
    "DiffusionModelUNet": lambda d: _diffusion(d),
}  # fmt: skip


def _dints(d: int) -> nn.Module:
    space = _nets().TopologyInstance(
        channel_mul=0.2, num_blocks=6, num_depths=3, use_downsample=True, spatial_dims=d,
        arch_code=[torch.ones(6, 7).numpy(), torch.ones(6, 7).numpy()],
    )  # fmt: skip
    return _nets().DiNTS(space, 1, 2, spatial_dims=d)


def _restormer(d: int) -> nn.Module:
    from monai.networks.nets.restormer import Restormer

    return Restormer(d, 1, 1, 8, (1, 1, 1), (1, 1, 1), 1)


def _diffusion(d: int) -> nn.Module:
    network = _nets().DiffusionModelUNet(
        d, 1, 1, num_res_blocks=1, channels=(8, 8), attention_levels=(False, True), num_head_channels=4,
        norm_num_groups=4,
    )  # fmt: skip
    return _Timed(network)


class _Timed(nn.Module):
    """A network that is also given a time step."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x, timesteps=torch.ones(x.shape[0]))


SIDES = {"SwinUNETR": 64, "SwinUNETR v2": 64, "AHNet": 128}
DEEP = ("DenseNet", "SEResNet", "SENet", "EfficientNet", "FlexibleUNet", "ResNet")


def size_of(name: str, d: int) -> tuple[int, ...]:
    """Sides of the input: the deepest level of a network needs a few voxels for its statistics to be well conditioned.

    Batch normalisation over four values makes two runs on one device differ by 1e-11, the batch turned round.
    """
    if name.startswith("DenseNet"):
        return (64, 64, 32)[:d]
    if name.startswith(DEEP):
        return (64, 32, 32) if d == 3 else (64, 64)
    return (SIDES.get(name, 32),) * d


def build(name: str, d: int) -> nn.Module:
    """A small network with weights that are the same on every rank; those that begin at zero too are random."""
    torch.manual_seed(0)
    network = BUILDERS[name](d)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        if not parameter.any():
            parameter.data.normal_(0, 0.1, generator=generator)
    return network


def targets() -> tuple[torch.Tensor, torch.Tensor]:
    """Two small images and their masks."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 1, 32, 32, dtype=torch.float64, generator=generator)
    return x, (torch.rand(2, 1, 32, 32, generator=generator) < 0.3).double()


@dataclass(frozen=True)
class Apart:
    """Differences between parts and one device, over the largest absolute value."""

    outputs: float
    gradients: float
    buffers: float
    without_gradient: tuple[str, ...] = ()
    refused: str = ""

    @property
    def worst(self) -> float:
        return max(self.outputs, self.gradients, self.buffers)


def compare(
    seat: Seat, name: str, d: int, bounds: Sequence[float], dim: int | tuple[int, ...] = 2, *,
    dtype: torch.dtype = torch.float64, batch: int = 2, training: bool = True, seed: int = 5,
) -> Apart:  # fmt: skip
    """Compare a forward and a backward pass; `bounds` are where the parts begin and end, as shares of the side."""
    x = _image(name, d, batch, dtype)
    network = build(name, d).to(dtype).train(training)
    torch.manual_seed(seed)
    expected, wanted, buffers = _from_first(seat, lambda: _reference(copy.deepcopy(network), x))
    weights = _weights(expected)
    mesh = isinstance(dim, tuple)
    place = tuple(seat.mesh.get_coordinate()) if mesh else (seat.rank,)
    part = x
    for axis, one in enumerate(dim if mesh else (dim,)):
        ends = [round(share * x.shape[one]) for share in bounds]
        part = part.narrow(one, ends[place[axis]], ends[place[axis] + 1] - ends[place[axis]])
    torch.manual_seed(seed)
    try:
        with spatial_parallel(seat.mesh if mesh else seat.group, dim):
            found = _flat(network(part.clone()))
    except UnsupportedOperation as error:
        return Apart(0.0, 0.0, 0.0, (), str(error))
    loss: Any = 0.0
    outputs, scale = 0.0, largest(*expected)
    for want, got, weight in zip(expected, found, weights, strict=True):
        layout = layout_of(got)
        outputs = max(outputs, apart(got.detach(), own(want.detach(), layout, place), scale) * _unit(dtype))
        copies = 1
        for cut, ranks in zip(layout.cuts, (2, 2) if mesh else (seat.size,)):
            copies *= ranks if cut is None else 1
        loss = loss + (got * own(weight, layout, place)).sum() / copies
    loss.backward()
    return Apart(outputs, *_of_parameters(network, wanted, buffers, seat, dtype))


def _image(name: str, d: int, batch: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(batch, 1, *size_of(name, d), dtype=dtype, generator=torch.Generator().manual_seed(1))


def _weights(outputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [torch.randn(y.shape, generator=torch.Generator().manual_seed(7)).to(y.dtype) for y in outputs]


Reference = tuple[list[torch.Tensor], dict[str, torch.Tensor | None], list[torch.Tensor]]


def _reference(network: nn.Module, x: torch.Tensor) -> Reference:
    """Outputs, gradients by name, and buffers after a step on one device."""
    outputs = _flat(network(x))
    sum((y * w).sum() for y, w in zip(outputs, _weights(outputs))).backward()
    return [y.detach() for y in outputs], {n: one.grad for n, one in network.named_parameters()}, [*network.buffers()]


def _from_first(seat: Seat, make: Callable[[], Reference]) -> Reference:
    """What the first rank makes with all cores, for every rank."""
    box: list[Any] = [None]
    if seat.rank == 0:
        threads = torch.get_num_threads()
        torch.set_num_threads(os.cpu_count() or 1)
        box = [make()]
        torch.set_num_threads(threads)
    dist.broadcast_object_list(box, group=seat.group, group_src=0)
    return box[0]


def own_rounding(name: str, d: int) -> float:
    """How far the float32 gradients of one device are from its own, over the largest.

    The larger of the differences to float64 and to channels-last memory. Where an activation is nearly zero rounding
    decides whether its gradient passes: networks of many ReLUs differ from themselves by far more than 1e-5.
    """
    x = _image(name, d, 2, torch.float32)
    memory = torch.channels_last if d == 2 else torch.channels_last_3d
    network = build(name, d).train()
    variants = [
        (copy.deepcopy(network), x),
        (copy.deepcopy(network).double(), x.double()),
        (copy.deepcopy(network).to(memory_format=memory), x.contiguous(memory_format=memory)),
    ]
    first, *others = [
        [one.double() for one in _reference(network, image)[1].values() if one is not None]
        for network, image in variants
    ]
    scale = largest(*first)
    return max(float((a - b).abs().max()) for other in others for a, b in zip(first, other)) / scale


def _unit(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps / torch.finfo(torch.float64).eps


def _of_parameters(
    network: nn.Module, wanted: dict[str, torch.Tensor | None], buffers: list[torch.Tensor], seat: Seat,
    dtype: torch.dtype,
) -> tuple[float, float, tuple[str, ...]]:  # fmt: skip
    scale = largest(*(one for one in wanted.values() if one is not None))
    missing, worst = [], 0.0
    for name, parameter in network.named_parameters():
        want = wanted[name]
        if (parameter.grad is None) != (want is None):
            missing.append(name)
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        dist.all_reduce(gradient, group=seat.group)
        if want is not None:
            worst = max(worst, apart(gradient, want, scale) * _unit(dtype))
    gaps = [apart(a.double(), b.double(), largest(b)) for a, b in zip(network.buffers(), buffers, strict=True)]
    return worst, max(gaps, default=0.0), tuple(missing)


def _flat(value: Any) -> list[torch.Tensor]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [one for item in value for one in _flat(item)]
    return [value] if isinstance(value, torch.Tensor) else []


def _trained(network: nn.Module, kind: str, step: Callable[[nn.Module], Any], after: Any = None) -> list[float]:
    makers: dict[str, Callable[[Any], Any]] = {
        "SGD": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9),
        "AdamW": lambda p: torch.optim.AdamW(p, 1e-3),
    }
    optimiser, losses = makers[kind](network.parameters()), []
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss, value = step(network)
        loss.backward()
        if after is not None:
            after(network)
        optimiser.step()
        losses.append(value)
    return losses


def loss_curves(seat: Seat, name: str, optimiser: str, layout: str) -> float:
    """Largest relative difference of the losses of ten training steps.

    `layout` is "space" (the ranks share an image) or "data x space" (2 x 2: each pair of ranks has an image of its
    own). The loss is MONAI's Dice and cross-entropy, reduced inside the context: it is the value of the whole image,
    so it counts 1 / N on each rank; gradients are then summed over the ranks.
    """
    from monai.losses import DiceCELoss

    criterion = DiceCELoss(to_onehot_y=True, softmax=True)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 1, 32, 32, dtype=torch.float64, generator=generator)
    y = (torch.rand(2, 1, 32, 32, generator=generator) < 0.3).double()
    data = layout != "space"
    if data:  # Dice is a ratio for each image and channel, and its mean over images is that over data ranks
        image, space = seat.mesh.get_coordinate()
        group, ranks, images = seat.mesh.get_group(1), 2, slice(image, image + 1)
    else:
        space, group, ranks, images = seat.rank, seat.group, seat.size, slice(None)
    ends = [32 * rank // ranks + (3 if 0 < rank < ranks else 0) for rank in range(ranks + 1)]
    mine, wanted = (whole[images, :, ends[space] : ends[space + 1]].clone() for whole in (x, y))

    def whole(network: nn.Module) -> tuple[torch.Tensor, float]:
        loss = criterion(network(x), y)
        return loss, loss.item()

    def shared(network: nn.Module) -> tuple[torch.Tensor, float]:
        with spatial_parallel(group):
            loss = criterion(network(mine), wanted)
        value = loss.detach().clone()
        dist.all_reduce(value, group=seat.group)
        return loss / seat.size, value.item() / seat.size

    def sum_gradients(network: nn.Module) -> None:
        for parameter in network.parameters():
            dist.all_reduce(parameter.grad, group=seat.group)

    expected = _trained(build(name, 2).double(), optimiser, whole)
    found = _trained(build(name, 2).double(), optimiser, shared, sum_gradients)
    if not expected[-1] < 0.98 * expected[0]:
        raise ValueError(f"nothing was learnt: {expected}")
    return max(abs(a - b) / abs(a) for a, b in zip(expected, found))


def compare_with(
    seat: Seat, name: str, d: int, bounds: Sequence[float], args: tuple[Any, ...], options: dict[str, Any]
) -> Apart:
    """`compare`, with arguments in one piece."""
    return compare(seat, name, d, bounds, *args, **options)
