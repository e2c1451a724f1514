"""What was done to a run beside running it, in order: with the seeds, all that is needed to make it again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from nested.adaptive import Adaptive


@dataclass(frozen=True)
class Reallocation:
    """The allocation was changed.

    Args:
        nfe: evaluations spent then.
        allocation: what it was before.
        effort: that had decided it until then; None where it was given.
    """

    nfe: int
    allocation: tuple[int, ...]
    effort: Adaptive | None = None


@dataclass(frozen=True)
class Choice:
    """Some of several candidates were kept, and others forked from them.

    Args:
        nfe: evaluations spent then.
        candidates: the seeds of all candidates before.
        kept: positions among them, counted from 0.
        seeds: of the candidates after, as many of each that was kept; one with the seed of that which it is forked
            from goes on with its noise, another one begins noise of its own.
    """

    nfe: int
    candidates: tuple[int, ...]
    kept: tuple[int, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Edit:
    """The newest completed estimate was changed.

    Args:
        nfe: evaluations spent then.
        sha256: of the image that was put in its place, as :func:`digest`.
        trust: it was kept also where it contradicts what was measured.
    """

    nfe: int
    sha256: str
    trust: bool


Act = Reallocation | Choice | Edit

_NAMES: dict[str, type[Act]] = {"reallocation": Reallocation, "choice": Choice, "edit": Edit}


def digest(image: Tensor) -> str:
    """SHA-256 of an image's shape and its values in float32: equal for equal images, on any device."""
    values = image.detach().cpu().to(torch.float32).contiguous()
    return hashlib.sha256(f"{tuple(values.shape)}".encode() + values.numpy().tobytes()).hexdigest()


def told(record: Iterable[Act]) -> list[dict[str, Any]]:
    """The record as JSON can hold it."""
    names = {kind: name for name, kind in _NAMES.items()}
    return [{"act": names[type(act)], **_facts(act)} for act in record]


def _facts(act: Act) -> dict[str, Any]:
    facts = asdict(act)
    if isinstance(act, Reallocation):
        facts.pop("effort")
        return facts if act.effort is None else {**facts, "effort": act.effort.told()}
    return facts


def heard(told: Any) -> tuple[Act, ...]:
    """The record from JSON, once it is one.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(told, list):
        raise ValueError("its record is no list")
    return tuple(map(_act, told))


def _act(told: Any) -> Act:
    if not isinstance(told, Mapping) or told.get("act") not in _NAMES:
        raise ValueError("an act in its record is none of ours")
    kind = _NAMES[told["act"]]
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in told.items() if name != "act"
    }
    if kind is Reallocation and "effort" in given:
        given["effort"] = Adaptive.heard(given["effort"])
    elif kind is Reallocation:
        given["effort"] = None
    if set(given) != set(kind.__dataclass_fields__):
        raise ValueError("an act in its record has parts that are none of ours")
    act = kind(**given)
    if not _whole([act.nfe]) or not _sound(act):
        raise ValueError("an act in its record is none of ours")
    return act


def _sound(act: Act) -> bool:
    if isinstance(act, Reallocation):
        return isinstance(act.allocation, tuple) and _whole(act.allocation)
    if isinstance(act, Edit):
        text = isinstance(act.sha256, str) and len(act.sha256) == 64
        return text and isinstance(act.trust, bool)
    numbers = act.candidates, act.kept, act.seeds
    if not all(isinstance(part, tuple) and part and _whole(part) for part in numbers):
        return False
    return max(act.kept) < len(act.candidates) and len(act.seeds) % len(act.kept) == 0


def _whole(values: Iterable[Any]) -> bool:
    return all(type(value) is int and 0 <= value < 2**63 for value in values)
