"""From each rank's share of a gradient to that of the run: summed over those that share a volume, averaged over data.

Inside `spatial_parallel` the gradient of a parameter on a rank is that rank's share. Three ways lead to the gradient:
`reduce_gradients` after the backward pass of a plain network, or `arrange_gradients` once for a network that is wrapped
in DistributedDataParallel or that `fully_shard` was applied to, which reduce while the backward pass runs.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.fsdp._fully_shard._fsdp_state import FSDPState
from torch.nn.parallel import DistributedDataParallel

from medseg.errors import ConfigError
from medseg.parallel.calls import tensors_in
from medseg.parallel.checkpointing import active
from medseg.parallel.space import plain

__all__ = ["arrange_gradients", "reduce_gradients"]

BUCKET_BYTES = 25 << 20  # one message; as DistributedDataParallel


def reduce_gradients(
    parameters: nn.Module | Iterable[nn.Parameter], mesh: DeviceMesh | None, *, data: str = "data"
) -> None:
    """Add the gradients up over all ranks of a mesh, and average them over its axis `data`, in place.

    Parameters
    ----------
    parameters : Module or iterable of Parameter
        A parameter that has a gradient on some ranks only counts as zero on the others; one that has none anywhere
        keeps None. All ranks give the same parameters in the same order.
    mesh : DeviceMesh or None
        None: this process is alone, and nothing is done.
    data : str
        Name of the axis whose ranks work on different samples. A mesh without it is one of ranks that share a sample.

    Notes
    -----
    Call it after the last backward pass of a step (gradients accumulate as shares), outside of the sharding context,
    before gradients are unscaled, clipped or looked at.

    Raises
    ------
    ConfigError
        Of gradients that are not plain dense tensors.
    """
    if mesh is None:
        return
    given = parameters.parameters() if isinstance(parameters, nn.Module) else parameters
    chosen = [parameter for parameter in given if parameter.requires_grad]
    groups = _groups(mesh)
    gradients = [_gradient(parameter) for parameter in _present(chosen, groups)]
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        for group in groups:
            dist.all_reduce(flat, group=group)
        flat /= _data_size(mesh, data)
        for gradient, values in zip(bucket, flat.split([gradient.numel() for gradient in bucket])):
            gradient.copy_(values.view_as(gradient))


def arrange_gradients(
    network: DistributedDataParallel | FSDPModule, mesh: DeviceMesh, *, data: str = "data"
) -> DistributedDataParallel | FSDPModule:
    """Let a wrapped network sum gradients over the ranks that share a volume, and average them over data.

    By themselves both average over all ranks. A loss that was reduced inside the context counts 1/N on each of the N
    ranks that share a volume, with this as without; do not call `reduce_gradients` as well.

    Parameters
    ----------
    network : DistributedDataParallel or FSDPModule
        Over all ranks of `mesh`. Of `fully_shard`, call it when that has been applied to all submodules; one mesh axis
        shards, a second one replicates.
    mesh : DeviceMesh
    data : str
        Name of the axis whose ranks work on different samples, if there is one.

    Returns
    -------
    DistributedDataParallel or FSDPModule
        The network itself.

    Raises
    ------
    ConfigError
        Of any other network, and of `fully_shard` applied to a list of modules at once.
    """
    if isinstance(network, DistributedDataParallel):
        state = (network.process_group, _data_size(mesh, data))
        network.register_comm_hook(state, _sum_of_bucket)
    elif isinstance(network, FSDPModule):
        assert isinstance(network, nn.Module)
        for module in network.modules():
            if isinstance(module, FSDPModule):
                module.set_gradient_divide_factor(float(_data_size(mesh, data)))
                module.set_force_sum_reduction_for_comms(True)  # gloo has no other
                _keep_out(module)
    else:
        raise ConfigError(
            "arrange_gradients: the network is neither wrapped in DistributedDataParallel nor was fully_shard applied "
            "to it; use reduce_gradients after the backward pass"
        )
    return network


def _data_size(mesh: DeviceMesh, data: str) -> int:
    names = mesh.mesh_dim_names or ()
    return mesh.size(names.index(data)) if data in names else 1


def _groups(mesh: DeviceMesh) -> list[Any]:
    """Groups to add up over, one after another; all ranks at once where the mesh has them all."""
    if mesh.size() == dist.get_world_size():
        return [dist.group.WORLD]
    return [mesh.get_group(axis) for axis in range(mesh.ndim)]


def _present(parameters: list[nn.Parameter], groups: list[Any]) -> list[nn.Parameter]:
    """Parameters that have a gradient on any rank; where it is missing here it becomes zero."""
    if not parameters:
        return []
    has = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.int32)
    found = has.to(parameters[0].device)  # NCCL reduces what lies on the GPU
    for group in groups:
        dist.all_reduce(found, dist.ReduceOp.MAX, group)
    present = [parameter for parameter, one in zip(parameters, found.tolist()) if one]
    for parameter in present:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    return present


def _gradient(parameter: nn.Parameter) -> torch.Tensor:
    gradient = parameter.grad
    assert gradient is not None
    if type(gradient) is not torch.Tensor or gradient.layout != torch.strided:
        raise ConfigError(
            f"reduce_gradients: a gradient of shape {tuple(parameter.shape)} is no plain dense tensor; "
            "where fully_shard was applied use arrange_gradients"
        )
    return gradient


def _buckets(gradients: list[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Gradients of one type and device, to about `BUCKET_BYTES` each."""
    by_kind: dict[Any, list[torch.Tensor]] = {}
    for gradient in gradients:
        by_kind.setdefault((gradient.dtype, gradient.device), []).append(gradient)
    for alike in by_kind.values():
        bucket: list[torch.Tensor] = []
        for gradient in alike:
            if bucket and sum(one.nbytes for one in [*bucket, gradient]) > BUCKET_BYTES:
                yield bucket
                bucket = []
            bucket.append(gradient)
        yield bucket


