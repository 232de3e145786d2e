"""Reading a pipeline file, with overrides, and saying in one line what is wrong with it."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from medseg.config.pipeline import Pipeline
from medseg.config.shipped import find_shipped
from medseg.config.strict_yaml import parse_yaml
from medseg.errors import ConfigError
from medseg.evaluation.settings import EvaluationSettings

__all__ = ["apply_overrides", "evaluation_settings", "load_pipeline", "pipeline_from_dict"]


def load_pipeline(source: str | Path, overrides: Iterable[str] = ()) -> Pipeline:
    """Load a pipeline.

    Parameters
    ----------
    source : str or Path
        A YAML file, or the name of a shipped pipeline.
    overrides : iterable of str
        ``key=value``, the key with dots (``training.max_epochs=3``), the value as YAML.

    Raises
    ------
    ConfigError
        In one line: the field, what was given and what is allowed.
    """
    path = Path(source)
    if not path.is_file():
        if path.suffix in (".yaml", ".yml") or "/" in str(source):
            raise ConfigError(f"pipeline {source}: no such file")
        path = find_shipped(str(source))
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not text in UTF-8 ({error})") from error
    content = parse_yaml(text, origin=str(path))
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a pipeline is a YAML mapping, found {type(content).__name__}")
    return pipeline_from_dict(apply_overrides(content, overrides), origin=path.name)


def apply_overrides(content: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return `content` with each ``key=value`` set.

    Examples
    --------
    >>> apply_overrides({"training": {"seed": 0}}, ["training.seed=4"])
    {'training': {'seed': 4}}
    """
    result = _copy(content)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"override '{override}': expected key=value, for example training.max_epochs=3")
        value = parse_yaml(text, origin=f"override '{override}'")
        *parents, last = key.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise ConfigError(f"override '{override}': {parent} holds a value, not further fields")
        place[last] = value
    return result


def _copy(value: Any) -> Any:
    return {key: _copy(item) for key, item in value.items()} if isinstance(value, dict) else value


def pipeline_from_dict(content: dict[str, Any], *, origin: str = "pipeline") -> Pipeline:
    """Validate a pipeline given as a dictionary; see `load_pipeline` for the errors."""
    try:
        return Pipeline.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_one_line(error)}") from error


def evaluation_settings(overrides: Iterable[str], content: dict[str, Any] | None = None) -> EvaluationSettings:
    """Settings of an evaluation: `content`, with each ``key=value`` set; for the errors see `load_pipeline`."""
    try:
        return EvaluationSettings.model_validate(apply_overrides(content or {}, overrides))
    except ValidationError as error:
        raise ConfigError(f"evaluation: {_one_line(error, below=('evaluation',))}") from error


def _one_line(error: ValidationError, *, below: tuple[str, ...] = ()) -> str:
    """All that is wrong; `below` is where the settings stand in a pipeline."""
    problems = []
    for detail in error.errors(include_url=False):
        location = [str(part) for part in detail["loc"]]
        location = _without_tags(location)
        field, given = ".".join(location), detail.get("input")
        location = [*below, *location]
        if detail["type"] == "extra_forbidden":
            problems.append(f"{field} is not a field{_suggest(location, (*below, *detail['loc']))}")
        elif detail["type"] == "missing":
            problems.append(f"{field} is missing{_describe(location)}")
        else:
            message = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            message = message.replace("a valid tuple", "a list in brackets, such as [0, 0.2]")
            shown = "" if isinstance(given, dict) or not field else f": given {given!r}, allowed: "
            problems.append(f"{field}{shown}{'' if shown or not field else ': '}{message}{_describe(location)}")
    return "; ".join(problems[:5])


def _without_tags(location: list[str]) -> list[str]:
    """Drop the tag of a tagged union (``network.unet.filters`` -> ``network.filters``)."""
    if len(location) > 1 and location[0] in ("network", "detector"):
        return [location[0], *location[2:]]
    return location


def _models(location: list[str]) -> list[type[BaseModel]]:
    """The settings classes that may stand at `location`."""
    models: list[type[BaseModel]] = [Pipeline]
    for part in location:
        inner: list[type[BaseModel]] = []
        for model in models:
            field = model.model_fields.get(part)
            if field is not None:
                inner += _classes(field.annotation)
        models = inner
    return models


def _classes(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    if get_origin(annotation) is not None or isinstance(annotation, type(Union[int, str])):  # noqa: UP007
        return [found for part in get_args(annotation) for found in _classes(part)]
    return []


def _suggest(location: list[str], full: tuple[int | str, ...]) -> str:
    models = _models(location[:-1])
    tagged = [model for model in models if full[1:2] and full[1] in _tags(model)]  # the chosen member of a union
    names = sorted({name for model in tagged or models for name in model.model_fields})
    close = difflib.get_close_matches(location[-1], names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"{hint}; allowed here: {', '.join(names)}" if names else hint


def _tags(model: type[BaseModel]) -> set[Any]:
    """Values by which a member of a tagged union is chosen: the defaults of its first field."""
    return {next(iter(model.model_fields.values())).default}


def _describe(location: list[str]) -> str:
    for model in _models(location[:-1]) if location else []:
        field = model.model_fields.get(location[-1])
        if field is not None and field.description:
            return f" ({field.description})"
    return ""
