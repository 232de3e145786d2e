"""Bytes of the tensors that are alive while operations run, real ones or fake ones."""

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

__all__ = ["LiveBytes"]


class LiveBytes(TorchDispatchMode):
    """Counts the storages of all tensors that operations return, each once, until they are gone.

    torch's own `MemTracker` finds the same peak, but compares with every module at every operation, which takes a
    minute for a DenseNet. What kernels allocate and free within one operation is not seen.

    Attributes
    ----------
    now, peak : int
        Bytes alive now, and at most so far.

    Examples
    --------
    >>> with LiveBytes() as live:
    ...     x = torch.zeros(256)
    ...     y = x + x
    ...     del x
    >>> live.now, live.peak
    (1024, 2048)
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: dict[int, weakref.ref] = {}

    def hold(self, *tensors: torch.Tensor) -> None:
        """Count tensors that were there before."""
        for tensor in tensors:
            self._add(tensor)

    def _add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()  # one Python object as long as the storage lives
        key, n_bytes = id(storage), storage.nbytes()
        if key in self._alive:
            return

        def gone(_: object) -> None:
            del self._alive[key]
            self.now -= n_bytes

        self._alive[key] = weakref.ref(storage, gone)
        self.now += n_bytes
        self.peak = max(self.peak, self.now)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self._add, result)
        return result
