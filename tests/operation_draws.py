"""Random calls of operations, by the name of the function: operations voxel by voxel, facts, new tensors, noise.

A draw is ``draw(rng, path) -> Case``; `rng` is a `random.Random`, which hypothesis steers.
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import torch
from operation_cases import Case, Operand, Setting, draw_setting, replicated

from medseg.parallel.operations import operations
from medseg.parallel.operations.table import NAMESPACES

Draw = Callable[[Random, str], Case]
DRAWS: dict[str, Draw] = {}
NAMES = ("torch", "torch.Tensor", "torch.nn.functional", "torch._C._nn", "torch.special", "torch.linalg")

EXCEPTIONS = {  # functions that are not compared with one device, and why
    "empty new_empty empty_like": "hold nothing defined",
    "__format__ __repr__ __hash__": "text and identity of this rank's part",
    "_backward_hooks grad_fn output_nr _version retains_grad": "belong to this rank's graph",
    "register_hook register_post_accumulate_grad_hook retain_grad backward": "called on this rank's graph",
    "get_device cuda is_cuda cpu is_cpu is_mps is_xpu is_meta is_mkldnn is_nested is_quantized is_sparse device":
        "about the place in memory; the tests have one device",
    "_is_view is_contiguous layout is_leaf": "about memory; parts may lie in it otherwise",
    "requires_grad requires_grad_ data grad detach detach_": "see test_refusals",
    "__array__ __bool__ __contains__ __float__ __index__ __int__ is_nonzero item numpy tolist": "see test_refusals",
    "contiguous __deepcopy__": "the same values",
    "can_cast promote_types get_default_dtype": "about types",
    "nextafter": "jumps by one unit in the last place",
}  # fmt: skip


def draws(names: str) -> Callable[[Draw], Draw]:
    """Register a draw under names of functions; those that work in place are found without their underscore."""

    def register(draw: Draw) -> Draw:
        DRAWS.update(dict.fromkeys(names.split(), draw))
        return draw

    return register


def paths() -> dict[str, Any]:
    """Dotted name of every function and property in the table of operations."""
    found: dict[str, Any] = {}
    known = operations()
    seen: set[int] = set()
    for prefix, space in zip(NAMES, NAMESPACES):
        for name in dir(space):
            one = getattr(space, name, None)
            if _hashable(one) and name not in ("spmm", "dsmm") and one in known and id(one) not in seen:
                seen.add(id(one))
                found[f"{prefix}.{name}"] = known[one]
    return found


def _hashable(one: Any) -> bool:
    return type(one).__hash__ is not None and not isinstance(one, torch.Tensor)


def excused(path: str) -> bool:
    """Whether a function is on the list of exceptions."""
    name = path.rpartition(".")[2]
    return any(name in names.split() or base(name) in names.split() for names in EXCEPTIONS)


def base(name: str) -> str:
    """Name without the underscore of an operation in place."""
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def draw_of(path: str) -> Draw | None:
    """The draw for a function; None where there is none."""
    name = path.rpartition(".")[2]
    return DRAWS.get(name) or DRAWS.get(base(name)) or DRAWS.get(name.removeprefix("special_"))


def in_place(path: str) -> bool:
    """Whether the function of this name changes its first argument."""
    name = path.rpartition(".")[2]
    return name != base(name) or (name.startswith("__i") and name not in ("__invert__", "__iter__"))


def volume(rng: Random, *, dims: int | None = None, most: int = 9) -> tuple[tuple[int, ...], Setting]:
    """Shape (batch, channel, ...) of one to three spatial dimensions, and how it is cut along them."""
    dims = rng.choice((1, 2, 3)) if dims is None else dims
    shape = (rng.choice((1, 2)), rng.choice((1, 2, 4)), *(rng.randint(1, most if dims < 3 else 6) for _ in range(dims)))
    return shape, draw_setting(rng, range(2, dims + 2))


POSITIVE = "log log2 log10 log1p sqrt rsqrt digamma lgamma reciprocal logcumsumexp"
INSIDE = "acos arccos asin arcsin atanh arctanh erfinv"
ARGUMENTS: dict[str, list[tuple[Any, ...]]] = {
    "clamp": [(-0.5, 0.7), (None, 0.3), (0.1,)], "clip": [(-0.5, 0.7)], "clamp_max": [(0.3,)], "clamp_min": [(0.3,)],
    "hardtanh": [(), (-0.3, 0.4)], "threshold": [(0.1, 0.2)], "_threshold": [(0.1, 0.2)], "leaky_relu": [(), (0.2,)],
    "full_like": [(3.5,)], "to": [(torch.float32,), (torch.float64,), (torch.int64,)], "type": [(torch.float32,)],
    "celu": [(), (0.5,)], "elu": [(), (0.7,)], "softplus": [(), (2.0, 1.0)], "softshrink": [(), (0.2,)],
    "hardshrink": [(), (0.2,)], "logit": [(), (0.2,)],
}  # fmt: skip


@draws("""
    abs absolute acos acosh angle arccos arcsin arctan asin asinh atan atanh ceil celu clamp clamp_max clamp_min clip
    clone conj cos cosh deg2rad digamma elu erf erfc erfinv exp exp2 expm1 expit fix floor frac gelu half float double
    bfloat16 int long short char byte bool hardshrink hardsigmoid hardswish hardtanh i0 isfinite isinf isnan isneginf
    isposinf isreal leaky_relu lgamma log log10 log1p log2 logical_not logit logsigmoid log_sigmoid mish nan_to_num neg
    negative ones_like zeros_like full_like positive rad2deg reciprocal relu relu6 round rsqrt selu sgn sigmoid sign
    signbit silu sin sinc sinh softplus softshrink softsign sqrt square tan tanh tanhshrink threshold _threshold to
    trunc type __neg__ __abs__ __pos__ bitwise_not __invert__ zero
