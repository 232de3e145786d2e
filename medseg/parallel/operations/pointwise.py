"""Operations whose value at a voxel depends on that voxel alone, and facts about a tensor."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from medseg.parallel.aliases import is_in_place
from medseg.parallel.operations.table import Table, functions
from medseg.parallel.sharding import Handler, Sharding, Unsupported
from medseg.parallel.space import Place

__all__ = ["pointwise", "table"]

UNARY = """
    abs absolute acos acosh angle arccos arcsin arctan asin asinh atan atanh bitwise_not ceil celu clamp clamp_max
    clamp_min clip clone contiguous conj cos cosh cpu cuda deg2rad detach_ digamma elu erf erfc erfinv exp exp2 expm1
    expit fix floor frac gelu half float double bfloat16 int long short char byte bool hardshrink hardsigmoid hardswish
    hardtanh i0 isfinite isinf isnan isneginf isposinf isreal leaky_relu lgamma log log10 log1p log2 logical_not logit
    logsigmoid mish nan_to_num neg negative ones_like zeros_like full_like empty_like positive rad2deg reciprocal relu
    relu6 round rsqrt selu sgn sigmoid sign signbit silu sin sinc sinh softplus softshrink softsign sqrt square tan tanh
    tanhshrink threshold trunc __neg__ __invert__ __abs__ __pos__
"""
SEVERAL = """
    add addcdiv addcmul arctan2 atan2 bitwise_and bitwise_or bitwise_xor copysign div divide eq fill_ floor_divide
    fmax fmin fmod ge greater greater_equal gt hypot huber lerp logaddexp logaddexp2 logical_and logical_or logical_xor
    le less less_equal lt masked_fill maximum minimum mul multiply ne not_equal pow remainder rsub sub subtract
    true_divide xlogy zero_ copy_ nextafter heaviside float_power
    __add__ __and__ __div__ __eq__ __floordiv__ __ge__ __gt__ __le__ __lt__ __mod__ __mul__ __ne__ __or__ __pow__
    __radd__ __rand__ __rdiv__ __rfloordiv__ __rmod__ __rmul__ __ror__ __rpow__ __rsub__ __rtruediv__ __rxor__ __sub__
    __truediv__ __xor__
"""
FACTS = """
    is_floating_point is_complex element_size get_device is_signed _is_view
"""
PROPERTIES = """
    dtype device requires_grad is_cuda is_leaf is_sparse is_quantized is_meta is_mps is_xpu is_nested is_mkldnn layout
    itemsize grad_fn _backward_hooks is_cpu _version output_nr retains_grad
