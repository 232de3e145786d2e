"""Every field of a pipeline file with its meaning, for people."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

__all__ = ["describe_fields"]


def describe_fields(settings: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Yield the dotted name, the value and the description of every field, depth first."""
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from describe_fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, field.description or ""
