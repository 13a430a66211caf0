"""Strict conversion between JSON objects and frozen dataclasses: every field is present, known, and of its type.

A misspelt or missing field is an error with the field's name, never a silent default. pydantic (tried with 2.14)
accepts unknown and missing fields of plain dataclasses; making it strict needs a configuration of each class, a
second check for missing fields, and a translation of its messages, and is not shorter.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from fetaliqa.errors import FetalIQAError

Record = TypeVar("Record")


def to_json(record: Any) -> Any:
    """The record as JSON values (tuples become lists, nested records become objects)."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {field.name: to_json(getattr(record, field.name)) for field in dataclasses.fields(record)}
    if isinstance(record, Mapping):
        return {str(key): to_json(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [to_json(value) for value in record]
    return record


def from_json(kind: type[Record], value: Any, where: str, error: type[FetalIQAError]) -> Record:
    """Build ``kind`` from parsed JSON.

    Args:
        kind: a dataclass of str, int, float, bool, Literal, tuple, dict, optional and nested dataclass fields.
        value: result of ``json.loads``.
        where: name of the source, which begins the error message.
        error: the exception class to raise.

    Raises:
        FetalIQAError: (as ``error``) naming the first missing, unknown or wrong field.
    """
    if not isinstance(value, dict):
        raise error(f"{where}: expected an object with named fields, found {_described(value)}")
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in names:
        if name not in value:
            raise error(f"{where}: the field {name!r} is missing")
    for name in value:
        if name not in names:
            raise error(f"{where}: the field {name!r} is not known; known are {', '.join(names)}")
    fields = {name: _converted(hints[name], value[name], f"{where}: {name}", error) for name in names}
    try:
        return kind(**fields)
    except ValueError as problem:  # a dataclass's own __post_init__ check
        raise error(f"{where}: {problem}") from None


def _described(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _converted(hint: Any, value: Any, where: str, error: type[FetalIQAError]) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return from_json(hint, value, where, error)  # type: ignore[arg-type]
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        inner = [argument for argument in arguments if argument is not type(None)]
        return _converted(_closest(inner, value), value, where, error)
    if origin is Literal:
        if value not in arguments:
            raise error(f"{where} is {_described(value)}; accepted are {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        return _tuple(arguments, value, where, error)
    if origin is dict:
        if not isinstance(value, dict):
            raise error(f"{where} is {_described(value)}; an object is needed")
        return {key: _converted(arguments[1], item, f"{where}: {key}", error) for key, item in value.items()}
    return _scalar(hint, value, where, error)


def _closest(kinds: list[Any], value: Any) -> Any:
    """The dataclass with the most fields in common with the object."""
    if len(kinds) == 1 or not isinstance(value, dict):
        return kinds[0]
    return max(kinds, key=lambda kind: len({one.name for one in dataclasses.fields(kind)} & set(value)))


def _tuple(arguments: tuple[Any, ...], value: Any, where: str, error: type[FetalIQAError]) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise error(f"{where} is {_described(value)}; a list is needed")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise error(f"{where} has {len(value)} entries; {len(arguments)} are needed")
    return tuple(
        _converted(hint, item, f"{where}[{index}]", error)
        for index, (hint, item) in enumerate(zip(arguments, value, strict=True))
    )


def _scalar(hint: Any, value: Any, where: str, error: type[FetalIQAError]) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    # bool is an int in Python: `"rank": true` must not count as 1
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise error(f"{where} is {_described(value)}; {hint.__name__} is needed")
    if isinstance(value, float) and not math.isfinite(value):
        raise error(f"{where} is {value}; a finite number is needed")
    return value
