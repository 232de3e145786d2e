"""What must be refused inside `spatial_parallel`, and what looks as dangerous and must be right."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

SHAPE = (2, 4, 8, 6)


class Layer(nn.Module):
    """A module with a name, whose forward pass is a function of a tensor."""

    def __init__(self, work: Callable[..., Any], **held: Any) -> None:
        super().__init__()
        self.work = work
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, x: torch.Tensor) -> Any:
        return self.work(self, x)


class Outer(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.inner = layer

    def forward(self, x: torch.Tensor) -> Any:
        return self.inner(x)


class Doubled(torch.autograd.Function):
    """An autograd function that the table does not know, and whose backward pass sums over what is cut."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0] * gradients[0].sum()


def _unfold(x: torch.Tensor) -> Any:
    return x.unfold(2, 2, 1)


def _set_data(x: torch.Tensor) -> Any:
    x.data = x * 2
    return x


def _masked_set(x: torch.Tensor) -> Any:
    y = x * 1
    y[y > 0] = 0.0
    return y


def _whole_by_cut_mask(x: torch.Tensor) -> Any:
    y = torch.zeros(SHAPE) + torch.ones(())
    y[x > 0] = 1.0
    return y


def _flattened_then_changed(x: torch.Tensor) -> Any:
    y = x * 1
    z = y.flatten()
    z.add_(1)
    return y


def _changed_after_flattening(x: torch.Tensor) -> Any:
    y = x * 1
    z = y.flatten()
    y.add_(1)
    return z * 1


def _returned_after_flattening(x: torch.Tensor) -> Any:
    y = x * 1
    z = y.flatten()
    y.add_(1)
    return z


def _zeros_with_a_view(x: torch.Tensor) -> Any:
    zeros = torch.zeros(x.shape, dtype=x.dtype)
    row = zeros[:, :1]
    zeros.add_(x)
    return row + 0.0


def _with_backward_hook(x: torch.Tensor) -> Any:
    layer = nn.Conv2d(4, 1, 1).double()
    layer.register_full_backward_hook(lambda *_: None)
    return layer(x) * 2


REFUSED: dict[str, Callable[[torch.Tensor], Any]] = {
    "fft": lambda x: torch.fft.fftn(x),
    "as_strided": lambda x: x.as_strided((2, 2), (1, 1)),
    "unfold": _unfold,
    "functional.unfold": lambda x: functional.unfold(x, 3),
    "stride": lambda x: x.stride(),
    "rot90": lambda x: torch.rot90(x, 1, (2, 3)),
    "data =": _set_data,
    "sort": lambda x: torch.sort(x, 2),
    "topk": lambda x: torch.topk(x, 2, 2),
    "item": lambda x: (x * 1).item(),
    "float": lambda x: float(x),
    "numpy": lambda x: x.numpy(),
    "if": lambda x: bool(x > 0),
    "masked set": _masked_set,
    "set by a cut mask": _whole_by_cut_mask,
    "set a row": lambda x: (x * 1).__setitem__((slice(None), slice(None), 0), 1.0),
    "out=": lambda x: torch.add(x, 1, out=torch.zeros(SHAPE)),
    "view as a type": lambda x: x.view(torch.int64),
    "data_ptr": lambda x: x.data_ptr(),
    "cross": lambda x: torch.linalg.svd(x),
    "spectral norm": lambda x: torch.linalg.norm(x[0, 0], 2),
    "unknown function": lambda x: Doubled.apply(x) + 1,
    "unknown function returned": lambda x: Doubled.apply(x),
    "where alone": lambda x: torch.where(x > 0),
    "max_pool indices": lambda x: functional.max_pool2d(x, 2, return_indices=True),
    "bicubic": lambda x: functional.interpolate(x, scale_factor=2, mode="bicubic"),
    "grid_sample": lambda x: functional.grid_sample(x, torch.zeros(2, 3, 3, 2, dtype=x.dtype)),
    "quantile": lambda x: torch.quantile(x, 0.5),
    "resize_": lambda x: (x * 1).resize_(2, 2),
    "squeeze_": lambda x: (x * 1).squeeze_(),
    "transpose_": lambda x: (x * 1).transpose_(2, 3),
    "flattened, then changed": _flattened_then_changed,
    "changed after flattening": _changed_after_flattening,
    "returned after flattening": _returned_after_flattening,
    "zeros with a view": _zeros_with_a_view,
    "relu_ of a flattened tensor": lambda x: functional.relu((x * 1).flatten(), inplace=True),
    "foreach": lambda x: torch._foreach_add([x], 1.0),
    "is_contiguous": lambda x: x.is_contiguous(),
    "hook on a sum": lambda x: (x.sum() * torch.ones((), requires_grad=True)).register_hook(torch.sign),
    "backward hook": _with_backward_hook,
    "scatter of a smaller index": lambda x: (x * 1).scatter(1, x[:, :1, :5].gt(0).long(), 1.0),
}


