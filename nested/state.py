"""Where a nested run stands between two outer steps: enough to go on, in a file if need be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from nested.files import atomic_write

FORMAT = "nested-restoration state 1"


@dataclass(frozen=True, eq=False)
class NestedState:
    """A run's position after ``outer_step`` completed outer steps. A value: running from it does not change it.

    Args:
        x_k: (B, C, H, W) float32, at the noise level where the next inner run starts.
        outer_step: completed outer steps, 0 … len(allocation).
        nfe: network evaluations spent, per image.
        allocation: inner steps of every outer step.
        seeds: one an image.
        noise: ``NoiseSource.state()``.
        device: kind of device whose noise stream this is ("cpu", "cuda").
        configuration: hash of everything that decides the run but for the seeds.
        x0: the newest completed estimate, None before the first.
    """

    x_k: Tensor
    outer_step: int
    nfe: int
    allocation: tuple[int, ...]
    seeds: tuple[int, ...]
    noise: tuple[Tensor, ...]
    device: str
    configuration: str
    x0: Tensor | None = None

    @property
    def finished(self) -> bool:
        """Whether every outer step is done."""
        return self.outer_step == len(self.allocation)

    def refuse_other(self, configuration: str) -> None:
        """ValueError unless this is the state of a run with the given configuration."""
        if self.configuration != configuration:
            raise ValueError(
                "this is the state of another run (prior, measurement, solver settings or allocation differ); "
                "repeat that run's settings or start without it"
            )

    def save(self, path: Path | str) -> None:
        """Write to a file (safetensors), whole or not at all. OSError where it cannot be written."""
        tensors = {"x_k": self.x_k, **{f"noise.{i}": state for i, state in enumerate(self.noise)}}
        if self.x0 is not None:
            tensors["x0"] = self.x0
        facts = {
            "outer_step": self.outer_step,
            "nfe": self.nfe,
            "allocation": self.allocation,
            "seeds": self.seeds,
            "device": self.device,
            "configuration": self.configuration,
        }
        # clone: safetensors refuses tensors that share memory, as x_k and x0 do at the end of a run.
        stored = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
        content = save(stored, {"format": FORMAT, "state": json.dumps(facts)})
        atomic_write(Path(path), lambda file: file.write(content))

    @classmethod
    def load(
        cls, path: Path | str, *, configuration: str | None = None, device: torch.device | str = "cpu"
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
        with Path(path).open("rb"):  # says clearly what safetensors would not: missing, a folder, no permission
            pass
        try:
            with safe_open(str(path), framework="pt") as file:
                metadata: Mapping[str, str] = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise ValueError(f"{path} is not a state file of this program")
                facts: dict[str, Any] = json.loads(metadata["state"])
                tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                state = cls(
                    x_k=tensors["x_k"].to(device),
                    outer_step=int(facts["outer_step"]),
                    nfe=int(facts["nfe"]),
                    allocation=tuple(int(n) for n in facts["allocation"]),
                    seeds=tuple(int(seed) for seed in facts["seeds"]),
                    noise=tuple(tensors[f"noise.{i}"] for i in range(len(facts["seeds"]))),
                    device=str(facts["device"]),
                    configuration=str(facts["configuration"]),
                    x0=tensors["x0"].to(device) if "x0" in tensors else None,
                )
        except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is not a state file, or is damaged: {error}") from None
        if configuration is not None:
            state.refuse_other(configuration)
        return state
