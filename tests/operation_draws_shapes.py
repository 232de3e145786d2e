"""Random calls of operations: other views, pieces, reductions, along one dimension."""

from math import prod
from random import Random
from typing import Any

from operation_cases import Case, Setting, draw_setting, replicated
from operation_draws import draws, volume

RARELY = 0.2


def any_cut(rng: Random, *, ndim: int | None = None, most: int = 6) -> tuple[tuple[int, ...], Setting]:
    """A tensor that is cut along any dimensions at all."""
    ndim = rng.randint(2, 5) if ndim is None else ndim
    shape = tuple(rng.randint(1, most) for _ in range(ndim))
    return shape, draw_setting(rng, range(ndim))


def counted(rng: Random, dim: int, ndim: int) -> int:
    """The same dimension, perhaps counted from the end."""
    return dim - ndim if rng.random() < 0.4 else dim


def _order(rng: Random, ndim: int) -> list[int]:
    order = list(range(ndim))
    rng.shuffle(order)
    return order


@draws("permute transpose swapaxes swapdims movedim moveaxis unsqueeze squeeze t T H mT mH flatten")
def moved_dims(rng: Random, path: str) -> Case:
    name = path.rpartition(".")[2]
    shape, setting = any_cut(rng, ndim=2 if name in ("t", "T", "H") else None)
    ndim = len(shape)
    a, b = (counted(rng, rng.randrange(ndim), ndim) for _ in range(2))
    order = tuple(_order(rng, ndim))
    start = rng.randrange(ndim)
    args: dict[str, tuple[Any, ...]] = {
        "permute": (order,), "movedim": (a, b) if rng.random() < 0.5 else ((0, 1), (ndim - 1, 0)),
        **dict.fromkeys(("t", "T", "H", "mT", "mH"), ()),
        "unsqueeze": (rng.randint(-ndim - 1, ndim),), "squeeze": rng.choice(((), (a,))),
        "flatten": (start, counted(rng, rng.randint(start, ndim - 1), ndim)),
    }  # fmt: skip
    args["moveaxis"] = args["movedim"]
    return Case(path, (setting.slab(shape, rng), *args.get(name, (a, b))), {}, setting)


@draws("reshape view view_as reshape_as")
def reshaped(rng: Random, path: str) -> Case:
    shape, setting = any_cut(rng, most=4)
    target = _regrouped(rng, shape)
    name = path.rpartition(".")[2]
    x = setting.slab(shape, rng)
    if name.endswith("_as"):
        return Case(path, (x, replicated(target, rng)), {}, setting)
    if rng.random() < 0.5:
        side = rng.randrange(len(target))
        target = (*target[:side], -1, *target[side + 1 :])
    return Case(path, (x, target), {}, setting)


