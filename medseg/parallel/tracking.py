"""Who has which rows of a tensor, noted on the tensor, and how rows are moved between ranks."""

from collections.abc import Sequence

import torch
from torch import nn

from medseg.errors import ConfigError
from medseg.parallel import aliases
from medseg.parallel.calls import foreign_function
from medseg.parallel.errors import Unsupported
from medseg.parallel.layout import Cut, Layout
from medseg.parallel.space import Place, Rows, Space
from medseg.parallel.whereabouts import ModuleStack

__all__ = ["OUTSIDE", "TAG", "Tracking", "layout_of"]

TAG = "_medseg_layout"  # attribute of a tracked tensor: (signature of its space, layout)
OUTSIDE = "_medseg_outside"  # attribute of a tensor that an autograd function of others made before it came in
ENTERED = "_medseg_entered"  # attribute of a tensor that came in as this rank's part, outside of any module
FRESH = "_medseg_fresh"  # attribute of a constant that was just made


def layout_of(tensor: torch.Tensor) -> Layout | None:
    """Layout of a tensor that was made inside a sharding context; None for any other."""
    tag = tensor.__dict__.get(TAG)
    return None if tag is None else tag[1]


class Tracking:
    """The layouts of the tensors of a context.

    Attributes
    ----------
    space : Space
    """

    space: Space
    _modules: ModuleStack
    _moves: int  # how often rows were moved

    def tag(self, tensor: torch.Tensor, layout: Layout) -> torch.Tensor:
        """Note how a tensor lies on the ranks."""
        if (made := foreign_function(tensor)) is not None:
            setattr(tensor, OUTSIDE, made)
        setattr(tensor, TAG, (self.space.signature, layout))
        return tensor

    def replicated(self, tensor: torch.Tensor) -> torch.Tensor:
        """Note that every rank has the same values."""
        return self.tag(tensor, self.everywhere)

    def enter_part(self, tensor: torch.Tensor, *cuts: Cut) -> torch.Tensor:
        """Say how the parts of a tensor from outside lie on the ranks, which saves their asking each other."""
        layout = Layout(cuts)
        self.space.check(tensor, layout)
        return self.tag(tensor, layout)

    def check_slice(self, tensor: torch.Tensor, *numbers: int) -> None:
        """Compare the ranks' indices along the cut of a tensor that has just come in, outside of any module.

        Whoever means to take this rank's rows has forgotten that inside a tensor stands for the whole.

        Raises
        ------
        Unsupported
            Where they differ, on every rank.
        """
        entered = tensor.__dict__.get(ENTERED, False) and not self._modules.is_inside
        if entered and not self.space.agree(numbers, tensor.device):
            raise Unsupported("ranks take different rows of the whole; take a rank's rows before entering the context")

    def check_weights(self, *weights: torch.Tensor | None) -> None:
        """Refuse weights that are cut.

        Raises
        ------
        Unsupported
        """
        for weight in weights:
            if weight is not None and self.is_tracked(weight) and not self.layout(weight).is_replicated:
                raise Unsupported("the weight is cut: it must be the same on every rank")

    @staticmethod
    def is_tracked(tensor: torch.Tensor) -> bool:
        """Whether it is known how the tensor lies on the ranks."""
        return TAG in tensor.__dict__

    @property
    def everywhere(self) -> Layout:
        """Layout of what is the same on every rank."""
        return Layout.replicated(self.space.axes)

    def layout(self, tensor: torch.Tensor) -> Layout:
        """Layout of an operand.

        Parameters, buffers and tensors without the dimensions that are cut are the same on every rank; any other
        tensor from outside is this rank's part of a whole.
        """
        tag = tensor.__dict__.get(TAG)
        if tag is not None and ENTERED in tensor.__dict__ and tag[0] != self.space.signature:
            tag = None  # it was a part in another context, and comes in anew
        if tag is None:
            if isinstance(tensor, nn.Parameter) or tensor.ndim <= max(self.space.dims):
                return self.everywhere
            layout = self.space.entering(tensor)
            setattr(tensor, ENTERED, not self._modules.is_inside)
            self.tag(tensor, layout)
            return layout
        signature, layout = tag
        if layout.is_replicated:
            self.space.check(tensor, self.everywhere)
            return self.everywhere
        if signature != self.space.signature:
            raise ConfigError("a tensor of one sharding was used in another; detach it and start anew")
        self.space.check(tensor, layout)
        return layout

    def shape(self, tensor: torch.Tensor) -> torch.Size:
        """Shape of the whole tensor."""
        return torch.Size(self.layout(tensor).whole(tensor.shape, self.space.place))

    # -- moving rows

    def moved(self, tensor: torch.Tensor, target: Layout) -> torch.Tensor:
        """Bring a tensor to another layout: to other bounds, to everybody, or from everybody to parts.

        Raises
        ------
        ConfigError
            Where the target has other numbers of rows than the tensor.
        """
        layout = self.layout(tensor)
        if layout == target:
            return tensor
        self._check_rows(tensor, target)
        self._moves += 1
        wants: dict[int, list[tuple[int, int]]] = {}
        between = layout
        for axis, (cut, goal) in enumerate(zip(layout.cuts, target.cuts)):
            if cut is None or cut == goal:
                continue
            if goal is not None and goal.dim == cut.dim:
                wants[axis] = goal.intervals()
                between = between.replace(axis, goal)
            else:
                wants[axis] = [(0, cut.size)] * cut.ranks
                between = between.replace(axis, None)
        if wants:
            rows = Rows(tensor, layout, wants)
            tensor = self.tag(self.space.map(_same, rows, layout=between), between)
        narrow = [(axis, goal) for axis, goal in enumerate(target.cuts) if goal is not None and not between.cuts[axis]]
        if narrow:

            def own(place: Place, x: torch.Tensor) -> torch.Tensor:
                for axis, goal in narrow:
                    low, high = goal.own(place[axis])
                    x = x.narrow(goal.dim, low, high - low)
                return x

            tensor = self.tag(self.space.map(own, tensor, layout=target), target)
        return tensor

    def _check_rows(self, tensor: torch.Tensor, target: Layout) -> None:
        layout, shape = self.layout(tensor), self.shape(tensor)
        for goal in target.cuts:
            if goal is None or (goal.dim < len(shape) and shape[goal.dim] == goal.size):
                continue
            text = f"a tensor of shape {tuple(shape)} does not fit {goal.size} rows along dimension {goal.dim}"
            if layout.is_replicated:
                text += "; it was taken for the same on every rank: if it is a part, give it the input's dimensions"
            raise ConfigError(text)

    def divided_in_place(self, tensor: torch.Tensor, target: Layout) -> torch.Tensor | None:
        """Turn a constant that was just made, the same on every rank, into parts; None where that is not safe.

        So a tensor of zeros can be filled by the values of a tensor that is cut, as in a one-hot encoding.
        """
        fresh = tensor.__dict__.get(FRESH, False) and not tensor.requires_grad and not tensor._is_view()
        if not fresh or not self.layout(tensor).is_replicated:
            return None
        aliases.part(tensor)
        return self.tag(self.space.replaced(tensor, self.moved(tensor, target)), target)

    def fresh(self, tensor: torch.Tensor) -> torch.Tensor:
        """Note that a tensor is a constant that was just made and has no views."""
        setattr(tensor, FRESH, True)
        return self.replicated(tensor)

    def whole(self, tensor: torch.Tensor) -> torch.Tensor:
        """Gather a tensor: every rank then has all of it."""
        return self.moved(tensor, self.everywhere)

    def common(self, operands: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], Layout]:
        """Bring operands that are broadcast against each other to one layout, that of the first cut one.

        Returns
        -------
        operands : list of Tensor
        layout : Layout
            Of the result, whose dimensions are those of the operand with the most.
        """
        outside = [not self.is_tracked(operand) for operand in operands]
        layouts = [self.layout(operand) for operand in operands]
        if all(layout.is_replicated for layout in layouts):
            return list(operands), self.everywhere
        ndim = max(operand.ndim for operand in operands)
        shapes = [self.shape(operand) for operand in operands]
        for new, layout in zip(outside, layouts):
            if new:
                self._check_part(layout, shapes, ndim)
        goal = self.everywhere
        for axis in range(self.space.axes):
            for operand, layout in zip(operands, layouts):
                cut = layout.cuts[axis]
                if cut is None:
                    continue
                dim = cut.dim + ndim - operand.ndim
                widest = max(s[dim - ndim] for s in shapes if len(s) >= ndim - dim)
                if dim not in goal.dims and cut.size == widest:
                    goal = goal.replace(axis, cut.at(dim))
                    break
        return [self._towards(operand, goal, ndim) for operand in operands], goal

    @staticmethod
    def _check_part(layout: Layout, shapes: Sequence[torch.Size], ndim: int) -> None:
        """Refuse one row from each rank where another operand has one row in all: it is hardly a part."""
        for cut in layout.cuts:
            if cut is None or cut.ranks == 1 or any(high - low != 1 for low, high in cut.intervals()):
                continue
            others = [shape[cut.dim] for shape in shapes if len(shape) == ndim and cut.dim < ndim]
            if 1 in others:
                raise ConfigError(
                    f"a tensor from outside has one row along dimension {cut.dim} on every rank, and was taken for a "
                    "part; if it is the same everywhere, make it a parameter or a buffer, or mark it by `replicate`"
                )

    def _towards(self, operand: torch.Tensor, goal: Layout, ndim: int) -> torch.Tensor:
        """Bring an operand to the layout of the result, with the dimensions that it has."""
        shape, missing = self.shape(operand), ndim - operand.ndim
        own = goal
        for axis, cut in enumerate(goal.cuts):
            if cut is None:
                continue
            dim = cut.dim - missing
            broadcast = dim < 0 or (shape[dim] == 1 and cut.size != 1)
            if not broadcast and shape[dim] != cut.size:
                raise ConfigError(
                    f"sizes {tuple(shape)} do not fit {cut.size} along the dimension that is cut; a tensor from "
                    "outside that is the same on every rank must be a parameter, a buffer, or marked by `replicate`"
                )
            own = own.replace(axis, None if broadcast else cut.at(dim))
        return self.moved(operand, own)


def _same(place: Place, x: torch.Tensor) -> torch.Tensor:
    return x
