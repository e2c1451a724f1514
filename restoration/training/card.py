"""The model card, written from what a run did and measured."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from restoration.training.objective import LEVELS

ByLevel = dict[int, tuple[float, float]]
TAGS = ["nested-restoration", "image-restoration", "inverse-problems", "diffusion", "ddpm"]
LICENCES = (
    "apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0",
    "cc-by-nc-nd-4.0", "odc-by", "odbl", "pddl",
)  # fmt: skip
"""Identifiers of licences that data may have, as hubs spell them."""


@dataclass
class Facts:
    """What is told of a run. `data` is names, never paths: a card travels."""

    name: str
    command: str
    data: list[str]
    data_licence: str
    pictures: int
    held_out: int
    skipped: int
    size: int
    channels: int
    crop: bool
    flip: bool
    parameters: int
    init: str | None
    steps: int
    images: int
    seconds: float
    batch: int
    rate: float
    gamma: float | None
    """Of min-SNR; None for levels and weights that are balanced over all noise."""
    precision: str
    hardware: str
    versions: dict[str, str]
    low: float = 0.5
    """The share of levels drawn evenly in ln σ."""
    decay: float = 0.9999
    """The most the moving average keeps of its past at a step."""
    finished: bool = False
    loss: float = float("nan")
    """Of the last tenth of the run, weighted as in training."""
    examples: int = 0
    by_level: ByLevel = field(default_factory=dict)
    by_level_before: ByLevel = field(default_factory=dict)
    """Of the prior given by ``--init``, on the same examples and noise."""

    def as_json(self) -> str:
        """For programs."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    def as_card(self) -> str:
        """For people, in Markdown, with front matter for hubs."""
        return with_front_matter("\n".join([*self._text(), *self.table()]), self.data_licence)

    def _text(self) -> list[str]:
        colour = "grey" if self.channels == 1 else "RGB"
        form = (
            f"random {self.size} x {self.size} crops"
            if self.crop
            else f"whole pictures, {self.size} x {self.size}"
        )
        start = f"From `{self.init}`" if self.init else "From random weights"
        return [
            f"# {self.name}",
            "",
            f"An unconditional diffusion prior, {self.size} x {self.size} {colour} on the [-1, 1] scale: a DDPM",
            f"pipeline folder in diffusers format. {self.parameters / 1e6:.1f} M parameters, fp16 safetensors,",
            "v-prediction, linear schedule 1e-4 … 0.02 over 1,000 steps.",
            "",
            f"**Licence of the data.** {self.data_licence or 'Not given by whoever trained it.'}",
            "",
            f"**Data.** {', '.join(self.data)}: {self.pictures:,} pictures ({self.held_out} of them held out, "
            f"{self.skipped} more skipped), as {form}{', mirrored at random' if self.flip else ''}.",
            "",
            f"**Training.** {start}: {self.steps:,} steps of {self.batch}, {self.images:,} images in "
            f"{self.seconds / 60:.1f} minutes ({self.images / max(self.seconds, 1e-9):.0f} images/s) on "
            f"{self.hardware}, {self.precision}; AdamW {self.rate:g} with a cosine, moving average of weights "
            f"({self.decay:g}), {_weighting(self.gamma, self.low)}. "
            f"The weighted loss over the last tenth was {self.loss:.4f}."
            + ("" if self.finished else " **Not finished: this is a checkpoint.**"),
            "",
            "```",
            self.command,
            "```",
            "",
            ", ".join(f"{name} {version}" for name, version in self.versions.items()) + ".",
            "",
        ]

    def table(self) -> list[str]:
        """Markdown lines: what was measured by noise level; empty if nothing was."""
        if not self.by_level:
            return []
        before = bool(self.by_level_before)
        head = ["k", "v MSE", "x̂₀ RMSE"] + (["v MSE before", "x̂₀ RMSE before"] if before else [])
        rows = [head, ["---"] * len(head)]
        for k in LEVELS:
            row = [str(k), *_cells(self.by_level[k])]
            rows.append(row + (list(_cells(self.by_level_before[k])) if before else []))
        return [
            f"**Measured** on {self.examples} held-out examples, one noise draw each; RMSE in [0, 1] units"
            + (f"; before: `{self.init}`." if before else "."),
            "",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
        ]


def with_front_matter(text: str, licence: str) -> str:
    """A model card as hubs read it: licence, library and tags as YAML before the Markdown.

    Args:
        text: Markdown.
        licence: of the data, in the user's words; those that hubs have an identifier for become it (``"mit"``,
            ``"CC BY 4.0"``), others are a licence of that name.
    """
    from huggingface_hub import ModelCard, ModelCardData

    known = licence.lower().rstrip(".").replace(" ", "-")
    named = licence if licence and known not in LICENCES else None
    facts = ModelCardData(
        license="other" if named else known or "unknown",
        license_name=named,
        library_name="diffusers",
        pipeline_tag="unconditional-image-generation",
        tags=TAGS,
    )
    return str(ModelCard(f"---\n{facts.to_yaml()}\n---\n\n{text}").content)


def _weighting(gamma: float | None, low: float) -> str:
    balanced = f"all noise levels balanced, {low:.0%} of them drawn evenly in ln σ"
    return balanced if gamma is None else f"min-SNR {gamma:g}"


def _cells(values: tuple[float, float]) -> tuple[str, str]:
    return f"{values[0]:.4f}", f"{values[1]:.4f}"


def hardware(device: torch.device, processes: int) -> str:
    """What it ran on, in words."""
    several = "" if processes == 1 else f"{processes} x "
    if device.type == "cuda":
        return several + torch.cuda.get_device_name(device)
    cores = torch.get_num_threads() * processes
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{cores} CPU thread{'' if cores == 1 else 's'} ({model})"
