"""Tensors in parts that are changed in place, given gradients and hooks, or used where they must not be."""

import pytest
import torch
from operation_cases import EXACT, largest
from parallel_networks import targets
from torch import nn
from torch.nn import functional

from medseg.errors import ConfigError
from medseg.parallel import UnsupportedOperation, layout_of, out_of_core

pytestmark = pytest.mark.usefixtures("one_thread")


class _UsedAgain(nn.Module):
    def forward(self, x):
        y = x * 1
        functional.relu_(y)
        return y + 1


@pytest.mark.parametrize("keep", ["host", "disk"])
def test_in_place_activations_are_exact(keep):
    first, second = nn.Conv2d(1, 4, 3, padding=1).double(), nn.Conv2d(4, 4, 3, padding=1).double()
    x, parameters = targets()[0], [*first.parameters(), *second.parameters()]

    def forward(one):
        y = functional.leaky_relu(first(one), 0.1, inplace=True)
        y = second(y)
        y += 1
        return y

    expected = forward(x)
    wanted = torch.autograd.grad(expected.square().mean(), parameters)
    with out_of_core(4, keep=keep) as context:
        y = forward(context.cut(x))
        loss = y.square().mean()
    found = torch.autograd.grad(loss, parameters)
    assert largest(context.gather(y) - expected) < EXACT * largest(expected)
    assert all(largest(a - b) < EXACT * largest(b) for a, b in zip(found, wanted))


@pytest.mark.parametrize("keep", ["host", "disk"])
def test_a_tensor_that_was_changed_in_place_is_refused(keep):
    with out_of_core(2, keep=keep) as context:
        x = context.cut(torch.randn(1, 1, 8, 8))
        with pytest.raises(UnsupportedOperation, match="was changed in place: use what that returned"):
            _UsedAgain()(x)
        assert layout_of(x + 1) is not None  # the input itself was not


def test_what_is_cut_is_not_changed():
    x = torch.randn(1, 1, 8, 8)
    before = x.clone()
    with out_of_core(2) as context:
        functional.relu_(context.cut(x))
    assert torch.equal(x, before)


def test_tensors_of_one_context_stay_what_they_are():
    """Made outside from a tensor in parts: still in parts; in another context: refused."""
    x = torch.randn(1, 1, 8, 8)
    with out_of_core(4) as context:
        y = context.cut(x)
    doubled = y * 2
    with context:
        assert doubled.sum().item() == pytest.approx(2 * x.sum().item(), abs=1e-5)
    for tensor in (y, doubled):
        with out_of_core(4), pytest.raises(ConfigError, match=r"another"):
            tensor.sum()


def test_outside_of_the_context_operations_are_refused():
    with out_of_core(4) as context:
        y = context.cut(torch.randn(1, 1, 8, 8))
    with pytest.raises(NotImplementedError, match="kept in parts: use it inside the out-of-core context"):
        y.mean()


def test_a_gradient_may_be_given_whole():
    convolution, x = nn.Conv2d(1, 2, 3, padding=1).double(), torch.randn(1, 1, 9, 8, dtype=torch.float64)
    gradient = torch.randn(1, 2, 9, 8, dtype=torch.float64)
    (wanted,) = torch.autograd.grad(convolution(x), convolution.weight, gradient)
    with out_of_core(4) as context:
        y = convolution(context.cut(x))
    (found,) = torch.autograd.grad(y, convolution.weight, gradient)
    assert largest(found - wanted) < EXACT * largest(wanted)


def test_unknown_operations_are_refused_by_name():
    with out_of_core(2) as context, pytest.raises(UnsupportedOperation, match="quantile"):
        torch.quantile(context.cut(torch.randn(1, 1, 8, 8)), 0.5)


@pytest.mark.parametrize(("slabs", "dim"), [(0, 2), ((2, 2), 2), ((2, 2, 2), (2, 3))])
def test_slabs_that_do_not_fit_are_refused(slabs, dim):
    with pytest.raises(ConfigError, match="out_of_core: slabs="):
        out_of_core(slabs, dim)


class _LastActInPlace(nn.Module):
    def forward(self, x):
        y = x * 1
        y.relu_()
        return y


@pytest.mark.parametrize("keep", ["host", "disk"])
def test_what_was_changed_in_place_is_not_given_back_as_it_was(keep):
    with out_of_core(2, keep=keep) as context:
        x = context.cut(torch.randn(1, 1, 8, 8))
        with pytest.raises(UnsupportedOperation, match="in module _LastActInPlace"):
            _LastActInPlace()(x)
        y = x * 1
        y.add_(1)
        for read in (context.gather, lambda one: list(context.parts(one))):
            with pytest.raises(UnsupportedOperation, match="use what that returned"):
                read(y)


@pytest.mark.parametrize("keep", ["host", "disk"])
def test_gradient_of_an_input_asked_for_inside(keep):
    convolution, x = nn.Conv2d(1, 2, 3, padding=1).double(), targets()[0]
    (wanted,) = torch.autograd.grad(convolution(x.requires_grad_()).square().mean(), x)
    with out_of_core(3, keep=keep) as context:
        cut = context.cut(x.detach()).requires_grad_()
        loss = convolution(cut).square().mean()
    loss.backward()
    assert largest(context.gather(cut.grad) - wanted) < EXACT * largest(wanted)


@pytest.mark.parametrize("whole", [False, True])
def test_hooks_see_the_gradient_of_the_whole(whole):
    convolution, x = nn.Conv2d(1, 2, 3, padding=1).double(), targets()[0]

    def forward(one):
        y = convolution(one)
        y.register_hook(lambda gradient: gradient / gradient.norm() + gradient.mean(2, keepdim=True))
        return y

    weight = torch.randn(2, 2, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (wanted,) = torch.autograd.grad(forward(x), convolution.weight, weight)
    with out_of_core(3) as context:
        y = forward(context.cut(x))
        loss = (y * context.cut(weight)).sum()
    (found,) = torch.autograd.grad(*((y, convolution.weight, weight) if whole else (loss, convolution.weight)))
    assert largest(found - wanted) < EXACT * largest(wanted)


def test_a_tensor_in_parts_can_be_shown_and_says_how_to_put_it_together():
    with out_of_core(4) as context:
        y = context.cut(torch.randn(1, 1, 8, 8)) * 2
    assert repr(y) == "Paged(shape=(1, 1, 8, 8), dtype=torch.float32, in 4 parts)"
    with pytest.raises(NotImplementedError, match=r"context\.gather\(tensor\)"):
        y.argmax(1)


def test_a_loss_under_autocast():
    x = torch.randn(1, 2, 8, 8)
    with torch.autocast("cpu", torch.bfloat16), out_of_core(4) as context:
        y = context.cut(x).to(torch.bfloat16)
        total = y.sum() + y.softmax(1).mean()
    assert total.item() == pytest.approx(x.sum().item() + 0.5, abs=0.1)


@pytest.mark.parametrize("options", [{"keep": "ram"}, {"device": "cuda"}])
def test_unknown_places_are_refused(options):
    if options == {"device": "cuda"} and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match="out_of_core: "):
        out_of_core(2, **options)
