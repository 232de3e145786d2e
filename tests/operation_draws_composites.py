"""Random calls of operations that are written in others, and of those whose dimension is gathered."""

from random import Random
from typing import Any

from operation_cases import Case, draw_setting, replicated
from operation_draws import draws, volume
from operation_draws_shapes import any_cut, counted

TOGETHER = "vstack row_stack hstack broadcast_tensors"
PAIRS = "equal isclose allclose pairwise_distance cosine_similarity"


@draws(TOGETHER)
def joined(rng: Random, path: str) -> Case:
    shape, setting = any_cut(rng, ndim=rng.randint(2, 4))
    name = path.rpartition(".")[2]
    dim = 1 if name == "hstack" else 0
    second = tuple(rng.randint(1, 6) if n == dim else side for n, side in enumerate(shape))
    if name == "broadcast_tensors":
        return Case(path, (setting.slab(shape, rng), setting.slab(shape, rng, moved=True)), {}, setting)
    return Case(path, ((setting.slab(shape, rng), setting.slab(second, rng, moved=True)),), {}, setting)


@draws(PAIRS)
def pairs(rng: Random, path: str) -> Case:
    shape, setting = any_cut(rng, ndim=rng.randint(2, 4))
    name = path.rpartition(".")[2]
    values = "normal" if name in ("pairwise_distance", "cosine_similarity") else rng.choice(("fixed", "ones_and_zeros"))
    x, y = setting.slab(shape, rng, values), setting.slab(shape, rng, values, moved=rng.random() < 0.5)
    kwargs: dict[str, Any] = {}
    if name == "cosine_similarity":
        kwargs["dim"] = counted(rng, rng.randrange(len(shape)), len(shape))
    elif name == "pairwise_distance":
        kwargs = {"p": rng.choice((1.0, 2.0)), "keepdim": rng.random() < 0.5}
    elif name != "equal":
        kwargs = {"rtol": rng.choice((0.1, 0.9)), "atol": 0.1}
    return Case(path, (x, y), kwargs, setting)


@draws("diff tensor_split fliplr flipud")
def pieces(rng: Random, path: str) -> Case:
    shape, setting = any_cut(rng)
    dim = rng.randrange(len(shape))
    one = counted(rng, dim, len(shape))
    name = path.rpartition(".")[2]
    args: tuple[Any, ...] = {
        "diff": (rng.randint(1, min(2, shape[dim])), one),
        "tensor_split": (rng.choice((2, 3, (1, 3), (2, -1))), one),
    }.get(name, ())
    return Case(path, (setting.slab(shape, rng), *args), {}, setting)


@draws("std_mean logsumexp nansum nanmean aminmax prod vector_norm")
def reduced(rng: Random, path: str) -> Case:
    shape, setting = any_cut(rng, ndim=rng.randint(2, 4))
    name = path.rpartition(".")[2]
    one, keep = counted(rng, rng.randrange(len(shape)), len(shape)), {"keepdim": rng.random() < 0.5}
    x = setting.slab(shape, rng, rng.choice(("normal", "ties")) if name != "aminmax" else "fixed")
    if name == "std_mean":
        return Case(path, (x, one), {"correction": 0, **keep}, setting)
    if name == "aminmax":
        return Case(path, (x,), rng.choice(({}, {"dim": one, **keep})), setting)
    if name == "vector_norm":
        order = rng.choice((1, 2, 2.0, float("inf"), float("-inf")))
        return Case(path, (x, order), rng.choice(({}, {"dim": one, **keep})), setting)
    if name == "logsumexp" or rng.random() < 0.6:
        return Case(path, (x, one), keep, setting)
    return Case(path, (x,), {}, setting)


@draws("histc")
def counted_in_bins(rng: Random, path: str) -> Case:
    shape, setting = any_cut(rng)
    return Case(path, (setting.slab(shape, rng, "fixed"), *rng.choice(((), (5,), (4, 0.2, 0.7)))), {}, setting)


