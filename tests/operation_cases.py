"""One call of a torch function on parts and on one device, and how far apart the two are.

A `Case` is plain data that travels to the ranks; each of them builds the whole operands from their seeds, calls the
function on them, then on its own part inside `spatial_parallel`, and compares outputs and gradients.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from random import Random
from typing import Any

import torch
import torch.distributed as dist
from rank_pool import Seat, get_pool

from medseg.parallel import Layout, UnsupportedOperation, layout_of, spatial_parallel

EXACT = 1e-12  # max |difference| over the largest absolute value, float64
LEAST = 1e-3  # values that cancel out are compared with this
REFUSED = "refused"


@dataclass(frozen=True)
class Operand:
    """A tensor of a call.

    `values` names how it is drawn (see `drawn`); `cuts` are the ends of the ranks' parts, as shares of a side, for
    every axis of the mesh; None for a tensor that every rank has.
    """

    shape: tuple[int, ...]
    values: str = "normal"
    seed: int = 0
    cuts: tuple[tuple[float, ...], ...] | None = None
    dims: tuple[int, ...] = ()

    @property
    def learns(self) -> bool:
        """Whether it has a gradient."""
        return self.values not in ("integers", "bits", "labels", "ones_and_zeros", "fixed")

    def bounds(self, axis: int) -> list[int]:
        """Rows at which the parts begin and end along a mesh axis."""
        rows = self.shape[self.dims[axis]]
        return [0, *(round(share * rows) for share in self.cuts[axis]), rows]

    def part(self, whole: torch.Tensor, place: Sequence[int]) -> torch.Tensor:
        """Rows of the rank at `place`."""
        for axis, dim in enumerate(self.dims if self.cuts is not None else ()):
            bounds = self.bounds(axis)
            whole = whole.narrow(dim, bounds[place[axis]], bounds[place[axis] + 1] - bounds[place[axis]])
        return whole


@dataclass(frozen=True)
class Setting:
    """Over how many ranks a tensor is cut, and where. One cut: `size` ranks; two: the mesh of 2 x 2."""

    size: int
    dims: tuple[int, ...]
    cuts: tuple[tuple[float, ...], ...]

    def slab(self, shape: Sequence[int], rng: Random, values: str = "normal", *, moved: bool = False) -> Operand:
        """An operand that is cut; `moved`: elsewhere than the others."""
        cuts = draw_cuts(rng, self) if moved else self.cuts
        return Operand(tuple(shape), values, rng.randrange(1 << 30), cuts, self.dims)


@dataclass(frozen=True)
class Case:
    """A call of the torch function at `path`, and what is asked of it."""

    path: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    setting: Setting = Setting(2, (2,), ((0.5,),))
    may_refuse: bool = False
    seed: int = 0


def replicated(shape: Sequence[int], rng: Random, values: str = "normal") -> Operand:
    """An operand that every rank has."""
    return Operand(tuple(shape), values, rng.randrange(1 << 30))


def draw_setting(rng: Random, dims: Sequence[int]) -> Setting:
    """Cut one of `dims` over 2 to 4 ranks, or two of them over the mesh."""
    if len(dims) > 1 and rng.random() < 0.25:
        chosen = tuple(rng.sample(list(dims), 2))
        setting = Setting(4, chosen, ((0.5,), (0.5,)))
    else:
        size = rng.choice((2, 2, 3, 4))
        setting = Setting(size, (rng.choice(list(dims)),), (tuple(rank / size for rank in range(1, size)),))
    return setting if rng.random() < 0.5 else replace(setting, cuts=draw_cuts(rng, setting))


def draw_cuts(rng: Random, setting: Setting) -> tuple[tuple[float, ...], ...]:
    """Uneven parts, some of them empty."""
    return tuple(tuple(sorted(rng.choice((0.0, 0.2, 0.4, 0.7, 1.0)) for _ in cut)) for cut in setting.cuts)


def resolved(path: str) -> Any:
    """The torch function, method or property of a dotted name."""
    found: Any = torch
    for name in path.split(".")[1:]:
        found = getattr(found, name)
    return found


def drawn(operand: Operand) -> torch.Tensor:
    """The whole tensor."""
    generator = torch.Generator().manual_seed(operand.seed)
    shape, kind = operand.shape, operand.values
    if kind == "integers":
        return torch.randint(1, 6, shape, generator=generator)
    if kind == "labels":
        return torch.randint(0, 3, shape, generator=generator)
    if kind == "bits":
        return torch.rand(shape, generator=generator) < 0.5
    if kind == "ones_and_zeros":
        return (torch.rand(shape, generator=generator) < 0.5).double()
    normal = torch.randn(shape, generator=generator, dtype=torch.float64)
    makers: dict[str, Callable[[], torch.Tensor]] = {
        "normal": lambda: normal,
        "fixed": lambda: torch.sigmoid(normal) * 0.9 + 0.05,
        "positive": lambda: normal.abs() + 0.2,
        "above_one": lambda: normal.abs() + 1.1,
        "inside": lambda: torch.tanh(normal) * 0.9,
        "unit": lambda: torch.sigmoid(normal) * 0.9 + 0.05,
        "ties": lambda: torch.round(normal),
    }
    return makers[kind]()


def check(case: Case) -> bool:
    """Whether the call is exact on every rank (True) or is refused (False, where it may be).

    Raises
    ------
    AssertionError
        When outputs or gradients differ, with the case.
    """
    answers = get_pool().run(case.setting.size, "operation_cases:differences", case)
    if all(answer == REFUSED for answer in answers):
        assert case.may_refuse, f"refused without need: {case}"
        return False
    for rank, answer in enumerate(answers):
        assert isinstance(answer, float), f"rank {rank}: {answer}: {case}"
        assert answer < EXACT, f"rank {rank}: differs by {answer:.1e}: {case}"
    return True


def differences(seat: Seat, case: Case) -> float | str:
    """Largest difference of outputs and gradients on this rank."""
    dims = case.setting.dims
    sharding = spatial_parallel(seat.group if len(dims) == 1 else seat.mesh, dims if len(dims) > 1 else dims[0])
    place = (seat.rank,) if len(dims) == 1 else tuple(seat.mesh.get_coordinate())
    wholes: list[torch.Tensor] = []
    parts: list[torch.Tensor] = []
    operands = _operands((case.args, case.kwargs))
    for operand in operands:
        whole = drawn(operand)
        part = operand.part(whole, place).clone()
        if operand.cuts is None:
            sharding.replicated(part)
        wholes.append(whole.requires_grad_(operand.learns))
        parts.append(part.requires_grad_(operand.learns))
    torch.manual_seed(case.seed)
    expected = _called(case, iter(wholes))
    torch.manual_seed(case.seed)
    try:
        with sharding:
            found = _called(case, iter(parts))
    except UnsupportedOperation:
        return REFUSED
    worst = _compared(expected, found, place, sharding)
    if worst is None:
        return f"expected {expected}, found {found}"
    return max(worst, _of_gradients(case, expected, found, operands, wholes, parts, place, seat.group))


def _operands(value: Any) -> list[Operand]:
    if isinstance(value, Operand):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    return [one for item in value for one in _operands(item)] if isinstance(value, tuple | list) else []


def _filled(value: Any, tensors: Any) -> Any:
    if isinstance(value, Operand):
        return next(tensors)
    if isinstance(value, tuple | list):
        return type(value)(_filled(item, tensors) for item in value)
    if isinstance(value, dict):
        return {name: _filled(item, tensors) for name, item in value.items()}
    return value


def _called(case: Case, tensors: Any) -> list[Any]:
    """Results, and what an operation changed in place; views that the caller holds are changed with it."""
    function, args, kwargs = resolved(case.path), _filled(case.args, tensors), _filled(case.kwargs, tensors)
    name = case.path.rpartition(".")[2]
    changes = name == "__setitem__" or (name.endswith("_") and not name.endswith("__")) or name.startswith("__i")
    changes = (changes and name not in ("__iter__", "__invert__", "__int__", "__index__")) or kwargs.get("inplace")
    if changes:
        args = (args[0].clone(), *args[1:])
    if hasattr(function, "__get__") and not callable(function):
        return _flat(function.__get__(args[0]))
    result = function(*args, **kwargs)
    result = list(result) if name == "__iter__" else result
    return _flat([result, args[0]] if changes else result)


def _flat(value: Any) -> list[Any]:
    if isinstance(value, tuple | list) and not isinstance(value, torch.Size):
        return [one for item in value for one in _flat(item)]
    return [value]


def own(whole: torch.Tensor, layout: Layout, place: Sequence[int]) -> torch.Tensor:
    """Rows that the rank at `place` has of a tensor with `layout`."""
    for axis, cut in enumerate(layout.cuts):
        if cut is not None:
            low, high = cut.own(place[axis])
            whole = whole.narrow(cut.dim, low, high - low)
    return whole


def apart(found: torch.Tensor, expected: torch.Tensor, scale: float) -> float:
    """Largest difference over `scale`; infinite where one is a number and the other is not."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return torch.inf
    if found.numel() == 0:
        return 0.0
    if not (found.is_floating_point() or found.is_complex()):
        return 0.0 if torch.equal(found, expected) else torch.inf
    same = (found == expected) | (found.isnan() & expected.isnan())
    gap = torch.where(same, 0.0, (found - expected).abs().double()).max().item()
    rounding = torch.finfo(found.dtype).eps / torch.finfo(torch.float64).eps
    return torch.inf if gap != gap else gap / max(scale, LEAST) / rounding


