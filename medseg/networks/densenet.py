"""DenseNets with finer features."""

from monai.networks.nets import DenseNet
from torch import nn

__all__ = ["with_stride"]

FULL = 32  # voxels: the first convolution, the first pooling and three transitions each halve the sides


def with_stride(network: DenseNet, stride: int) -> DenseNet:
    """Leave out the pooling of the last transitions, so that features lie `stride` voxels apart; in place.

    The weights stay as they are: a network that was trained at one stride loads into another. A place of the last
    features then sees less of the image, and its map says more exactly where (the same means as a small output stride
    in segmentation: Chen 2018, arXiv:1706.05587, there with dilated kernels).

    Parameters
    ----------
    stride : int
        32 (nothing is left out), 16 or 8.

    Raises
    ------
    ValueError
        At another stride.
    """
    if stride not in (FULL, FULL // 2, FULL // 4):
        raise ValueError(f"stride {stride}: a DenseNet's features can lie 32, 16 or 8 voxels apart")
    for number in range(3, 0, -1):
        if stride >= FULL >> (3 - number):
            break
        getattr(network.features, f"transition{number}").pool = nn.Identity()
    return network