def _sum_of_bucket(state: tuple[Any, int], bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    group, data_size = state
    values = bucket.buffer().div_(data_size)
    work = dist.all_reduce(values, group=group, async_op=True)
    return work.get_future().then(lambda future: future.value()[0])


# -- what FSDP does around a module's forward pass is on no part of a volume


def _keep_out(module: nn.Module) -> None:
    """Run the hooks of FSDP outside of the sharding context: they gather parameters."""
    found = 0
    for hooks, wrap in ((module._forward_pre_hooks, _before), (module._forward_hooks, _after)):
        for key, hook in list(hooks.items()):
            if isinstance(getattr(hook, "__self__", None), FSDPState):
                hooks[key] = partial(wrap, hook)
            found += isinstance(getattr(hook, "__self__", None) or _wrapped(hook), FSDPState)
    if not found:
        raise ConfigError("arrange_gradients: fully_shard was applied to a list of modules; apply it to one at a time")


def _wrapped(hook: Any) -> Any:
    """State of FSDP whose hook is wrapped already."""
    return getattr(hook.args[0], "__self__", None) if isinstance(hook, partial) and hook.args else None


def _before(hook: Any, module: nn.Module, args: Any, kwargs: Any) -> Any:
    return _outside(lambda: hook(module, args, kwargs), (args, kwargs))


def _after(hook: Any, module: nn.Module, args: Any, output: Any) -> Any:
    return _outside(lambda: hook(module, args, output), output)


def _outside(run: Any, value: Any) -> Any:
    """Let FSDP do its work on arguments or results: it returns the same tensors, perhaps of another type or object."""
    context = active()
    if context is None:
        return run()
    with plain():
        memos = [context.memo(tensor) for tensor in tensors_in(value)]
        result = run()
        for tensor, memo in zip(tensors_in(result), memos):
            if memo is not None:
                context.recall(tensor, memo)
    return result
