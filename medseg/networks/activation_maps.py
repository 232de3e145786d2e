"""Class-activation maps: how much each place of the image adds to each logit."""

from typing import Any, Literal

import torch
from monai.networks.nets import DenseNet
from torch import nn
from torch.nn import functional

from medseg.networks.small_cnn import SmallCnn

__all__ = ["activation_maps"]


def activation_maps(
    network: nn.Module, image: torch.Tensor, *, method: Literal["cam", "grad_cam"]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of a classifier, and maps of what adds to them, on the grid of its last features.

    With features ``A_k`` at ``n`` places and logits ``y_c``, the map of class ``c`` is ``sum_k a_ck A_k``, where

    - ``cam``: ``a_ck`` are the weights of the last layer, which a DenseNet applies to the mean features, so that
      ``y_c = mean of the map + bias``, exactly (Zhou 2016, arXiv:1512.04150);
    - ``grad_cam``: ``a_ck`` is the gradient of ``y_c`` by ``A_k``, summed over the places (Selvaraju 2017,
      arXiv:1610.02391, times ``n``, and without its ReLU). Of a DenseNet this is the same map; of other heads its
      mean is a first-order estimate.

    Parameters
    ----------
    network : Module
        A DenseNet or a `SmallCnn`, in evaluation mode.
    image : Tensor, shape (batch, channel, *spatial)

    Returns
    -------
    logits : Tensor, shape (batch, class)
    maps : Tensor, shape (batch, class, *grid)
    """
    if method == "cam":
        return _cam(network, image)
    with torch.inference_mode(False), torch.enable_grad():
        return _grad_cam(network, image)


def _cam(network: nn.Module, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if not isinstance(network, DenseNet):
        raise TypeError(f"{type(network).__name__} has no last layer that is linear in the mean features")
    layers: Any = network.class_layers
    active = layers.relu(network.features(image))
    weight = layers.out.weight.reshape(*layers.out.weight.shape, *(1,) * (image.ndim - 2))
    convolve = functional.conv3d if image.ndim == 5 else functional.conv2d
    return layers.out(layers.flatten(layers.pool(active))), convolve(active, weight)


def _grad_cam(network: nn.Module, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    image = image.clone() if image.is_inference() else image
    if isinstance(network, DenseNet):
        layers: Any = network.class_layers
        active = layers.relu(network.features(image)).detach().requires_grad_()
        logits = layers.out(layers.flatten(layers.pool(active)))
    elif isinstance(network, SmallCnn):
        active = network.features(image).detach().requires_grad_()
        logits = network.head(active)
    else:
        raise TypeError(f"{type(network).__name__} is not known to have features and a head")
    space = tuple(range(2, image.ndim))
    maps = []
    for index in range(logits.shape[1]):
        (gradient,) = torch.autograd.grad(logits[:, index].sum(), active, retain_graph=True)
        maps.append((gradient.sum(space, keepdim=True) * active).sum(1))
    return logits.detach(), torch.stack(maps, dim=1).detach()