@draws("pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle upsample_nearest upsample_bilinear")
def images(rng: Random, path: str) -> Case:
    name = path.rpartition(".")[2]
    (batch, _, *sides), setting = volume(rng, dims=2, most=5)
    factor = rng.choice((2, 3)) if name == "pixel_shuffle" else 2
    if name == "pixel_unshuffle":
        sides = [2 * side for side in sides]
    channels = {"pixel_shuffle": factor**2 * rng.choice((1, 2))}.get(name, 4)
    x = setting.slab((batch, channels, *sides), rng)
    return Case(path, (x, None, factor) if name.startswith("upsample") else (x, factor), {}, setting)


@draws("lp_pool1d lp_pool2d lp_pool3d")
def pooled(rng: Random, path: str) -> Case:
    dims = int(path[-2])
    (batch, channels, *sides), setting = volume(rng, dims=dims)
    x = setting.slab((batch, channels, *(side + 2 for side in sides)), rng, "positive")
    return Case(path, (x, rng.choice((1.0, 2.0, 3.0)), 2, rng.choice((None, 1, 2))), {}, setting)


@draws("gaussian_nll_loss multilabel_soft_margin_loss")
def losses(rng: Random, path: str) -> Case:
    shape, setting = any_cut(rng, ndim=rng.randint(2, 4))
    x, reduction = setting.slab(shape, rng), {"reduction": rng.choice(("mean", "sum", "none"))}
    if "gaussian" in path:
        variance = setting.slab(shape, rng, "positive")
        return Case(path, (x, setting.slab(shape, rng), variance, rng.random() < 0.5), reduction, setting)
    return Case(path, (x, setting.slab(shape, rng, "ones_and_zeros")), reduction, setting)


@draws("gumbel_softmax")
def gumbel(rng: Random, path: str) -> Case:
    shape, setting = any_cut(rng, ndim=rng.randint(2, 4))
    dim = counted(rng, rng.randrange(len(shape)), len(shape))
    kwargs = {"tau": rng.choice((0.5, 1.0)), "dim": dim}
    return Case(path, (setting.slab(shape, rng),), kwargs, setting, seed=rng.randrange(99))


@draws("multi_head_attention_forward")
def attention(rng: Random, path: str) -> Case:
    """Shape (sequence, batch, channel), with two heads; the sequence or the batch is cut."""
    length, batch, width = rng.randint(2, 6), rng.choice((1, 3)), 4
    setting = draw_setting(rng, (0, 1))
    x = setting.slab((length, batch, width), rng)
    other = x if rng.random() < 0.5 else setting.slab((length, batch, width), rng)
    weights = [replicated(shape, rng) for shape in ((3 * width, width), (3 * width,), (width, width), (width,))]
    args = (x, other, other, width, 2, *weights[:2], None, None, False, 0.0, *weights[2:])
    kwargs: dict[str, Any] = {"need_weights": rng.random() < 0.5, "average_attn_weights": rng.random() < 0.5}
    if rng.random() < 0.3:
        kwargs["attn_mask"] = replicated((length, length), rng)
    return Case(path, args, kwargs, setting)


@draws("embedding")
def embedded(rng: Random, path: str) -> Case:
    shape, setting = any_cut(rng, ndim=rng.randint(2, 4))
    index = setting.slab(shape, rng, "integers")
    return Case(path, (index, replicated((7, 3), rng)), rng.choice(({}, {"padding_idx": 2})), setting)


@draws("randint randperm multinomial")
def numbers(rng: Random, path: str) -> Case:
    _, setting = volume(rng)
    if path.endswith("multinomial"):
        weights = replicated((2, 5), rng, "fixed")
        return Case(path, (weights, 3, rng.random() < 0.5), {}, setting, seed=rng.randrange(99))
    args = rng.choice(((9, (2, 3)), (3, 9, (4,)))) if path.endswith("randint") else (7,)
    return Case(path, args, {}, setting, seed=rng.randrange(99))
