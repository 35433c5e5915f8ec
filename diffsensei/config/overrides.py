"""Dotted-path overrides (``training.stage1.steps=10``): each gives a new, re-validated `ExperimentConfig`."""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from diffsensei.config.base import Config
from diffsensei.config.experiment import ExperimentConfig
from diffsensei.config.gate import Against
from diffsensei.config.presets import PRESETS
from diffsensei.config.schema import DataSource

SOURCE_KIND = "data.source.kind"


def _by_kind(union: Any) -> dict[str, type[Config]]:
    return {model.model_fields["kind"].default: model for model in get_args(get_args(union)[0])}


SOURCES = _by_kind(DataSource)
"""What ``data.source.kind`` may say, and the fields that come with it."""

_KINDS = {"source": SOURCES, "against": _by_kind(Against)}
"""Field -> its kinds. Pydantic's locations hold the kind as a part of its own, which nobody wrote."""

_UNSET = object()
"""Stands for a field of a switched source that has no default: it can be set, and is missing until it is."""


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one line for the person who wrote it."""


def load_preset(name: str, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """The preset called ``name`` with ``a.b=value`` overrides applied.

    Raises ConfigError for an unknown preset, an unknown path (listing the known ones) or an invalid value.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}; known: {', '.join(PRESETS)}")
    return override(PRESETS[name](), overrides)


def override(config: ExperimentConfig, assignments: Iterable[str]) -> ExperimentConfig:
    """``config`` with every ``path=value`` applied together and validated once."""
    values = config.model_dump(mode="json")
    parsed = []
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"override {assignment!r}: expected path=value, for example training.stage1.steps=10")
        parsed.append((path.strip(), parse_value(text.strip())))
    # A source's kind decides which fields it has: it goes first, in whatever order they were written.
    for path, value in sorted(parsed, key=lambda pair: pair[0] != SOURCE_KIND):
        if path == SOURCE_KIND:
            _switch_source(values["data"], value)
        else:
            _assign(values, path, value)
    source = values["data"]["source"]
    if isinstance(source, dict):
        values["data"]["source"] = {name: value for name, value in source.items() if value is not _UNSET}
    try:
        return ExperimentConfig.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise ConfigError(describe(error)) from None


def flatten(value: BaseModel) -> dict[str, Any]:
    """Every leaf of a configuration by its dotted path, in schema order; tuples are leaves."""

    def walk(prefix: str, node: Any) -> Iterable[tuple[str, Any]]:
        if isinstance(node, dict):
            for key, child in node.items():
                yield from walk(f"{prefix}.{key}" if prefix else key, child)
        else:
            yield prefix, node

    return dict(walk("", value.model_dump(mode="json")))


def describe(error: ValidationError) -> str:
    """A pydantic error as one line: path, what is wrong, what came."""

    def one(item: Any) -> str:
        parts = [str(part) for part in item["loc"]]
        path = ".".join(part for before, part in pairwise(["", *parts]) if part not in _KINDS.get(before, ()))
        message = item["msg"].removeprefix("Value error, ")
        came = "" if isinstance(item["input"], dict) else f", got {item['input']!r}"
        return f"{path}: {message}{came}" if path else message

    return "; ".join(one(item) for item in error.errors())


def _switch_source(data: dict[str, Any], kind: Any) -> None:
    """Give ``data.source`` the fields of another kind, at their defaults; the same kind keeps its values."""
    if not isinstance(kind, str) or kind not in SOURCES:
        raise ConfigError(f"{SOURCE_KIND}: expected one of {', '.join(SOURCES)}, got {kind!r}")
    if data["source"]["kind"] == kind:
        return
    fields = SOURCES[kind].model_fields.items()
    defaults = {name: _UNSET if field.is_required() else field.default for name, field in fields}
    data["source"] = defaults | {"kind": kind}


def _assign(values: dict[str, Any], path: str, value: Any) -> None:
    node: Any = values
    parts = path.split(".")
    for depth, part in enumerate(parts):
        if not isinstance(node, dict) or part not in node:
            parent = ".".join(parts[:depth])
            if isinstance(node, dict):
                raise ConfigError(f"unknown field {path!r}: {parent or 'the experiment'} has {', '.join(node)}")
            raise ConfigError(f"unknown field {path!r}: {parent} is a value, not a section")
        if depth == len(parts) - 1:
            if isinstance(node[part], dict) and not isinstance(value, dict):
                raise ConfigError(f"{path!r} is a section with fields {', '.join(node[part])}; set one of them")
            node[part] = value
        else:
            node = node[part]


def parse_value(text: str) -> Any:
    """JSON where it is JSON (numbers, lists, true, null), a string otherwise."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
