"""A training that is stopped after some checkpoints, as by Ctrl-C."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from medseg.training import loop


@contextmanager
def stopped_after(checkpoints: int) -> Iterator[None]:
    """Expect that what is done inside is interrupted after so many checkpoints."""
    save, calls = loop.save_checkpoint, [0]

    def save_and_stop(path: Any, content: Any) -> None:
        save(path, content)
        calls[0] += 1
        if calls[0] == checkpoints:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            yield
