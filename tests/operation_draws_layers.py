"""Random calls of operations: layers of networks (convolution, pooling, normalisation), products and losses."""

from random import Random
from typing import Any

from operation_cases import Case, Operand, Setting, draw_setting, replicated
from operation_draws import draws, volume


def _several(rng: Random, dims: int, low: int, high: int) -> int | tuple[int, ...]:
    """One number for all axes, or one each."""
    return rng.randint(low, high) if rng.random() < 0.5 else tuple(rng.randint(low, high) for _ in range(dims))


def _each(value: int | tuple[int, ...], dims: int) -> tuple[int, ...]:
    return (value,) * dims if isinstance(value, int) else value


@draws("conv1d conv2d conv3d")
def convolution(rng: Random, path: str) -> Case:
    dims = int(path[-2])
    groups = rng.choice((1, 1, 2))
    kernel = tuple(rng.randint(1, 5 if dims < 3 else 3) for _ in range(dims))
    dilation, stride = _several(rng, dims, 1, 2), _several(rng, dims, 1, 3)
    padding: Any = _several(rng, dims, 0, 3)
    if rng.random() < 0.2:
        padding, stride = rng.choice((("same", 1), ("valid", stride)))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, _each(dilation, dims))]
    shape = (rng.choice((1, 2)), 2 * groups, *(n + rng.randint(0, 8 if dims < 3 else 4) for n in reach))
    setting = draw_setting(rng, range(2, dims + 2))
    weight = replicated((2 * groups, 2, *kernel), rng)
    bias = replicated((2 * groups,), rng) if rng.random() < 0.5 else None
    return Case(path, (setting.slab(shape, rng), weight, bias, stride, padding, dilation, groups), {}, setting)


@draws("conv_transpose1d conv_transpose2d conv_transpose3d")
def transposed(rng: Random, path: str) -> Case:
    dims = int(path[-2])
    groups = rng.choice((1, 1, 2))
    kernel = tuple(rng.randint(1, 4 if dims < 3 else 3) for _ in range(dims))
    dilation, stride = _several(rng, dims, 1, 2), _several(rng, dims, 1, 3)
    reach = [d * (k - 1) for k, d in zip(kernel, _each(dilation, dims))]
    padding = tuple(rng.randint(0, min(n, 3)) for n in reach)
    extra = tuple(rng.randrange(max(s, d)) for s, d in zip(_each(stride, dims), _each(dilation, dims)))
    shape = (rng.choice((1, 2)), 2 * groups, *(rng.randint(2 + 2 * p, 5 + 2 * p) for p in padding))
    setting = draw_setting(rng, range(2, dims + 2))
    weight = replicated((2 * groups, 2, *kernel), rng)
    bias = replicated((2 * groups,), rng) if rng.random() < 0.5 else None
    return Case(path, (setting.slab(shape, rng), weight, bias, stride, padding, extra, groups, dilation), {}, setting)