""")
def unary(rng: Random, path: str) -> Case:
    shape, setting = volume(rng)
    name = base(path.rpartition(".")[2]).removeprefix("special_")
    values = "positive" if name in POSITIVE.split() else "inside" if name in INSIDE.split() else "normal"
    values = {"acosh": "above_one", "logit": "unit", "bitwise_not": "integers", "__invert__": "bits"}.get(name, values)
    if name in ("byte", "char"):
        values = "positive"  # what becomes of others is not defined
    args = rng.choice(ARGUMENTS.get(name, [()]))
    kwargs = {"inplace": True} if path.endswith("functional.relu") and rng.random() < 0.5 else {}
    return Case(path, (setting.slab(shape, rng, values), *args), kwargs, setting)


BITS = "bitwise_and bitwise_or bitwise_xor __and__ __or__ __xor__ __rand__ __ror__ __rxor__ __iand__ __ior__ __ixor__"
TENSORS_ONLY = "fill type_as copy heaviside maximum minimum fmax fmin logaddexp logaddexp2"


@draws("""
    add arctan2 atan2 bitwise_and bitwise_or bitwise_xor copysign div divide eq floor_divide fmax fmin fmod ge greater
    greater_equal gt hypot le less less_equal logaddexp logaddexp2 logical_and logical_or logical_xor lt maximum
    minimum mul multiply ne not_equal pow remainder rsub sub subtract true_divide type_as xlogy heaviside float_power
    fill copy __add__ __and__ __div__ __eq__ __floordiv__ __ge__ __gt__ __le__ __lt__ __mod__ __mul__ __ne__ __or__
    __pow__ __radd__ __rand__ __rdiv__ __rfloordiv__ __rmod__ __rmul__ __ror__ __rpow__ __rsub__ __rtruediv__ __rxor__
    __sub__ __truediv__ __xor__ __iadd__ __iand__ __idiv__ __ifloordiv__ __imod__ __imul__ __ior__ __ipow__ __isub__
    __ixor__ __itruediv__
