"""What can go wrong with work that is spread over several processes."""

from medseg.errors import MedsegError

__all__ = ["RankError", "Unsupported", "UnsupportedOperation"]


class Unsupported(Exception):
    """Raised by a handler that knows that it does not know; becomes `UnsupportedOperation`."""


class RankError(MedsegError):
    """A process (rank) of a parallel job cannot start, has died or hangs; the message names it."""


class UnsupportedOperation(MedsegError):
    """An operation is not known to give the result of one device when a spatial dimension is cut.

    Parameters
    ----------
    operation : str
        Name of the function, such as ``torch.roll``.
    module : str
        Name and class of the module that calls it; empty where none does.
    reason : str
        Why it is refused, and what to do where something can be done.

    Examples
    --------
    >>> str(UnsupportedOperation("torch.roll", "layers.0.attn (WindowAttention)", "rows would cross the cut"))
    'torch.roll in module layers.0.attn (WindowAttention): not supported under spatial sharding: rows would cross the cut'
    """  # noqa: E501 - the message is one line

    def __init__(self, operation: str, module: str, reason: str) -> None:
        place = f"{operation} in module {module}" if module else operation
        super().__init__(f"{place}: not supported under spatial sharding: {reason}")
        self.operation, self.module, self.reason = operation, module, reason

    def __reduce__(self) -> tuple[type, tuple[str, str, str], dict[str, object]]:
        return type(self), (self.operation, self.module, self.reason), self.__dict__
