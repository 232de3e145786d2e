"""Every operation of the table gives on parts what it gives on one device, with random parameters."""

import os
from random import Random

import operation_draws_composites  # noqa: F401 - the draws register themselves
import operation_draws_layers  # noqa: F401
import operation_draws_shapes  # noqa: F401
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operation_cases import check
from operation_draws import EXCEPTIONS, base, draw_of, examples, excused, in_place, paths

PATHS = sorted(path for path in paths() if not excused(path))
NAMES = sorted({base(path.rpartition(".")[2]) for path in PATHS})
UNUSUAL = (  # whose arithmetic is intricate
    "conv", "interpolate", "upsample", "pad", "pool", "norm", "reshape", "getitem", "cat", "cross_entropy", "roll",
    "einsum", "matmul",
)  # fmt: skip
TIMES = int(os.environ.get("MEDSEG_EXAMPLES", "1"))  # as many times the examples
QUIET = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True)
RANDOMS = st.randoms(use_true_random=True)


def test_each_operation_of_the_table_is_drawn():
    assert [path for path in PATHS if draw_of(path) is None] == []


def test_exceptions_name_operations_of_the_table():
    known = {base(path.rpartition(".")[2]) for path in paths()}
    assert [name for names in EXCEPTIONS for name in names.split() if base(name) not in known] == []


@pytest.mark.parametrize("name", NAMES)
def test_exact(name):
    """A few calls of each name; more of those whose arithmetic is intricate."""
    ways = [path for path in examples(name) if not excused(path)]

    @settings(QUIET, max_examples=8 if any(part in name for part in UNUSUAL) else 2)
    @given(st.sampled_from(ways), RANDOMS)
    def exact(path, rng):
        check(draw_of(path)(rng, path))

    exact()


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_exact_many_times(path):
    @settings(QUIET, max_examples=TIMES * (30 if any(part in path for part in UNUSUAL) else 3))
    @given(RANDOMS)
    def exact(rng):
        check(draw_of(path)(rng, path))

    exact()


def test_few_calls_are_refused():
    """What may be refused is refused seldom: the comparison compares."""
    path = "torch.Tensor.__setitem__"
    done = [check(draw_of(path)(Random(seed), path)) for seed in range(30)]
    assert sum(done) > 15


def test_in_place_functions_are_told_apart():
    assert in_place("torch.Tensor.add_")
    assert in_place("torch.Tensor.__iadd__")
    assert not in_place("torch.Tensor.__invert__")
    assert not in_place("torch.add")