""")
def binary(rng: Random, path: str) -> Case:
    shape, setting = volume(rng)
    name = base(path.rpartition(".")[2])
    values = "integers" if name in BITS.split() else "positive"
    first: Any = setting.slab(shape, rng, values)
    second = _second(rng, setting, shape, values)
    if name in ("fill", "__rpow__") or rng.random() < 0.15:
        second = 3 if values == "integers" else 1.5
    if name in TENSORS_ONLY.split():
        second = 1.5 if name == "fill" else setting.slab(shape, rng, values, moved=True)
    if name in ("arctan2", "atan2", "copysign", "hypot", "logical_and", "logical_or", "logical_xor", "xlogy"):
        second = second if isinstance(second, Operand) else setting.slab(shape, rng, values)
    if isinstance(second, Operand) and not in_place(path) and not path.startswith("torch.Tensor.__"):
        first, second = (second, first) if rng.random() < 0.3 else (first, second)
    return Case(path, (first, second), {}, setting)


def _second(rng: Random, setting: Setting, shape: tuple[int, ...], values: str) -> Operand:
    """Another operand that is broadcast to `shape`: cut alike, cut elsewhere, the same on every rank."""
    kind = rng.randrange(4)
    if kind < 2:
        uncut = [dim for dim in range(len(shape)) if dim not in setting.dims]
        thin = tuple(1 if dim in uncut and rng.random() < 0.4 else side for dim, side in enumerate(shape))
        return setting.slab(thin, rng, values, moved=kind == 1)
    some = tuple(1 if rng.random() < 0.5 else side for side in shape)
    return replicated(some[rng.randint(0, len(shape)) :] if kind == 2 else some, rng, values)


@draws("addcdiv addcmul lerp where masked_fill")
def several(rng: Random, path: str) -> Case:
    shape, setting = volume(rng)
    name = base(path.rpartition(".")[2])
    first = setting.slab(shape, rng)
    others = [_second(rng, setting, shape, "positive") for _ in range(2)]
    if name == "lerp":
        return Case(path, (first, setting.slab(shape, rng), rng.choice((0.3, others[1]))), {}, setting)
    if name == "masked_fill":
        mask = setting.slab(shape, rng, "bits", moved=rng.random() < 0.5)
        return Case(path, (first, mask, rng.choice((2.0, replicated((), rng)))), {}, setting)
    if name == "where":
        mask = setting.slab(shape, rng, "bits")
        args = (mask, first, others[0]) if "Tensor" not in path else (first, mask, others[0])
        return Case(path, args, {}, setting)
    return Case(path, (first, *others), rng.choice(({}, {"value": 0.5})), setting)


@draws("dtype element_size is_complex is_floating_point is_signed itemsize size shape numel nelement dim ndim "
       "ndimension __len__")  # fmt: skip
def fact(rng: Random, path: str) -> Case:
    shape, setting = volume(rng)
    return Case(path, (setting.slab(shape, rng),), {}, setting)


MADE: dict[str, list[tuple[Any, ...]]] = {
    "zeros": [(2, 3), ((2, 3),)], "ones": [(4,)], "full": [((2, 3), 1.5)], "eye": [(3,), (2, 3)],
    "arange": [(5,), (1, 9, 2)], "linspace": [(0.0, 1.0, 5)], "logspace": [(0.0, 1.0, 5)], "tensor": [([1.0, 2.0],)],
    "as_tensor": [([1, 2],)], "asarray": [([1, 2],)], "scalar_tensor": [(2.0,)], "tril_indices": [(3, 3)],
    "new_zeros": [(2, 3)], "new_ones": [((2,),)], "new_full": [((2, 3), 2.0)], "new_tensor": [([1.0, 2.0],)],
    "rand": [(2, 3), ((4,),)], "randn": [(2, 3)],
}  # fmt: skip


@draws("zeros ones full eye arange linspace logspace tensor as_tensor asarray scalar_tensor tril_indices rand randn")
def made(rng: Random, path: str) -> Case:
    _, setting = volume(rng)
    return Case(path, rng.choice(MADE[path.rpartition(".")[2]]), {}, setting, seed=rng.randrange(99))


@draws("new_zeros new_ones new_full new_tensor")
def made_alike(rng: Random, path: str) -> Case:
    shape, setting = volume(rng)
    return Case(path, (setting.slab(shape, rng), *rng.choice(MADE[path.rpartition(".")[2]])), {}, setting)


OF_REPLICATED: dict[str, Callable[[Random], tuple[Any, ...]]] = {
    "bincount": lambda rng: (replicated((9,), rng, "integers"),),
    "diag": lambda rng: (replicated((3, 3), rng),),
    "diagonal": lambda rng: (replicated((2, 3, 3), rng),),
    "dot": lambda rng: (replicated((5,), rng), replicated((5,), rng)),
    "masked_select": lambda rng: (replicated((2, 3), rng), replicated((2, 3), rng, "bits")),
    "meshgrid": lambda rng: (replicated((2,), rng), replicated((3,), rng)),
    "multi_dot": lambda rng: ((replicated((2,), rng), replicated((2, 3), rng), replicated((3, 2), rng)),),
    "mv": lambda rng: (replicated((2, 5), rng), replicated((5,), rng)),
    "nonzero": lambda rng: (replicated((2, 3), rng, "ties"),),
    "outer": lambda rng: (replicated((2,), rng), replicated((3,), rng)),
    "repeat_interleave": lambda rng: (replicated((2, 3), rng), 2, 0),
    "sort": lambda rng: (replicated((2, 5), rng), 1),
    "topk": lambda rng: (replicated((2, 5), rng), 2, 1),
    "tril": lambda rng: (replicated((3, 3), rng),),
    "triu": lambda rng: (replicated((3, 3), rng), 1),
    "unique": lambda rng: (replicated((9,), rng, "ties"),),
    "vdot": lambda rng: (replicated((5,), rng), replicated((5,), rng)),
    "_weight_norm": lambda rng: (replicated((2, 3), rng), replicated((2, 1), rng)),
}


@draws(" ".join(OF_REPLICATED))
def of_replicated(rng: Random, path: str) -> Case:
    _, setting = volume(rng)
    return Case(path, OF_REPLICATED[path.rpartition(".")[2]](rng), {}, setting)


@draws(
    "dropout dropout1d dropout2d dropout3d feature_dropout rand_like randn_like bernoulli normal uniform exponential"
)
def noise(rng: Random, path: str) -> Case:
    name = base(path.rpartition(".")[2])
    shape, setting = volume(rng, dims=int(name[-2]) if name[-1] == "d" else None)
    if name in ("dropout1d", "dropout3d") and setting.dims != (2,) and rng.random() < 0.4:
        shape = shape[1:]  # without a batch
        setting = draw_setting(rng, range(1, len(shape)))
    args = {"bernoulli": (0.3,), "normal": (0.0, 2.0), "uniform": (-1.0, 1.0)}.get(name, ())
    args = (rng.choice((0.0, 0.3, 0.9)), rng.random() < 0.8) if "dropout" in name else args
    values = "ones_and_zeros" if in_place(path) and "dropout" not in name else "normal"
    return Case(path, (setting.slab(shape, rng, values), *args), {}, setting, seed=rng.randrange(99))


def examples(path: str) -> Iterator[str]:
    """Paths of the same name in every namespace: a method, a function, in place."""
    name = base(path.rpartition(".")[2])
    return (other for other in paths() if base(other.rpartition(".")[2]) == name)
