"""Autograd, hooks and changed modules around the sharding context; what is refused is refused on every rank alike."""

import pytest
from operation_cases import EXACT
from rank_pool import get_pool


def run(size, name, *args):
    return get_pool().run(size, name, *args)


def test_gradients_accumulate():
    assert max(run(2, "composed_autograd:accumulated")) < EXACT


@pytest.mark.parametrize("mode", ["no_grad inside", "no_grad around", "inference_mode inside", "inference_mode around"])
def test_without_gradients(mode):
    for apart, requires_grad in run(2, "composed_autograd:without_gradient", mode):
        assert apart < EXACT
        assert not requires_grad


def test_gradient_of_an_input():
    assert max(run(2, "composed_autograd:gradient_outside")) < EXACT


@pytest.mark.parametrize("layer", ["convolution", "normalisation", "sum", "maximum", "fetched rows"])
def test_second_derivatives_are_refused(layer):
    for error in run(2, "composed_autograd:twice", layer):
        assert "once_differentiable" in error


def test_hooks():
    assert max(run(2, "composed_autograd:hooked")) < EXACT


@pytest.mark.parametrize("how", ["deepcopy", "functional_call", "weight_norm", "standardised", "spectral_norm"])
def test_copied_and_parametrised_modules(how):
    assert max(run(2, "composed_autograd:changed_module", how)) < EXACT


REFUSED = {
    "reentrant": ("UnsupportedOperation", "use_reentrant=False"),
    "reentrant by default": ("UnsupportedOperation", "use_reentrant=False"),
    "grad": ("UnsupportedOperation", "outside of the context"),
    "nested": ("ConfigError", "inside of another one"),
    "disabled": ("ConfigError", "cannot be overridden"),
    "scripted module": ("UnsupportedOperation", "scripted or traced"),
    "scripted function": ("UnsupportedOperation", "made past the context"),
    "backward hook": ("UnsupportedOperation", "BackwardHookFunction"),
    "clip": ("UnsupportedOperation", "its share of the gradient"),
    "step": ("UnsupportedOperation", "torch.Tensor.grad"),
    "kernel": ("UnsupportedOperation", "does not fit"),
    "unequal": ("ConfigError", "different sizes along dimension 4"),
    "loss": ("", ""),
}


@pytest.mark.parametrize("what", [name for name in REFUSED if name != "loss"])
def test_refused_on_every_rank(what):
    kind, text = REFUSED[what]
    answers = run(3, "composed_refusals:refused", what)
    assert all(found == kind and text in message for found, message in answers), answers
    assert len(set(answers)) == 1 or what == "unequal"


def test_sizes_that_do_not_fit_are_an_error_on_every_rank():
    assert all(kind for kind, _ in run(2, "composed_refusals:refused", "loss"))