"""
LOCAL_CALLS = "retain_grad backward __repr__ __format__ __hash__"
ONE_VALUE = "item __bool__ __float__ __int__ __index__ tolist numpy __array__ __contains__ is_nonzero"


def pointwise(func: Callable, sharding: Sharding, *args: Any, **kwargs: Any) -> Any:
    """Bring the tensors among the arguments to one layout and call `func` on the parts."""
    if any(_holds_tensors(value) for value in (*args, *kwargs.values())):
        raise Unsupported("a list of tensors among the arguments")
    places = [number for number, value in enumerate(args) if isinstance(value, torch.Tensor)]
    names = [name for name, value in kwargs.items() if isinstance(value, torch.Tensor)]
    tensors = [args[number] for number in places] + [kwargs[name] for name in names]
    in_place = is_in_place(func, args, kwargs)
    if in_place:
        layout = sharding.layout(tensors[0])
        operands, goal = sharding.common(tensors)
        if goal != layout:
            divided = sharding.divided_in_place(tensors[0], goal)
            if divided is None:
                raise Unsupported("changes a tensor in place by values of another layout")
            tensors[0] = divided
            operands, goal = sharding.common(tensors)
        operands[0] = tensors[0]
    else:
        operands, goal = sharding.common(tensors)

    def local(place: Place, *parts: torch.Tensor) -> torch.Tensor:
        filled = list(args)
        for number, part in zip(places, parts):
            filled[number] = part
        named = dict(zip(names, parts[len(places) :]))
        return func(*filled, **{**kwargs, **named})

    result = sharding.space.map(local, *operands, layout=goal, in_place=in_place)
    return sharding.tag(result, goal)


def _detached(sharding: Sharding, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return pointwise(torch.detach, sharding, x)


def _learning(sharding: Sharding, x: torch.Tensor, requires_grad: bool = True) -> torch.Tensor:
    return sharding.tag(x.requires_grad_(requires_grad), sharding.layout(x))


def _converted(func: Callable, sharding: Sharding, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    """``to``, ``type``, ``type_as``: a tensor among the arguments only tells the type and the device."""
    other = kwargs.pop("other", args[0] if args else None)
    if isinstance(other, torch.Tensor):
        rest = dict(zip(("non_blocking", "copy"), args[1:]))
        return pointwise(torch.Tensor.to, sharding, x, device=other.device, dtype=other.dtype, **rest, **kwargs)
    if func is torch.Tensor.type and not (args or kwargs):
        return x.type()
    return pointwise(func, sharding, x, *args, **kwargs)


def _where(
    func: Callable, sharding: Sharding, condition: torch.Tensor, input: Any = None, other: Any = None
) -> torch.Tensor:
    if input is None or other is None:
        raise Unsupported("with a condition alone: its places are numbers of this rank's part")
    return pointwise(func, sharding, condition, input, other)


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, tuple | list) and any(isinstance(item, torch.Tensor) for item in value)


def _fact(func: Callable, sharding: Sharding, *args: Any, **kwargs: Any) -> Any:
    return func(*args, **kwargs)


def _one_value(func: Callable, sharding: Sharding, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    if not sharding.layout(x).is_replicated:
        raise Unsupported("a rank has only a part of the values; reduce them first, or leave the context")
    return func(x, *args, **kwargs)


def _shape(sharding: Sharding, x: torch.Tensor, *_: Any) -> torch.Size:
    return sharding.shape(x)


def _size(sharding: Sharding, x: torch.Tensor, dim: int | None = None) -> Any:
    shape = sharding.shape(x)
    return shape if dim is None else shape[dim]


def _numel(sharding: Sharding, x: torch.Tensor) -> int:
    return sharding.shape(x).numel()


def _length(sharding: Sharding, x: torch.Tensor) -> int:
    return sharding.shape(x)[0]


def _dim(sharding: Sharding, x: torch.Tensor, *_: Any) -> int:
    return x.ndim


def _data(sharding: Sharding, x: torch.Tensor, *args: Any) -> torch.Tensor:
    values = torch.Tensor.data.__get__(x, *args)  # type: ignore[attr-defined]
    return sharding.tag(values, sharding.layout(x))


def _is_contiguous(sharding: Sharding, x: torch.Tensor, *args: Any, **kwargs: Any) -> bool:
    if not sharding.layout(x).is_replicated:
        raise Unsupported("parts lie in memory otherwise than the whole; call contiguous() without asking")
    return x.is_contiguous(*args, **kwargs)


def table() -> Table:
    """Pointwise operations and facts."""
    entries: Table = {}
    in_place = " ".join(f"{name}_" for name in (UNARY + SEVERAL).split() if not name.endswith("_"))
    augmented = "__iadd__ __iand__ __idiv__ __ifloordiv__ __imod__ __imul__ __ior__ __ipow__ __isub__ __ixor__"
    for func in functions(UNARY + SEVERAL + in_place + f" {augmented} __itruediv__"):
        entries[func] = partial(pointwise, func)
    entries |= {func: partial(_where, func) for func in functions("where")}
    entries |= dict.fromkeys(functions("detach"), _detached)
    entries[torch.Tensor.requires_grad_] = _learning
    entries |= {func: partial(_converted, func) for func in functions("to type type_as")}
    for func in functions(FACTS + LOCAL_CALLS):
        entries[func] = partial(_fact, func)
    for func in functions(ONE_VALUE):
        entries[func] = partial(_one_value, func)
    for name in PROPERTIES.split():
        if (descriptor := getattr(torch.Tensor, name, None)) is not None and hasattr(descriptor, "__get__"):
            entries[descriptor] = partial(_fact, descriptor.__get__)
    properties: dict[Any, Handler] = {
        torch.Tensor.shape: _shape, torch.Tensor.ndim: _dim, torch.Tensor.data: _data,
    }  # fmt: skip
    entries |= properties
    entries |= dict.fromkeys(functions("size"), _size)
    entries |= dict.fromkeys(functions("numel nelement"), _numel)
    entries[torch.Tensor.__len__] = _length
    entries[torch.Tensor.is_contiguous] = _is_contiguous
    entries |= dict.fromkeys(functions("dim ndimension"), _dim)
    return entries