def _in_place_through_slice(x: torch.Tensor) -> Any:
    y = x * 1
    y[:, 1:3].mul_(2)
    y[:, :, 2:7].add_(1)
    y.permute(0, 2, 3, 1).sub_(0.5)
    y.unsqueeze(1).div_(3)
    return y


def _in_place_through_reshape(x: torch.Tensor) -> Any:
    y = x * 1
    y.reshape(8, 8, 6).mul_(2)
    y.view(2, 4, 48).add_(1)
    return y


def _changed_copies(x: torch.Tensor) -> Any:
    """What is no view on one device must not become one."""
    y = x * 1
    for other in (
        functional.pad(y, (0, 0, 0, 0)), torch.roll(y, 8, 2), torch.cat([y], 2), y.repeat(1, 1, 1, 1), y.clone(),
        functional.interpolate(y, scale_factor=1), y[:, [0, 1, 2, 3]], torch.tile(y, (1,)), torch.stack([y])[0],
    ):  # fmt: skip
        other.add_(1)
    return y


def _one_hot(x: torch.Tensor) -> Any:
    labels = x[:, :1].gt(0).long()
    return torch.zeros(2, 3, 8, 6, dtype=x.dtype).scatter_(1, labels, 1.0) * x[:, :1]


def _without_gradient(x: torch.Tensor) -> Any:
    with torch.no_grad():
        y = x * 2
    with torch.enable_grad():
        return x * y.detach() + x.data


def _set_channels(x: torch.Tensor) -> Any:
    y = x * 1
    y[:, 0] = y[:, 1]
    y[:, 2:3] = 7.0
    y[1] = y[0]
    return y


def _named(x: torch.Tensor) -> Any:
    a = torch.sum(input=x, dim=2, keepdim=True) + torch.mean(x, axis=2, keepdims=True)
    b = torch.flip(x, dims=(2,)) + torch.softmax(input=x, dim=2) + torch.roll(input=x, shifts=3, dims=2)
    c = torch.cat(tensors=(x, x), dim=2).narrow(dim=2, start=3, length=8)
    return a + b + c + torch.squeeze(input=torch.unsqueeze(input=x, dim=2), dim=2)


def _numpy_index(x: torch.Tensor) -> Any:
    return x[:, np.int64(1)].unsqueeze(1) + x[np.int64(0), :, np.int32(2) : np.int64(3)]


def _own_constants(x: torch.Tensor) -> Any:
    rows = torch.arange(x.shape[2], dtype=x.dtype)[:, None] + torch.zeros(x.shape[2:], dtype=x.dtype)
    return x * rows + torch.linspace(0, 1, x.shape[3], dtype=x.dtype) + torch.tensor(2.0)


def _swish(x: torch.Tensor) -> Any:
    from monai.networks.blocks import MemoryEfficientSwish

    return MemoryEfficientSwish()(x)


