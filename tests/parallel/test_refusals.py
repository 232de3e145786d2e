"""What is not known to be right is refused on every rank, by name; what looks dangerous and is right is right."""

import pytest
from operation_cases import EXACT
from rank_pool import get_pool
from sharding_toys import LAYERS, REFUSED, RIGHT


def run(size, name, *args):
    return get_pool().run(size, f"sharding_work:{name}", *args, timeout=100)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name_on_every_rank(name):
    for operation, module, text in run(2, "refusals", name):
        assert operation
        assert module == "inner (Layer)"
        assert f"{operation} in module inner (Layer): not supported under spatial sharding: " in text


def test_the_refusal_names_the_function():
    assert run(2, "refusals", "rot90")[0][0] == "torch.rot90"
    assert run(2, "refusals", "stride")[1][0] == "torch.stride"
    assert run(2, "refusals", "data =")[0][0] == "torch.Tensor.data"
    assert "Doubled" in run(2, "refusals", "unknown function")[0][2]


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("size", [2, 3])
def test_right(name, size):
    assert max(run(size, "both", name)) < EXACT


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    assert max(run(3, "layer", name)) < EXACT


def test_what_a_module_holds_is_the_same_on_every_rank():
    assert max(run(2, "held_tensors")) < EXACT


def test_an_input_that_the_module_holds_is_a_part():
    assert max(run(2, "held_input")) < EXACT


KINDS = ["wrong rows", "whole", "other width", "dimensions", "labels", "one row", "joined"]


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_from_outside_that_do_not_fit_are_refused(kind):
    assert all(run(2, "outside", kind))


def test_tensors_with_metadata():
    assert max(run(3, "meta_tensor")) < EXACT


def test_rows_are_taken_before_the_context_is_entered():
    assert run(2, "sliced_alike") == [0.0, 0.0]
    assert all("ranks take different rows of the whole" in text for text in run(2, "sliced_otherwise"))


def test_a_batch_comes_into_another_context_anew():
    assert run(2, "in_another_context") == [0.0, 0.0]


def test_marked_as_the_same_on_every_rank():
    assert run(2, "marked") == [0.0, 0.0]


def test_results_outside_and_in_again():
    for total, refusal in run(2, "afterwards"):
        assert total == 6 * 24 * (1 + 2)
        assert "one sharding was used in another" in refusal


def test_checkpointing():
    for kind in ("entered", "left to the context"):
        assert max(run(2, "checkpointed", kind)) < EXACT, kind
    for answer in run(2, "checkpointed", "reentrant"):
        assert "use_reentrant=False" in answer
