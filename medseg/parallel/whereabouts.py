"""In which module of the network an operation was called."""

import threading
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from medseg.parallel.calls import plainly, tensors_in
from medseg.parallel.checkpointing import refuse_compiler
from medseg.parallel.errors import Unsupported, UnsupportedOperation

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
        self._given: set[int] = set()  # tensors that the outermost module was given

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

    @property
    def is_inside(self) -> bool:
        """Whether a module is under way."""
        return bool(self._stack)

    def made_inside(self, tensor: torch.Tensor) -> bool:
        """Whether an untracked tensor was made by the module that is under way, and not given to it."""
        return bool(self._stack) and id(tensor) not in self._given

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        refuse_compiler()
        if threading.get_ident() != self._thread:
            return
        if isinstance(module, torch.jit.ScriptModule):
            raise UnsupportedOperation("torch.jit", self.name(), "a module that was scripted or traced runs past it")
        if not self._stack:
            self._given = {id(tensor) for tensor in tensors_in((inputs, plainly(inputs)))}
            for one in module.modules():  # a module may use what another one holds
                self._hold(one)
        self._stack.append(module)
        self._hold(module)

    def _hold(self, module: nn.Module) -> None:
        """What a module holds is the same on every rank; its input is not, though it may hold that too."""
        for tensor in tensors_in(plainly((module._buffers, module._parameters, vars(module)))):
            known = self._sharding.is_tracked(tensor) or isinstance(tensor, nn.Parameter)
            if not known and id(tensor) not in self._given:
                self._sharding.replicated(tensor)

    def _exit(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if threading.get_ident() != self._thread or not self._stack or self._stack[-1] is not module:
            return
        try:
            for tensor in tensors_in(output):
                self._sharding.check_known(tensor)
        except Unsupported as error:
            raise UnsupportedOperation("its result", self.name(), str(error)) from error
        finally:
            self._stack.pop()
