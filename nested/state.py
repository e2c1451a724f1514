"""A run on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from nested import record
from nested.adaptive import Adaptive
from nested.files import atomic_write
from nested.reading import read_tensors, require_regular
from nested.run import Run
from solvers import InnerRun

FORMAT = "nested-restoration state 4"
OLDER = "nested-restoration state 3"
"""Of runs that could be neither chosen from nor edited; still read."""


class NestedState(Run):
    """A run that can be stored after any evaluation, and goes on from the file bit for bit."""

    def save(self, path: Path | str) -> None:
        """Write to a file (safetensors), whole or not at all. OSError where it cannot be written."""
        tensors = {"x_k": self.x_k, **{f"noise.{i}": state for i, state in enumerate(self.noise)}}
        if self.x0 is not None:
            tensors["x0"] = self.x0
        if self.y is not None:
            tensors["y"] = self.y
        if self.inner is not None:
            tensors["inner.x"] = self.inner.x
            tensors |= {f"inner.carry.{i}": tensor for i, tensor in enumerate(self.inner.carry)}
        facts = {
            "outer_step": self.outer_step,
            "nfe": self.nfe,
            "allocation": self.allocation,
            "seeds": self.seeds,
            "device": self.device,
            "identities": self.identities,
            "levels": self.levels,
            "inner_levels": None if self.inner is None else self.inner.levels,
            "record": record.told(self.record),
            **({} if self.effort is None else {"effort": self.effort.told()}),
        }
        # clone: safetensors refuses tensors that share memory, as x_k and x0 do at the end of a run.
        stored = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
        text = json.dumps(facts)
        content = save(stored, {"format": FORMAT, "state": text, "sha256": _digest(text, stored)})
        atomic_write(Path(path), lambda file: file.write(content))

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        configuration: tuple[Sequence[int] | Adaptive, Sequence[str]] | None = None,
        device: torch.device | str = "cpu",
    ) -> NestedState:
        """Read a state file.

        Args:
            path: written by :meth:`save`.
            configuration: ``NestedDiffusion.configuration`` of the run that is to go on.
            device: where its tensors go.

        Raises:
            ValueError: not a state file, a damaged one, or (given ``configuration``) another run's.
            OSError: it cannot be read.
        """
        require_regular(Path(path))  # before it is opened: a pipe would wait for ever
        with Path(path).open("rb"):  # says clearly what safetensors would not: missing, no permission
            pass
        try:
            tensors, metadata = read_tensors(Path(path))
            if metadata.get("format") not in (FORMAT, OLDER):
                raise ValueError(f"{path} is not a state file of this program")
            if metadata["sha256"] != _digest(metadata["state"], tensors):
                raise _DamagedError("its digest is that of another content")
            state = _built(cls, json.loads(metadata["state"]), tensors, device)
        except (
            _DamagedError,
            SafetensorError,
            KeyError,
            TypeError,
            IndexError,
            RecursionError,
            json.JSONDecodeError,
        ) as error:
            raise ValueError(f"{path} is not a state file, or is damaged: {error}") from None
        if configuration is not None:
            state.refuse_other(*configuration)
        return state


def _digest(facts: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of all that a state file holds, names, types and shapes among it."""
    digest = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()


class _DamagedError(Exception):
    """What a state file holds does not fit together."""


def _built(
    cls: type[NestedState], facts: Mapping[str, Any], tensors: Mapping[str, Tensor], device: torch.device | str
) -> NestedState:
    seeds, inner_levels = _whole(facts["seeds"]), facts["inner_levels"]
    carried = sorted(name for name in tensors if name.startswith("inner.carry."))
    inner = None
    if inner_levels is not None:
        carry = tuple(tensors[f"inner.carry.{i}"].to(device) for i in range(len(carried)))
        inner = InnerRun(tensors["inner.x"].to(device), _whole(inner_levels), carry)
    effort = _effort(facts["effort"]) if "effort" in facts else None
    if effort is not None and len(tensors["x_k"]) != 1:
        raise _DamagedError("an adaptive run is of one image")
    state = cls(
        x_k=tensors["x_k"].to(device),
        outer_step=_whole([facts["outer_step"]])[0],
        nfe=_whole([facts["nfe"]])[0],
        allocation=_whole(facts["allocation"]),
        seeds=seeds,
        noise=tuple(tensors[f"noise.{i}"] for i in range(len(seeds))),
        device=str(facts["device"]),
        identities=tuple(str(identity) for identity in facts["identities"]),
        levels=_whole(facts["levels"]),
        inner=inner,
        x0=tensors["x0"].to(device) if "x0" in tensors else None,
        record=_record(facts),
        y=tensors["y"].to(device) if "y" in tensors else None,
        effort=effort,
    )
    _check(state)
    return state


def _whole(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or any(type(value) is not int or not 0 <= value < 2**63 for value in values):
        raise _DamagedError("a number in it is none of ours")
    return tuple(values)


def _effort(told: Any) -> Adaptive:
    try:
        return Adaptive.heard(told)
    except ValueError as error:
        raise _DamagedError(error) from None


def _record(facts: Mapping[str, Any]) -> tuple[record.Act, ...]:
    if "record" in facts:
        try:
            return record.heard(facts["record"])
        except ValueError as error:
            raise _DamagedError(error) from None
    return tuple(map(_reallocation, facts.get("reallocations", [])))  # of the older format


def _reallocation(change: Any) -> record.Reallocation:
    if not isinstance(change, list) or len(change) != 2:
        raise _DamagedError("a change of its allocation is none of ours")
    return record.Reallocation(_whole(change[:1])[0], _whole(change[1]))


def _check(state: NestedState) -> None:
    """Whether all parts fit together; a file is not believed."""
    count, steps = len(state.seeds), len(state.allocation)
    inner = state.inner
    images = [state.x_k, *([] if state.x0 is None else [state.x0])]
    images += [] if inner is None else [inner.x, *inner.carry]
    moved = [] if state.y is None else [state.y]
    acted = [*(act.nfe for act in state.record), state.spent]
    fits = (
        count > 0
        and len(state.identities) == count
        and min(state.allocation, default=0) > 0
        and state.outer_step <= steps
        and state.nfe == sum(state.allocation[: state.outer_step])
        and len(state.levels) == steps + 1
        and state.levels[-1] == 0
        and all(above > below for above, below in pairwise(state.levels))
        and (state.x0 is not None) == (state.outer_step > 0)
        and state.x_k.ndim == 4
        and all(len(image) == count for image in (*images, *moved))
        and all(image.is_floating_point() and bool(image.isfinite().all()) for image in (*images, *moved))
        and acted == sorted(acted)
        and all(image.shape == state.x_k.shape for image in images[: 1 + (state.x0 is not None)])
    )
    if inner is not None:
        fits = (
            fits
            and not state.finished
            and 0 < len(inner.levels) < state.allocation[state.outer_step]
            and all(above > below for above, below in pairwise((state.levels[state.outer_step], *inner.levels, 0)))
            and inner.x.shape == state.x_k.shape
        )
    if not fits:
        raise _DamagedError("its parts do not fit together")
