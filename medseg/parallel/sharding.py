"""The context in which a network runs on parts: who has which rows is tracked, and every operation is looked up."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from medseg.parallel import aliases
from medseg.parallel.calls import fits, foreign_function, tensors_in, usual_arguments, without_subclasses
from medseg.parallel.checkpointing import Resumable, refuse_compiler
from medseg.parallel.errors import Unsupported, UnsupportedOperation
from medseg.parallel.layout import Layout
from medseg.parallel.space import Space
from medseg.parallel.tracking import OUTSIDE, TAG, Tracking, layout_of
from medseg.parallel.whereabouts import ModuleStack

__all__ = ["Handler", "Sharding", "Unsupported", "layout_of"]

Handler = Callable[..., Any]


class Sharding(Resumable, Tracking):
    """Runs unchanged modules on the parts of a space; used as a context manager.

    Inside, a tensor stands for the whole: ``x.shape`` is the shape of the whole tensor, sizes and indices that
    functions are given are those of the whole.

    Parameters
    ----------
    space : Space
    table : dict
        What to do for each torch function.
    """

    def __init__(self, space: Space, table: dict[Callable, Handler]) -> None:
        super().__init__()
        self.space = space
        self._table = table
        self._modules = ModuleStack(self)
        self._moves = 0

    def __enter__(self) -> "Sharding":
        if self.start():
            self._modules.watch()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.finish(*error):
            self._modules.leave()

    def resumed(self) -> "Sharding":
        """Return a new context of the same space."""
        return type(self)(self.space, self._table)

    def agrees(self, other: Resumable) -> bool:
        """Whether the other is a context of the same space."""
        return isinstance(other, Sharding) and other.space.signature == self.space.signature

    def memo(self, tensor: Any) -> Layout | None:
        """Layout of a tensor that a checkpointed region is given."""
        if not isinstance(tensor, torch.Tensor) or isinstance(tensor, nn.Parameter):
            return None
        return self.layout(tensor)

    def recall(self, tensor: torch.Tensor, memo: Layout) -> None:
        """Note the layout again, where the tensor is another one (it was kept on the host meanwhile)."""
        if not self.is_tracked(tensor):
            self.tag(tensor, memo)

    def __torch_function__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry out one operation."""
        refuse_compiler()
        getter = getattr(func, "__self__", None) if getattr(func, "__name__", "") == "__get__" else None
        handler = self._table.get(func if getter is None else getter)
        if handler is None:
            raise self._refusal(func, "it is not known to be right on parts of a tensor")
        name, moves = func.__name__ if getter is None else getter.__name__, self._moves
        out = (kwargs or {}).get("out")
        try:
            args, kwargs = usual_arguments(*without_subclasses(args, kwargs or {}))
            self._check_operands(func, args, kwargs)
            result = handler(self, *args, **kwargs)
            if out is not None:
                return self._put(out, result)
        except Unsupported as error:
            raise self._refusal(func, str(error)) from error
        except TypeError as error:
            if fits(handler, self, *args, **kwargs):
                raise
            raise self._refusal(func, f"with these arguments: {error}") from error
        self._check_tracked(func, result)
        if args and isinstance(args[0], torch.Tensor) and aliases.is_view_of(name, args):
            for view in tensors_in(result):
                aliases.join(view, args[0], moved=self._moves > moves, shares=self.space.views_share)
        return result

    def _put(self, out: Any, result: Any) -> torch.Tensor:
        """``out=``, as spectral normalisation has it of its vectors."""
        for one in (out, result):
            if not isinstance(one, torch.Tensor) or one.requires_grad or not self.layout(one).is_replicated:
                raise Unsupported("out= is supported where every rank has all the values, without gradients")
        if out.shape != result.shape:
            raise Unsupported("out= of another shape than the result")
        return self.run(torch.Tensor.copy_, out, result)

    def run(self, func: Callable, *args: Any, **kwargs: Any) -> Any:
        """Carry out an operation that another one is made of."""
        return self.__torch_function__(func, (), args, kwargs)

    def written(self, work: Callable, *args: Any, **kwargs: Any) -> Any:
        """Carry out an operation that is written as a network is, in torch functions."""
        TorchFunctionMode.__enter__(self)
        try:
            return work(*args, **kwargs)
        finally:
            TorchFunctionMode.__exit__(self, None, None, None)

    def _refusal(self, func: Callable, reason: str) -> UnsupportedOperation:
        return UnsupportedOperation(_name(func), self._modules.name(), reason)

    def _check_operands(self, func: Callable, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for tensor in tensors_in((args, *kwargs.values())):
            self.check_known(tensor)
        changes = args and isinstance(args[0], torch.Tensor) and aliases.is_in_place(func, args, kwargs)
        if changes and not aliases.write(args[0]):
            raise Unsupported("it changes in place what is a view on one device and a copy here")

    def check_known(self, tensor: torch.Tensor) -> None:
        """Refuse a tensor that does not hold, or whose gradient would not be, what it is on one device.

        Raises
        ------
        Unsupported
        """
        if getattr(tensor, "superseded", False):
            raise Unsupported("this tensor, kept in parts, was changed in place: use what that returned")
        if aliases.is_outdated(tensor):
            raise Unsupported("a view or the origin of this tensor was changed in place, which it has missed")
        made = foreign_function(tensor)
        if made is None:
            if not (TAG in tensor.__dict__ or isinstance(tensor, nn.Parameter)) and self._modules.made_inside(tensor):
                raise Unsupported(
                    "it is given a tensor made past the context, perhaps by torch.from_numpy or a scripted function"
                )
            return
        if tensor.__dict__.get(OUTSIDE) is made:
            return
        if TAG in tensor.__dict__ or self._modules.made_inside(tensor):
            raise Unsupported(f"it is given what the autograd function {made.__name__} has made, which is not known")

    def _check_tracked(self, func: Callable, result: Any) -> None:
        for tensor in tensors_in(result):
            if not isinstance(tensor, nn.Parameter) and TAG not in tensor.__dict__:
                raise self._refusal(func, "its result is not tracked (a fault of the table of operations)")


def _name(func: Callable) -> str:
    descriptor = getattr(func, "__self__", None)
    if getattr(func, "__name__", "") in ("__get__", "__set__", "__delete__") and descriptor is not None:
        return f"torch.Tensor.{descriptor.__name__}"
    module = getattr(func, "__module__", None) or ""
    name = getattr(func, "__name__", str(func))
    if module.startswith("torch.nn.functional"):
        return f"torch.nn.functional.{name}"
    return name if "." in name else f"torch.{name}"