def _pooled(rng: Random, path: str, *, dilates: bool) -> tuple[Setting, Operand, tuple[Any, ...]]:
    dims = int(path[-2])
    kernel = _several(rng, dims, 1, 4)
    dilation = _several(rng, dims, 1, 2) if dilates else 1
    padding = tuple(rng.randint(0, side // 2) for side in _each(kernel, dims))
    stride = rng.choice((None, _several(rng, dims, 1, 3)))
    reach = [d * (k - 1) + 1 for k, d in zip(_each(kernel, dims), _each(dilation, dims))]
    shape = (rng.choice((1, 2)), 2, *(n + rng.randint(0, 7 if dims < 3 else 3) for n in reach))
    setting = draw_setting(rng, range(2, dims + 2))
    values = rng.choice(("normal", "ties")) if not dilates else "normal"
    return setting, setting.slab(shape, rng, values), (kernel, stride, padding, dilation)


@draws("max_pool1d max_pool2d max_pool3d")
def max_pool(rng: Random, path: str) -> Case:
    setting, x, (kernel, stride, padding, dilation) = _pooled(rng, path, dilates=True)
    x = Operand(x.shape, rng.choice(("normal", "ties")), x.seed, x.cuts, x.dims)
    return Case(path, (x, kernel, stride, padding, dilation, rng.random() < 0.5), {}, setting)


@draws("avg_pool1d avg_pool2d avg_pool3d")
def avg_pool(rng: Random, path: str) -> Case:
    setting, x, (kernel, stride, padding, _) = _pooled(rng, path, dilates=False)
    args = (x, kernel, stride, padding, rng.random() < 0.5, rng.random() < 0.5)
    if path[-2] != "1" and rng.random() < 0.3:
        args = (*args, rng.randint(1, 9))
    return Case(path, args, {}, setting)


@draws(" ".join(f"adaptive_{kind}_pool{dims}d" for kind in ("avg", "max") for dims in (1, 2, 3)))
def adaptive_pool(rng: Random, path: str) -> Case:
    dims = int(path[-2])
    shape, setting = volume(rng, dims=dims)
    size: Any = rng.choice((1, rng.randint(1, 7), tuple(rng.randint(1, 9) for _ in range(dims))))
    if dims > 1 and rng.random() < 0.3 and "functional" in path:
        size = (None, *(rng.randint(1, 5) for _ in range(dims - 1)))
    values = rng.choice(("normal", "ties"))
    return Case(path, (setting.slab(shape, rng, values), size), {}, setting)


@draws("interpolate upsample")
def interpolated(rng: Random, path: str) -> Case:
    shape, setting = volume(rng)
    dims = len(shape) - 2
    linear = ("linear", "bilinear", "trilinear")[dims - 1]
    mode = rng.choice((linear, linear, "nearest", "nearest-exact", "area"))
    if path.endswith("upsample") and mode in ("nearest-exact", "area"):
        mode = "nearest"
    options: dict[str, Any] = {"mode": mode}
    if mode == linear:
        options["align_corners"] = rng.random() < 0.5
    if rng.random() < 0.5:
        options["size"] = rng.choice((rng.randint(1, 12), tuple(rng.randint(1, 12) for _ in range(dims))))
    else:
        least = 1.0 / min(shape[2:])
        factors = tuple(max(rng.choice((0.5, 0.7, 1.0, 1.5, 2.0, 2.6, 3.0)), least) for _ in range(dims))
        options["scale_factor"] = rng.choice((max(factors), factors))
        if path.endswith("interpolate") and rng.random() < 0.3:
            options["recompute_scale_factor"] = True
    return Case(path, (setting.slab(shape, rng),), options, setting)


@draws("pad constant_pad_nd")
def padded(rng: Random, path: str) -> Case:
    shape, setting = volume(rng)
    shape = tuple(side + 2 if dim > 1 else side for dim, side in enumerate(shape))
    dims = len(shape) - 2
    modes = ("constant", "constant", "reflect", "replicate", "circular") if path.endswith(".pad") else ("constant",)
    mode = rng.choice(modes)
    least = -1 if mode == "constant" else 0
    pad: list[int] = []
    for side in shape[:1:-1][: dims if mode != "constant" else rng.randint(1, dims)]:
        most = {"reflect": side - 1, "circular": side}.get(mode, 9)
        pad += [rng.randint(least, min(most, 9)) for _ in range(2)]
    args: tuple[Any, ...] = (setting.slab(shape, rng), tuple(pad))
    if path.endswith(".pad"):
        args = (*args, mode)
    return Case(path, (*args, 1.5) if mode == "constant" and rng.random() < 0.5 else args, {}, setting)


@draws("batch_norm instance_norm")
def normalised(rng: Random, path: str) -> Case:
    shape, setting = volume(rng)
    shape = (*shape[:-1], shape[-1] + 2)  # two values become 1 and -1, with a gradient of rounding alone
    affine = tuple(replicated((shape[1],), rng) for _ in range(2)) if rng.random() < 0.6 else (None, None)
    given = (replicated((shape[1],), rng, "fixed"), replicated((shape[1],), rng, "fixed"))
    if path.endswith("batch_norm"):
        training = rng.random() < 0.6
        return Case(path, (setting.slab(shape, rng), *given, *affine, training) if not training else
                    (setting.slab(shape, rng), None, None, *affine, True), {}, setting)  # fmt: skip
    if rng.random() < 0.2:
        return Case(path, (setting.slab(shape, rng), *given, *affine, False), {}, setting)
    return Case(path, (setting.slab(shape, rng), None, None, *affine), {}, setting)


@draws("group_norm layer_norm rms_norm local_response_norm")
def normalised_by_groups(rng: Random, path: str) -> Case:
    shape, setting = volume(rng)
    name = path.rpartition(".")[2]
    shape = (shape[0], 4, *shape[2:-1], shape[-1] + 1)
    x = setting.slab(shape, rng)
    if name == "local_response_norm":
        return Case(path, (x, rng.randint(1, 4)), {}, setting)
    if name == "group_norm":
        affine = [replicated((4,), rng) for _ in range(2)] if rng.random() < 0.6 else []
        return Case(path, (x, rng.choice((1, 2, 4)), *affine), {}, setting)
    inner = shape[-rng.randint(1, len(shape) - 1) :]
    affine = [replicated(inner, rng) for _ in range(1 if name == "rms_norm" else 2)] if rng.random() < 0.6 else []
    return Case(path, (x, inner, *affine), {}, setting)


@draws("linear")
def linear(rng: Random, path: str) -> Case:
    shape = tuple(rng.randint(1, 6) for _ in range(rng.randint(2, 4)))
    setting = draw_setting(rng, range(len(shape)))
    bias = replicated((3,), rng) if rng.random() < 0.5 else None
    return Case(path, (setting.slab(shape, rng), replicated((3, shape[-1]), rng), bias), {}, setting)


@draws("matmul bmm mm __matmul__ __rmatmul__ linalg_matmul addmm baddbmm")
def product(rng: Random, path: str) -> Case:
    name = path.rpartition(".")[2].rstrip("_") if not path.endswith("__") else path.rpartition(".")[2]
    batch = {"mm": 0, "addmm": 0, "bmm": 1, "baddbmm": 1}.get(name, rng.randint(0, 2))
    sides = [rng.randint(1, 6) for _ in range(3)]
    outer = tuple(rng.randint(1, 4) for _ in range(batch))
    a, b = (*outer, sides[0], sides[1]), (*outer, sides[1], sides[2])
    if name == "__rmatmul__":
        a, b = (*outer, sides[1], sides[2]), (*outer, sides[0], sides[1])
    setting = draw_setting(rng, range(batch + 2))
    first: Operand = setting.slab(a, rng)
    second = setting.slab(b, rng, moved=rng.random() < 0.3) if rng.random() < 0.6 else replicated(b, rng)
    if name.startswith(("addmm", "baddbmm")):
        third = setting.slab((*outer, sides[0], sides[2]), rng)
        return Case(path, (third, first, second), rng.choice(({}, {"beta": 0.5, "alpha": 2.0})), setting)
    return Case(path, (first, second), {}, setting)


@draws("einsum")
def einsum(rng: Random, path: str) -> Case:
    equation = rng.choice(("bchw,dc->bdhw", "bchw,bdhw->bcd", "bcn,bcm->bnm", "bnc,bmc->bnm", "bchw,bchw->bhw"))
    sides = {letter: rng.randint(1, 5) for letter in "bcdhwnm"}
    first, second = equation.split("->")[0].split(",")
    setting = draw_setting(rng, range(len(first)))
    a = setting.slab([sides[one] for one in first], rng)
    other = [sides[one] for one in second]
    b = setting.slab(other, rng) if len(second) == len(first) and rng.random() < 0.7 else replicated(other, rng)
    return Case(path, (equation, a, b), {}, setting)


@draws("scaled_dot_product_attention")
def attention(rng: Random, path: str) -> Case:
    batch, heads, n, m, e = (rng.randint(1, 4) for _ in range(5))
    setting = draw_setting(rng, (0, 1, 2))
    q, k, v = (setting.slab((batch, heads, rows, e), rng, moved=rng.random() < 0.3) for rows in (n, m, m))
    masks = (None, replicated((n, m), rng), replicated((batch, 1, n, m), rng))
    return Case(path, (q, k, v, rng.choice(masks)), rng.choice(({}, {"scale": 0.5})), setting)


@draws("binary_cross_entropy binary_cross_entropy_with_logits huber_loss kl_div l1_loss mse_loss poisson_nll_loss "
       "smooth_l1_loss soft_margin_loss")  # fmt: skip
def voxel_loss(rng: Random, path: str) -> Case:
    shape, setting = volume(rng)
    name = path.rpartition(".")[2]
    x = setting.slab(shape, rng, "unit")
    y = setting.slab(shape, rng, "fixed" if name == "soft_margin_loss" else "unit", moved=rng.random() < 0.3)
    options: dict[str, Any] = {"reduction": rng.choice(("mean", "sum", "none"))}
    if name == "kl_div" and rng.random() < 0.3:
        options["reduction"] = "batchmean"
    if name.startswith("binary") and rng.random() < 0.4:
        options["weight"] = replicated(shape[2:], rng, "fixed")
    if name.endswith("logits") and rng.random() < 0.4:
        options["pos_weight"] = replicated((shape[1], *(1,) * (len(shape) - 2)), rng, "fixed")
    return Case(path, (x, y), options, setting)


@draws("cross_entropy nll_loss")
def class_loss(rng: Random, path: str) -> Case:
    dims = rng.choice((2, 3))
    batch, spatial = rng.choice((1, 2)), tuple(rng.randint(1, 6) for _ in range(dims))
    setting = draw_setting(rng, range(2, dims + 2))
    target_setting = Setting(setting.size, tuple(dim - 1 for dim in setting.dims), setting.cuts)
    x = setting.slab((batch, 3, *spatial), rng)
    options: dict[str, Any] = {"reduction": rng.choice(("mean", "sum", "none"))}
    if rng.random() < 0.4:
        options["weight"] = replicated((3,), rng, "fixed")
    if rng.random() < 0.4:
        options["ignore_index"] = 1
    if path.endswith("cross_entropy") and rng.random() < 0.3:
        options["label_smoothing"] = 0.2
    if path.endswith("cross_entropy") and rng.random() < 0.3:
        options.pop("ignore_index", None)
        return Case(path, (x, setting.slab(x.shape, rng, "unit")), options, setting)
    shape = (batch, *spatial)
    y = target_setting.slab(shape, rng, "labels") if rng.random() < 0.7 else replicated(shape, rng, "labels")
    return Case(path, (x, y), options, setting)