def largest(*tensors: torch.Tensor) -> float:
    """Largest finite absolute value."""
    finite = [one.detach().double().abs() for one in tensors if one.numel()]
    return max((one[one.isfinite()].max().item() for one in finite if one.isfinite().any()), default=0.0)


def _compared(expected: list[Any], found: list[Any], place: Sequence[int], sharding: Any) -> float | None:
    if len(expected) != len(found):
        return None
    worst, scale = 0.0, largest(*(want for want in expected if isinstance(want, torch.Tensor)))
    for want, got in zip(expected, found):
        if not isinstance(want, torch.Tensor):
            if want != got:
                return None
            continue
        layout = layout_of(got)
        if layout is None or layout.whole(got.shape, place) != tuple(want.shape):
            return None
        worst = max(worst, apart(got.detach(), own(want.detach(), layout, place), scale))
    return worst


def _of_gradients(
    case: Case, expected: list[Any], found: list[Any], operands: list[Operand], wholes: list[torch.Tensor],
    parts: list[torch.Tensor], place: Sequence[int], group: Any,
) -> float:  # fmt: skip
    """Compare the gradients of a weighted sum of the outputs, by the contract of `spatial_parallel`."""
    reference, share = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    ranks = (case.setting.size,) if len(case.setting.dims) == 1 else (2, 2)
    for number, (want, got) in enumerate(zip(expected, found)):
        if not (isinstance(want, torch.Tensor) and want.requires_grad):
            continue
        if not got.requires_grad:
            return torch.inf
        generator = torch.Generator().manual_seed(number)
        weights = torch.randn(want.shape, generator=generator, dtype=torch.float64)
        layout = layout_of(got)
        copies = prod(side for side, cut in zip(ranks, layout.cuts) if cut is None)
        reference = reference + (want.double() * weights).sum()
        share = share + (got.double() * own(weights, layout, place)).sum() / copies
    if not reference.requires_grad:
        return 0.0
    try:
        reference.backward()
    except (NotImplementedError, RuntimeError):  # torch has no gradient for it
        return 0.0
    share.backward()
    gradients = [None if one.grad is None else one.grad for one in wholes]
    scale, worst = largest(*(one for one in gradients if one is not None)), 0.0
    for operand, want, part in zip(operands, gradients, parts):
        if not operand.learns or (part.numel() == 0 and operand.cuts is not None):
            continue
        if (want is None) != (part.grad is None):
            return torch.inf
        if want is None:
            continue
        got = part.grad.clone(memory_format=torch.contiguous_format)
        if operand.cuts is None:
            dist.all_reduce(got, group=group)
        worst = max(worst, apart(got, operand.part(want, place), scale))
    return worst
