"""What ``torch.compile`` made runs as it is written inside the context; around it, it is refused."""

import pytest
from operation_cases import EXACT
from rank_pool import get_pool

from medseg.parallel import UnsupportedOperation


@pytest.mark.slow
@pytest.mark.parametrize("what", ["network", "network that has run", "submodules"])
def test_compiled_networks_are_exact(what):
    for apart, _ in get_pool().run(2, "composed_refusals:compiled", what):
        assert apart < EXACT


@pytest.mark.slow
def test_a_loss_outside_is_compiled():
    for apart, graphs in get_pool().run(2, "composed_refusals:compiled", "loss"):
        assert apart < EXACT
        assert graphs == 1


@pytest.mark.slow
def test_a_compiled_function_cannot_enter_the_context():
    with pytest.raises(UnsupportedOperation, match=r"torch.compile: .*enter the context outside"):
        get_pool().run(2, "composed_refusals:compiled", "around the context")


def test_the_compiler_is_back_after_the_context():
    assert all(get_pool().run(1, "composed_refusals:compiles_again"))
