"""DenseNets with finer features."""

import pytest
import torch
from monai.networks.nets import DenseNet121

from medseg.networks.densenet import with_stride


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_places_of_the_features_lie_a_stride_apart(stride):
    network = with_stride(DenseNet121(2, 1, 3), stride).eval()
    assert network.features(torch.zeros(1, 1, 64, 96)).shape[2:] == (64 // stride, 96 // stride)


def test_weights_fit_every_stride():
    coarse, fine = DenseNet121(2, 1, 3), with_stride(DenseNet121(2, 1, 3), 8)
    fine.load_state_dict(coarse.state_dict(), strict=True)


def test_the_published_stride_changes_nothing():
    torch.manual_seed(0)
    network = DenseNet121(2, 1, 3).eval()
    image = torch.randn(1, 1, 64, 64)
    before = network(image)
    assert torch.equal(with_stride(network, 32)(image), before)


def test_another_stride_is_refused():
    with pytest.raises(ValueError, match="32, 16 or 8"):
        with_stride(DenseNet121(2, 1, 3), 4)
