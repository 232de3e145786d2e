"""Activation checkpointing: what is computed again in the backward pass is computed on parts, as it was at first.

A torch function mode is not active while the backward pass runs, so that a checkpointed region would be computed again
on each rank's part alone, in silence. While a sharding context is active, the frame that torch keeps for each region
that is entered in it is one that enters the context again. It also goes through all of the region every time: ranks
whose last stored tensors are in different places (one of them may have no rows) would otherwise stop at different
places, and wait for each other's messages.
"""

import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch._C._dynamo.eval_frame import get_eval_frame_callback
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils import checkpoint as torch_checkpoint

from medseg.errors import ConfigError
from medseg.parallel.errors import UnsupportedOperation

__all__ = ["Resumable", "active", "checkpoint_contexts", "refuse_compiler"]

_NAME = "torch.utils.checkpoint.checkpoint"
_Frame: Any = torch_checkpoint._CheckpointFrame
_Reentrant: Any = torch_checkpoint.CheckpointFunction


class Resumable(TorchFunctionMode, ABC):
    """A torch function mode under which a checkpointed region is computed again."""

    def __init__(self) -> None:
        super().__init__()
        self._pushed: list[bool] = []

    @abstractmethod
    def resumed(self) -> "Resumable":
        """Return a new context like this one, for the thread of the backward pass."""

    @abstractmethod
    def agrees(self, other: "Resumable") -> bool:
        """Whether what is tracked in one of the two holds in the other."""

    @abstractmethod
    def memo(self, tensor: Any) -> Any:
        """What is known about a tensor that a region is given; None for what is no tensor."""

    @abstractmethod
    def recall(self, tensor: torch.Tensor, memo: Any) -> None:
        """Note it for the tensor that stands for the same when the region is computed again."""

    def start(self) -> bool:
        """Become active; False where a context that agrees is active already.

        Raises
        ------
        ConfigError
            Inside of another one that does not agree.
        """
        if torch._C._is_torch_function_all_disabled():
            raise ConfigError("a sharding context cannot be entered where torch functions cannot be overridden")
        refuse_compiler()
        outer = active()
        if outer is not None and not self.agrees(outer):
            raise ConfigError("a sharding context cannot be entered inside of another one")
        if outer is None:
            _patches.acquire()
            super().__enter__()
        self._pushed.append(outer is None)
        return outer is None

    def finish(self, *error: Any) -> bool:
        """Leave; whether this was active itself."""
        pushed = self._pushed.pop()
        if pushed:
            super().__exit__(*error)
            _patches.release()
        return pushed


def refuse_compiler() -> None:
    """Raise an error where ``torch.compile`` traces this, or what called this: it would trace past the context.

    Raises
    ------
    UnsupportedOperation
    """
    if torch.compiler.is_compiling() or callable(get_eval_frame_callback()):
        reason = "enter the context outside of what is compiled, and compile before the first context is entered"
        raise UnsupportedOperation("torch.compile", "", reason)


def active() -> Resumable | None:
    """Return the sharding context that is active in this thread."""
    if torch._C._is_torch_function_all_disabled():
        return None
    modes = _get_current_function_mode_stack()
    return next((mode for mode in reversed(modes) if isinstance(mode, Resumable)), None)


def checkpoint_contexts(context: Resumable) -> Callable[[], tuple[AbstractContextManager, AbstractContextManager]]:
    """Contexts for ``torch.utils.checkpoint.checkpoint(..., use_reentrant=False, context_fn=...)``.

    Inside a sharding context checkpoints need none; this is for those that state it, and for other implementations of
    checkpointing that take a `context_fn`.

    Parameters
    ----------
    context : Sharding
        What `spatial_parallel` or `out_of_core` returned.

    Returns
    -------
    callable
        Returns a context for the forward pass, which does nothing, and one for computing again.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.checkpoint import checkpoint
    >>> from medseg.parallel import checkpoint_contexts, spatial_parallel
    >>> network = torch.nn.Conv3d(1, 1, 3, padding=1)
    >>> with spatial_parallel() as context:
    ...     again = checkpoint_contexts(context)
    ...     y = checkpoint(network, torch.ones(1, 1, 4, 4, 4), use_reentrant=False, context_fn=again)
    >>> y.sum().backward()
    """
    return lambda: (nullcontext(), context.resumed())


class _Region:
    """What is computed again, in the context that was active at first, and what was known about its arguments."""

    def __init__(self, context: Resumable, recompute: Callable[..., None]) -> None:
        self._context, self._recompute = context, recompute
        self._memos: list[Any] = []

    def note(self, args: tuple[Any, ...]) -> None:
        with torch._C.DisableTorchFunction():
            self._memos = [self._context.memo(arg) for arg in args]

    def __call__(self, *args: Any) -> None:
        with torch._C.DisableTorchFunction():
            for arg, memo in zip(args, self._memos):
                if memo is not None:
                    self._context.recall(arg, memo)
        with self._context.resumed():  # type: ignore[attr-defined]
            self._recompute(*args)


class _ShardedFrame(_Frame):
    """The frame of a region that was entered inside of a sharding context."""

    def __init__(self, context: Resumable, recompute_fn: Any, early_stop: bool, *rest: Any, **named: Any) -> None:
        self._region = _Region(context, recompute_fn)
        super().__init__(self._region, False, *rest, **named)

    def save_inputs(self, *args: Any) -> None:
        self._region.note(args)
        with torch._C.DisableTorchFunction():
            super().save_inputs(*args)


def _frame(*args: Any, **kwargs: Any) -> Any:
    context = active()
    if context is None:
        return _Frame(*args, **kwargs)
    if not hasattr(_Frame, "save_inputs"):
        raise UnsupportedOperation(_NAME, "", f"checkpointing of torch {torch.__version__}, which works otherwise")
    return _ShardedFrame(context, *args, **kwargs)


def _forward_of_reentrant(ctx: Any, *args: Any) -> Any:
    if active() is not None:
        raise UnsupportedOperation(_NAME, "", "reentrant checkpointing; say use_reentrant=False")
    return _plain_forward(ctx, *args)


_plain_forward = _Reentrant.forward


class _Patches:
    """Replaces what torch's checkpointing is made of while a sharding context is active in any thread.

    Meanwhile what ``torch.compile`` made runs as it is written: a compiler would trace past the context.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._stance: Any = None

    def acquire(self) -> None:
        with self._lock:
            self._users += 1
            if self._stance is None and "torch._dynamo" in sys.modules:
                self._stance = torch.compiler.set_stance("force_eager")
            if self._users == 1:
                torch_checkpoint._CheckpointFrame = _frame  # type: ignore[assignment, misc]
                _Reentrant.forward = staticmethod(_forward_of_reentrant)

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                torch_checkpoint._CheckpointFrame = _Frame  # type: ignore[misc]
                _Reentrant.forward = staticmethod(_plain_forward)
                if self._stance is not None:
                    self._stance.__exit__(None, None, None)
                    self._stance = None


_patches = _Patches()