def _device(x: torch.Tensor) -> Any:
    return x.to(torch.device("cpu")) * torch.ones(1, device=x.device, dtype=torch.promote_types(x.dtype, torch.half))


def _types_of_others(x: torch.Tensor) -> Any:
    """What only tells a type or a device lies as it likes."""
    kernel = torch.arange(5, dtype=torch.float32).to(x)
    turned = torch.ones(6, 8, 4, 2, dtype=torch.int32).type_as(x.permute(3, 2, 1, 0))
    row = torch.zeros(1, 4, 1, 6, dtype=torch.float32).to(x)
    row.type_as(x), x.to(row), x.type(x.type())
    return x * kernel.sum() + row + turned.permute(3, 2, 1, 0)


def _fewer_rows_gathered(x: torch.Tensor) -> Any:
    index = torch.arange(5 * 6).reshape(1, 1, 5, 6).expand(2, 3, 5, 6) % 4
    return x.gather(1, index) * 2 + x.gather(1, x[:, :, :5].long().abs() % 4)[:, :1]


def _hooked(x: torch.Tensor) -> Any:
    """Hooks that look at the whole gradient, and not at this rank's part."""
    y = x * 2
    y.register_hook(lambda gradient: gradient / gradient.norm() + gradient.mean(2, keepdim=True))
    z = y.permute(0, 2, 3, 1) * y.permute(0, 2, 3, 1)
    z.register_hook(lambda gradient: None if gradient.shape == (2, 8, 6, 4) else gradient * 0)
    return z


def _weighted_entropy(x: torch.Tensor) -> Any:
    target = (x[:, 0] > 0).long() * 2
    target[:, :, 2:3] = 255
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=x.dtype)
    return functional.cross_entropy(x, target, weight, ignore_index=255) * x


def _transformer() -> nn.Module:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True, dtype=torch.float64)

    def work(module: Any, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        y = module.layer(tokens) + module.layer.eval()(tokens, src_key_padding_mask=torch.arange(48).expand(2, 48) > 40)
        return y.transpose(1, 2).reshape(x.shape)

    return Layer(work, layer=layer)


def _spectral() -> nn.Module:
    torch.manual_seed(0)
    return nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 3, padding=1, dtype=torch.float64))


LAYERS: dict[str, Callable[[], nn.Module]] = {"transformer": _transformer, "spectral norm": _spectral}
RIGHT: dict[str, Callable[[torch.Tensor], Any]] = {
    "in place through slices": _in_place_through_slice,
    "in place through reshape": _in_place_through_reshape,
    "copies changed": _changed_copies,
    "one hot": _one_hot,
    "no_grad": _without_gradient,
    "set channels": _set_channels,
    "keywords": _named,
    "numpy indices": _numpy_index,
    "constants": _own_constants,
    "known autograd function": _swish,
    "devices and types": _device,
    "types of others": _types_of_others,
    "fewer rows gathered": _fewer_rows_gathered,
    "hooks": _hooked,
    "weighted cross entropy": _weighted_entropy,
    "deviation of a constant": lambda x: (x * 0 + 3).std((2, 3)) + (x * 0).norm(dim=2).sum(2) + x.sum((2, 3)),
    "maximum of a constant": lambda x: functional.adaptive_max_pool2d(functional.relu(x - 9) + x * 0, 1) + x.mean(),
    "inner maximum of a constant": lambda x: functional.adaptive_max_pool2d((x * 0).transpose(2, 3), 1) * x,
    "var_mean of all": lambda x: x * torch.var_mean(x, False)[0] + torch.var_mean(x, unbiased=False)[1],
    "normalised": lambda x: functional.normalize(x) + functional.normalize(x, 1.0, 2) + functional.normalize(x, dim=3),
    "empty slices": lambda x: torch.cat([x[:, :, 8:], x, x[:, :, :0]], 2),
    "mask": lambda x: x[x > 0].sum() * x,
    "iteration": lambda x: sum(row for row in x.unbind(2)).unsqueeze(2) + x,
}
