"""Small functions for ranks: spatial sharding together with autograd, hooks and changed modules."""

import copy
from collections.abc import Callable

import torch
from composed import ROWS, Tower, gradients_apart, rows_of, volume
from rank_pool import Seat
from torch import nn

from medseg.parallel import layout_of, spatial_parallel


def accumulated(seat: Seat) -> float:
    """Two backward passes before the gradients are looked at, one of them twice over a kept graph."""
    reference, network, bounds = Tower().eval(), Tower().eval(), (0, 5, ROWS)
    for seed in (1, 2):
        x = volume(seed)
        y = reference(x)
        with spatial_parallel(seat.group):
            part = network(rows_of(seat, x, bounds))
        for _ in range(seed):
            (y**2).sum().backward(retain_graph=True)
            (part**2).sum().backward(retain_graph=True)
    return gradients_apart(seat, network, reference)


def without_gradient(seat: Seat, mode: str) -> tuple[float, bool]:
    """Difference of outputs in ``no_grad`` and ``inference_mode``, entered inside of the context or around it."""
    network, x, bounds = Tower().eval(), volume(), (0, 5, ROWS)
    context = torch.no_grad if mode.startswith("no_grad") else torch.inference_mode
    with context():
        y = network(x)
    if mode.endswith("inside"):
        with spatial_parallel(seat.group), context():
            part = network(rows_of(seat, x, bounds))
    else:
        with context(), spatial_parallel(seat.group):
            part = network(rows_of(seat, x, bounds))
    low, high = layout_of(part).cuts[0].own(seat.rank)
    return float((part - y[:, :, low:high]).abs().max()), part.requires_grad


def gradient_outside(seat: Seat) -> float:
    """``torch.autograd.grad`` with respect to the input, of a loss that was reduced inside."""
    network, x, bounds = Tower().eval(), volume().requires_grad_(), (0, 5, ROWS)
    (want,) = torch.autograd.grad((network(x) ** 2).mean(), x)
    part = rows_of(seat, x.detach(), bounds).requires_grad_()
    with spatial_parallel(seat.group):
        loss = (network(part) ** 2).mean()
    (found,) = torch.autograd.grad(loss / seat.size, part)
    return float((found - rows_of(seat, want, bounds)).abs().max() / want.abs().max())


def twice(seat: Seat, layer: str) -> str:
    """A gradient of a gradient through something that sends messages is refused by autograd."""
    layers: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "convolution": nn.Conv2d(2, 2, 3, padding=1), "normalisation": nn.InstanceNorm2d(2),
        "sum": lambda x: x.square().sum((2, 3), keepdim=True).square(), "maximum": lambda x: x.amax((2, 3)).square(),
        "fetched rows": nn.AvgPool2d(3, 2, 1),
    }  # fmt: skip
    x = torch.randn(1, 2, 6, 6, requires_grad=True)
    with spatial_parallel(seat.group):
        y = layers[layer](x)
    (first,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
    try:
        first.square().sum().backward()
    except RuntimeError as error:
        return str(error)
    return "no error"


def hooked(seat: Seat) -> float:
    """Hooks on modules, tensors and parameters; they see this rank's part."""
    reference, network = Tower().eval(), Tower().eval()
    for one in (reference, network):
        one.first.register_forward_hook(lambda module, inputs, output: output * 2)
        one.last.register_forward_pre_hook(lambda module, inputs: (inputs[0] + inputs[0].mean(),))
        one.first.weight.register_hook(lambda gradient: gradient * 3)
    x = volume()
    y = reference(x)
    y.register_hook(lambda gradient: gradient * 5)
    (y**2).sum().backward()
    with spatial_parallel(seat.group):
        part = network(rows_of(seat, x, (0, 5, ROWS)))
        part.register_hook(lambda gradient: gradient * 5)
    (part**2).sum().backward()
    return gradients_apart(seat, network, reference)


def changed_module(seat: Seat, how: str) -> float:
    """Copies, other parameters, and weights that are computed from others."""
    from torch.nn.utils import parametrizations, parametrize

    reference = Tower().eval()
    if how == "weight_norm":
        parametrizations.weight_norm(reference.first)
        parametrizations.weight_norm(reference.middle[2])
    if how == "standardised":
        parametrize.register_parametrization(reference.first, "weight", Standardised())
    if how == "spectral_norm":
        parametrizations.spectral_norm(reference.first)
        reference.eval()
    network, x = copy.deepcopy(reference), volume()
    if how == "functional_call":
        given = {name: one.detach() * 1.5 for name, one in reference.named_parameters()}
        leaves = {name: one.clone().requires_grad_() for name, one in given.items()}
        reference.load_state_dict(given)
    (reference(x) ** 2).sum().backward()
    with spatial_parallel(seat.group):
        if how == "functional_call":
            y = torch.func.functional_call(network, leaves, (rows_of(seat, x, (0, 5, ROWS)),))
        else:
            network = copy.deepcopy(network)
            y = network(rows_of(seat, x, (0, 5, ROWS)))
    (y**2).sum().backward()
    if how == "functional_call":
        for name, one in network.named_parameters():
            one.grad = leaves[name].grad
    return gradients_apart(seat, network, reference)


class Standardised(nn.Module):
    """A weight without its mean."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight - weight.mean((1, 2, 3, 4), keepdim=True)
