"""Run a network on this process's part of the volume."""

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from medseg.parallel.operations import operations
from medseg.parallel.process_space import ProcessSpace
from medseg.parallel.sharding import Sharding

__all__ = ["replicate", "spatial_parallel"]


def spatial_parallel(group: dist.ProcessGroup | DeviceMesh | None = None, dim: int | tuple[int, ...] = 2) -> Sharding:
    """Run unchanged modules on parts of their input, with the numbers that one device would give.

    Parameters
    ----------
    group : ProcessGroup or DeviceMesh, optional
        The processes that share a volume; all of them unless given. Several cuts need a mesh with as many axes.
    dim : int or tuple of int
        Tensor dimension that is cut, one for each axis of the mesh; 2 is the first spatial one.

    Returns
    -------
    Sharding
        A context manager. Inside, a tensor from outside is this rank's part (its rows along `dim`; parts may differ
        in size and be empty), parameters and buffers are the same on every rank, and ``x.shape`` is the shape of the
        whole. Outputs, concatenated in the order of ranks, equal those of one device.

    Raises
    ------
    UnsupportedOperation
        Inside the context, naming the operation and the module, where an operation is not known to be right.
    ConfigError
        When the parts do not fit together, or the mesh does not have as many axes as `dim` has numbers.

    Notes
    -----
    The loss of the group is the sum of its ranks' losses. What every rank has (a class score, a loss that was reduced
    inside the context) counts 1/N on each. The gradient of a parameter on a rank is that rank's share; the sum over
    the group is the gradient on one device.

    Examples
    --------
    >>> import torch
    >>> from medseg.parallel import spatial_parallel
    >>> network = torch.nn.Conv3d(1, 2, 3, padding=1)
    >>> with spatial_parallel(dim=2):  # this process alone: nothing is cut
    ...     tuple(network(torch.zeros(1, 1, 8, 8, 8)).shape)
    (1, 2, 8, 8, 8)
    """
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    return Sharding(ProcessSpace(group, dims), operations())


def replicate(tensor: torch.Tensor, sharding: Sharding) -> torch.Tensor:
    """Say that a tensor from outside is the same on every rank of `sharding`, and not a part."""
    return sharding.replicated(tensor)