def _regrouped(rng: Random, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The same number of elements in other sides: some merged, some split, ones put in and left out."""
    sides: list[int] = []
    for side in shape:
        if sides and rng.random() < 0.4:
            sides[-1] *= side
        elif side == 1 and rng.random() < 0.5 and sides:
            continue
        else:
            sides.append(side)
    out: list[int] = []
    for side in sides:
        factors = [n for n in range(2, side) if side % n == 0]
        if factors and rng.random() < 0.5:
            first = rng.choice(factors)
            out += [first, side // first]
        else:
            out += [1, side] if rng.random() < 0.1 else [side]
    return tuple(out)


@draws("unflatten")
def unflattened(rng: Random, path: str) -> Case:
    shape, setting = any_cut(rng)
    dim = rng.randrange(len(shape))
    factors = [n for n in range(1, shape[dim] + 1) if shape[dim] % n == 0]
    first = rng.choice(factors)
    sizes = rng.choice(((first, shape[dim] // first), (first, -1), (-1, first)))
    return Case(path, (setting.slab(shape, rng), counted(rng, dim, len(shape)), sizes), {}, setting)


@draws("expand expand_as broadcast_to repeat tile")
def repeated(rng: Random, path: str) -> Case:
    shape, setting = any_cut(rng, ndim=rng.randint(2, 4))
    name = path.rpartition(".")[2]
    extra = tuple(rng.randint(1, 3) for _ in range(rng.randint(0, 1)))
    x = setting.slab(shape, rng)
    if name in ("repeat", "tile"):
        times = (*extra, *(rng.choice((1, 1, 2)) for _ in shape))
        return Case(path, (x, times), {}, setting)
    target = (*extra, *(rng.choice((1, 3)) if side == 1 else side for side in shape))
    if name == "expand_as":
        return Case(path, (x, replicated(target, rng)), {}, setting)
    if name == "expand":
        target = tuple(-1 if n >= len(extra) and rng.random() < RARELY else side for n, side in enumerate(target))
    return Case(path, (x, target), {}, setting)


@draws("cat concat concatenate stack")
def together(rng: Random, path: str) -> Case:
    name = path.rpartition(".")[2]
    shape, setting = any_cut(rng, ndim=rng.randint(2, 4))
    dim = rng.randrange(len(shape) + (name == "stack"))
    operands = []
    for number in range(rng.randint(1, 3)):
        sides = list(shape)
        if name != "stack":
            sides[dim] = rng.randint(1, 6)
        if number and rng.random() < RARELY:
            operands.append(replicated(sides, rng))
        else:
            operands.append(setting.slab(sides, rng, moved=rng.random() < 0.3))
    return Case(path, (tuple(operands), counted(rng, dim, len(shape) + (name == "stack"))), {}, setting)


@draws("narrow select split split_with_sizes chunk unbind __iter__ flip roll index_select")
def pieces(rng: Random, path: str) -> Case:
    name = path.rpartition(".")[2]
    shape, setting = any_cut(rng)
    ndim = len(shape)
    dim = rng.randrange(ndim)
    rows, signed = shape[dim], counted(rng, dim, ndim)
    start = rng.randrange(rows)
    first = rng.randint(0, rows)
    some = tuple(_order(rng, ndim)[: rng.randint(1, ndim)])
    shifts = tuple(rng.randint(-7, 7) for _ in some)
    args: dict[str, tuple[Any, ...]] = {
        "narrow": (signed, rng.choice((start, start - rows)), rng.randint(0, rows - start)),
        "select": (signed, rng.randint(-rows, rows - 1)),
        "split": (rng.choice((rng.randint(1, rows), (first, rows - first))), signed),
        "split_with_sizes": ((first, rows - first), signed), "chunk": (rng.randint(1, 4), signed), "unbind": (signed,),
        "__iter__": (), "flip": (some,), "roll": rng.choice(((shifts, some), (shifts[0], dim), (shifts[0],))),
    }  # fmt: skip
    if name == "index_select":
        uncut = [one for one in range(ndim) if one not in setting.dims] or [dim]
        one = rng.choice(uncut)
        index = replicated((4,), rng, "integers")
        shape = tuple(7 if n == one else side for n, side in enumerate(shape))
        x = setting.slab(shape, rng)
        return Case(path, (x, one, index), {}, setting, may_refuse=one in setting.dims)
    return Case(path, (setting.slab(shape, rng), *args[name]), {}, setting)


def _index(rng: Random, shape: tuple[int, ...], *, whole: tuple[int, ...] = ()) -> tuple[Any, ...]:
    """Slices with steps, numbers, None and an ellipsis; everything along the dimensions `whole`."""
    entries: list[Any] = []
    for dim, rows in enumerate(shape):
        kind = rng.randrange(5)
        if dim in whole or kind == 0:
            entries.append(slice(None))
        elif kind == 1:
            entries.append(rng.randint(-rows, rows - 1))
        else:
            ends = [rng.choice((None, rng.randint(-rows - 1, rows + 1))) for _ in range(2)]
            entries.append(slice(*ends, rng.choice((None, 1, 2, 3))))
    if rng.random() < 0.3:
        entries = entries[: rng.randint(1, len(entries))] + ([...] if rng.random() < 0.5 else [])
    return tuple(entries)


@draws("__getitem__")
def taken(rng: Random, path: str) -> Case:
    shape, setting = any_cut(rng)
    index = _index(rng, shape)
    kind = rng.random()
    if kind < 0.2:
        index = (None, *index)
    elif kind < 0.35:
        index = ([0, shape[0] - 1], *index[1:])
    elif kind < 0.45:
        return Case(path, (setting.slab(shape, rng), setting.slab(shape, rng, "bits")), {}, setting)
    return Case(path, (setting.slab(shape, rng), index), {}, setting)


@draws("__setitem__")
def put(rng: Random, path: str) -> Case:
    shape, setting = any_cut(rng)
    index = _index(rng, shape, whole=() if rng.random() < RARELY else setting.dims)
    return Case(path, (setting.slab(shape, rng), index, 2.5), {}, setting, may_refuse=True)


@draws("sum mean var std var_mean count_nonzero norm amax amin max min argmax argmin any all linalg_norm")
def reduced(rng: Random, path: str) -> Case:
    name = path.rpartition(".")[2]
    shape, setting = any_cut(rng, ndim=rng.randint(2, 4))
    ndim = len(shape)
    values = {"any": "bits", "all": "bits"}.get(name, rng.choice(("normal", "ties")))
    x = setting.slab(shape, rng, values)
    some = tuple(counted(rng, one, ndim) for one in _order(rng, ndim)[: rng.randint(1, ndim)])
    one, keep = rng.choice(some), {"keepdim": rng.random() < 0.5}
    if name in ("max", "min") and rng.random() < 0.3:
        return Case(path, (x, setting.slab(shape, rng, values, moved=True)), {}, setting)
    if name in ("max", "min"):
        return Case(path, *rng.choice((((x,), {}), ((x, one), keep))), setting)
    if name in ("argmax", "argmin"):
        return Case(path, (x, one), keep, setting)
    if name in ("any", "all"):
        return Case(path, *rng.choice((((x,), {}), ((x, one), keep), ((x, some), keep))), setting)
    if name == "count_nonzero":
        return Case(path, *rng.choice((((x,), {}), ((x, some), {}))), setting)
    if "norm" in name:
        return Case(path, (x,), rng.choice(({}, {"dim": one, **keep})), setting)
    if name in ("var", "std", "var_mean"):
        given = {**keep, **rng.choice(({"correction": 0}, {"correction": 1}, {"unbiased": False}))}
        if prod(shape[dim] for dim in some) < 2:
            given = {"correction": 0}  # and not a division by zero
        return Case(path, (x, some), given, setting)
    return Case(path, *rng.choice((((x,), {}), ((x, some), keep), ((x, one), keep), ((x,), {"dim": some}))), setting)


@draws("softmax log_softmax softmin cumsum cumprod logcumsumexp normalize glu one_hot prelu gather scatter")
def along(rng: Random, path: str) -> Case:
    name = path.rpartition(".")[2].removeprefix("special_").rstrip("_")
    shape, setting = any_cut(rng, ndim=rng.randint(2, 4))
    dim = rng.randrange(len(shape))
    signed = counted(rng, dim, len(shape))
    if name == "one_hot":
        return Case(path, (setting.slab(shape, rng, "labels"), 3), {}, setting)
    if name == "prelu":
        shape, setting = volume(rng)
        return Case(path, (setting.slab(shape, rng), replicated((rng.choice((1, shape[1])),), rng)), {}, setting)
    if name in ("gather", "scatter"):
        return _by_index(rng, path, shape, setting)
    if name == "glu":
        shape = tuple(2 * side if n == dim else side for n, side in enumerate(shape))
    x = setting.slab(shape, rng)
    if name == "normalize":
        return Case(path, (x,), rng.choice(({}, {"dim": signed}, {"p": 1.0, "dim": signed})), setting)
    return Case(path, (x, signed), {}, setting)


def _by_index(rng: Random, path: str, shape: tuple[int, ...], setting: Setting) -> Case:
    uncut = [dim for dim in range(len(shape)) if dim not in setting.dims]
    dim = rng.choice(uncut or list(range(len(shape))))
    wide = tuple(3 if n == dim else side for n, side in enumerate(shape))
    thin = tuple(1 if n == dim else side for n, side in enumerate(shape))
    x, index = setting.slab(wide, rng), setting.slab(thin, rng, "labels")
    last = () if "gather" in path else (rng.choice((1.5, setting.slab(thin, rng))),)
    return Case(path, (x, dim, index, *last), {}, setting, may_refuse=dim in setting.dims)
