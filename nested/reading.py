"""Files that are read are checked before they are believed: regular, bounded, finite, of the right types."""

from __future__ import annotations

import json
import math
import types
from pathlib import Path
from typing import Any, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from safetensors import safe_open
from torch import Tensor

MOST_JSON = 256_000_000
"""Bytes of a JSON file; a chunk of results takes some 200 a row."""


def require_regular(path: Path, most: int | None = None) -> None:
    """Refuse what would hang or fill the memory when it is read.

    Raises:
        OSError: no such file, or it cannot be looked at.
        ValueError: a pipe, a device or a folder; a file of more than ``most`` bytes.
    """
    size = path.stat().st_size
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file")
    if most is not None and size > most:
        raise ValueError(f"{path} has {size:,} bytes, more than {most:,} that one of its kind has")


def read_json(path: Path, most: int = MOST_JSON, *, finite: bool = True) -> Any:
    """What a JSON file holds.

    Args:
        most: bytes.
        finite: refuse numbers that are none, or infinite.

    Raises:
        OSError: it cannot be read.
        ValueError: what :func:`require_regular` refuses, no JSON, too deep, or a number that is none.
    """
    require_regular(path, most)
    checks: dict[str, Any] = {"parse_constant": _refuse, "parse_float": _finite} if finite else {}
    try:
        return json.loads(path.read_text(encoding="utf-8"), **checks)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_tensors(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file.

    Raises:
        OSError: it cannot be read.
        ValueError: what :func:`require_regular` refuses.
        SafetensorError: it is none.
    """
    require_regular(path)
    with safe_open(str(path), framework="pt", device=device) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        return tensors, dict(file.metadata() or {})


def conform(value: Any, kind: Any, name: str = "it") -> Any:
    """The value, once it is of a type: a class, ``list[…]``, ``dict[str, …]``, a union or a ``TypedDict``.

    A whole number is a float too, but true and false are no numbers. A ``TypedDict`` may have more keys.

    Raises:
        ValueError: it is not; the message names the part that is wrong.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if is_typeddict(kind):
        _demand(isinstance(value, dict), value, name, "an object")
        for key, told in get_type_hints(kind, include_extras=True).items():
            optional = get_origin(told) is NotRequired
            if key in value:
                conform(value[key], get_args(told)[0] if optional else told, f"{name}.{key}")
            elif not optional:
                raise ValueError(f"{name}.{key} is missing")
    elif origin in (Union, types.UnionType):
        if not any(_conforms(value, of) for of in inner):
            raise ValueError(f"{name} must be one of {', '.join(map(_named, inner))}: got {_short(value)}")
    elif origin is list:
        _demand(isinstance(value, list), value, name, "a list")
        for i, item in enumerate(value):
            conform(item, inner[0], f"{name}[{i}]")
    elif origin is dict:
        _demand(isinstance(value, dict), value, name, "an object")
        for key, item in value.items():
            conform(item, inner[1], f"{name}.{key}")
    else:
        wanted = (int, float) if kind is float else kind
        right = isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))
        _demand(right and not (isinstance(value, float) and not math.isfinite(value)), value, name, _named(kind))
    return value


def _conforms(value: Any, kind: Any) -> bool:
    try:
        conform(value, kind)
    except ValueError:
        return False
    return True


def _demand(right: bool, value: Any, name: str, wanted: str) -> None:
    if not right:
        raise ValueError(f"{name} must be {wanted}: got {_short(value)}")


def _short(value: Any) -> str:
    return "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)[:60]


def _named(kind: object) -> str:
    named = ((str, "a text"), (int, "a whole number"), (float, "a finite number"), (bool, "true or false"))
    return next((words for of, words in named if of is kind), "nothing" if kind is type(None) else str(kind))


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is beyond all numbers")
    return value
