"""Messages between the ranks of one process group: the only place that talks to torch.distributed's collectives."""

from collections.abc import Sequence

import torch
import torch.distributed as dist

__all__ = ["Line"]


class Line:
    """The ranks along one axis of the mesh, and the messages between them.

    With gloo, tensors of a GPU travel through pinned host memory.

    Parameters
    ----------
    group : ProcessGroup or None
        None: this process is alone.
    """

    def __init__(self, group: dist.ProcessGroup | None) -> None:
        self.group = group
        self.size = 1 if group is None else dist.get_world_size(group)
        self.rank = 0 if group is None else dist.get_rank(group)
        self.peers = (0,) if group is None else tuple(dist.get_global_rank(group, rank) for rank in range(self.size))
        self._on_host = group is not None and dist.get_backend(group) == "gloo"

    def exchange(self, sends: Sequence[torch.Tensor | None], receives: Sequence[torch.Tensor | None]) -> None:
        """Send to and receive from each rank at once; None or an empty tensor is no message.

        `receives` are contiguous tensors that are filled; they are filled when the call returns (on a GPU: for work
        that is queued after it).
        """
        operations: list[dist.P2POp] = []
        arrivals: list[tuple[torch.Tensor, torch.Tensor]] = []
        for peer, (out, into) in enumerate(zip(sends, receives)):
            if peer == self.rank:
                continue
            if out is not None and out.numel():
                operations.append(dist.P2POp(dist.isend, self._staged(out), self.peers[peer], self.group))
            if into is not None and into.numel():
                buffer = self._buffer(into)
                operations.append(dist.P2POp(dist.irecv, buffer, self.peers[peer], self.group))
                if buffer is not into:
                    arrivals.append((into, buffer))
        for work in dist.batch_isend_irecv(operations) if operations else ():
            work.wait()
        for into, buffer in arrivals:
            into.copy_(buffer)

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Add up over the ranks, in place; the same on every rank."""
        return self._reduce(tensor, dist.ReduceOp.SUM)

    def max_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Largest over the ranks, in place."""
        return self._reduce(tensor, dist.ReduceOp.MAX)

    def from_first(self, tensor: torch.Tensor) -> torch.Tensor:
        """Overwrite with the first rank's values, in place."""
        if self.size > 1:
            staged = self._staged(tensor)
            dist.broadcast(staged, self.peers[0], self.group)
            if staged is not tensor:
                tensor.copy_(staged)
        return tensor

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """Stack the equally shaped tensors of all ranks, shape (rank, ...)."""
        if self.size == 1:
            return tensor[None]
        staged = self._staged(tensor)
        parts = [torch.empty_like(staged) for _ in range(self.size)]
        dist.all_gather(parts, staged, self.group)
        return torch.stack(parts).to(tensor.device)

    def _reduce(self, tensor: torch.Tensor, operation: dist.ReduceOp.RedOpType) -> torch.Tensor:
        if self.size > 1:
            staged = self._staged(tensor)
            dist.all_reduce(staged, operation, self.group)
            if staged is not tensor:
                tensor.copy_(staged)
        return tensor

    def _staged(self, tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.detach().contiguous()
        if not (self._on_host and tensor.is_cuda):
            return tensor
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return host.copy_(tensor)

    def _buffer(self, into: torch.Tensor) -> torch.Tensor:
        if not (self._on_host and into.is_cuda):
            return into
        return torch.empty(into.shape, dtype=into.dtype, pin_memory=True)
