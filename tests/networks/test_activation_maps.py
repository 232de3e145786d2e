"""Activation maps against what they are defined by."""

import pytest
import torch
from monai.visualize import CAM, GradCAM
from torch import nn

from medseg.networks.activation_maps import activation_maps
from medseg.networks.factory import build_network
from medseg.networks.settings import DenseNetSettings, SmallCnnSettings

SIZES = {2: (64, 96), 3: (64, 32, 32)}


def densenet(dimensions, depth=121):
    torch.manual_seed(0)
    settings = DenseNetSettings(depth=depth)
    network = build_network(settings, in_channels=2, out_channels=3, patch_size=SIZES[dimensions])
    nn.init.normal_(network.class_layers.out.bias)
    return network.eval()


def image(dimensions):
    return torch.randn(2, 2, *SIZES[dimensions], generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_mean_of_the_map_and_bias_are_the_logit(dimensions):
    network, x = densenet(dimensions), image(dimensions)
    with torch.inference_mode():
        logits, maps = activation_maps(network, x, method="cam")
        torch.testing.assert_close(logits, network(x))
    assert maps.shape == (2, 3, *(side // 32 for side in SIZES[dimensions]))
    torch.testing.assert_close(maps.flatten(2).mean(2) + network.class_layers.out.bias, logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [121, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (169, 201, 264))])
def test_map_of_a_densenet_is_the_weighted_sum_of_its_features(depth):
    network, x = densenet(2, depth), image(2)
    with torch.inference_mode():
        _, maps = activation_maps(network, x, method="cam")
        features = network.features(x).relu()
    weight = network.class_layers.out.weight.detach()
    by_hand = sum(weight[1, k] * features[0, k] for k in range(weight.shape[1]))
    torch.testing.assert_close(maps[0, 1], by_hand, rtol=1e-4, atol=1e-4)


def test_map_is_that_of_monai_without_the_bias():
    network, x = densenet(2), image(2)[:1]
    with torch.inference_mode():
        _, maps = activation_maps(network, x, method="cam")
    theirs = CAM(network, target_layers="class_layers.relu", fc_layers="class_layers.out")
    with_bias = theirs.compute_map(x, class_idx=torch.tensor([2]))[:, 0]
    torch.testing.assert_close(with_bias, maps[:, 2] + network.class_layers.out.bias[2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_both_ways_agree_on_a_densenet(dimensions):
    network, x = densenet(dimensions), image(dimensions)
    with torch.inference_mode():
        cam, grad_cam = (activation_maps(network, x, method=method) for method in ("cam", "grad_cam"))
    torch.testing.assert_close(cam[0], grad_cam[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(cam[1], grad_cam[1], rtol=1e-3, atol=1e-3)


def test_gradients_of_a_small_network_by_hand():
    settings = SmallCnnSettings(filters=(4, 6), kernel_size=3, hidden=())
    network = build_network(settings, in_channels=1, out_channels=2, patch_size=(16, 20)).eval()
    x = torch.randn(1, 1, 16, 20)
    with torch.inference_mode():
        logits, maps = activation_maps(network, x, method="grad_cam")
        features = network.features(x)[0]
    weight = network.head[-1].weight.detach().reshape(2, 6, 4, 5)  # the gradient of a linear head
    by_hand = (weight.sum((2, 3))[:, :, None, None] * features).sum(1)
    torch.testing.assert_close(maps[0], by_hand, rtol=1e-4, atol=1e-5)
    theirs = GradCAM(network, target_layers="features").compute_map(x.clone(), class_idx=1)[0, 0]
    torch.testing.assert_close(theirs, maps[0, 1].relu() / 20, rtol=1e-4, atol=1e-5)  # mean, and no negative values
    torch.testing.assert_close(logits, network(x).detach())


def test_gradients_work_with_hidden_layers_and_leave_none_behind():
    settings = SmallCnnSettings(filters=(4,), kernel_size=3, hidden=(8,), dropout=0.5)
    network = build_network(settings, in_channels=1, out_channels=2, patch_size=(16, 16)).eval()
    _, maps = activation_maps(network, torch.randn(3, 1, 16, 16), method="grad_cam")
    assert maps.shape == (3, 2, 8, 8)
    assert not maps.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_network_without_such_a_layer_is_named():
    with pytest.raises(TypeError, match="Sequential"):
        activation_maps(nn.Sequential(nn.Flatten()), torch.zeros(1, 1, 4, 4), method="cam")
