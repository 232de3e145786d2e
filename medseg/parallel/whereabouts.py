"""In which module of the network an operation was called."""

import threading
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

if TYPE_CHECKING:
    from medseg.parallel.sharding import Sharding

__all__ = ["ModuleStack"]


class ModuleStack:
    """The modules whose forward pass is under way in this thread while a sharding context is active.

    It also notes that buffers, and tensors that a module holds as plain attributes, are the same on every rank.
    """

    def __init__(self, sharding: "Sharding") -> None:
        self._sharding = sharding
        self._stack: list[nn.Module] = []
        self._handles: list[list[RemovableHandle]] = []
        self._thread = 0

    def watch(self) -> None:
        """Begin."""
        self._thread = threading.get_ident()
        before = register_module_forward_pre_hook(self._enter)
        after = register_module_forward_hook(self._exit, always_call=True)
        self._handles.append([before, after])

    def leave(self) -> None:
        """End."""
        for handle in self._handles.pop():
            handle.remove()
        if not self._handles:
            self._stack.clear()

    def name(self) -> str:
        """Qualified name and class of the innermost module, such as ``encoder.0.conv (Conv3d)``; empty outside."""
        if not self._stack:
            return ""
        root, module = self._stack[0], self._stack[-1]
        kind = type(module).__name__
        name = next((name for name, one in root.named_modules() if one is module), "")
        return f"{name} ({kind})" if name else kind

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        self._stack.append(module)
        for tensor in (*module._buffers.values(), *vars(module).values()):
            if isinstance(tensor, torch.Tensor) and not self._sharding.is_tracked(tensor):
                self._sharding.replicated(tensor)

    def _exit(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if threading.get_ident() == self._thread and self._stack and self._stack[-1] is module:
            self._stack.pop()
