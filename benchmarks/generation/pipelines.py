"""diffusers pipelines that draw from prompts or classes, for ``restore-bench generate``."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import Tensor

from benchmarks.engine.quiet import quiet
from benchmarks.generation.drawing import ImageRequest, Model, PriorModel, SolverTrial
from restoration import NestedScheduler, decode_estimate
from restoration.errors import PriorError, first_line
from restoration.priors import EMBEDDED, load_prior
from restoration.priors.formats.reading import read_json, sha256
from restoration.priors.library.catalogue import KNOWN
from restoration.priors.library.loading import resolve_device, resolve_dtype

INDEX = "model_index.json"
CONDITIONAL = ("vae", "vqvae", "movq", "text_encoder", "transformer")
"""Parts that a pipeline in pixels without a condition, which is a prior, has not."""
AT_ONCE = 8
"""Pictures in one call of a decoder."""
TEXT_GUIDANCE, CLASS_GUIDANCE = 7.5, 1.5
"""The paper's, of Stable Diffusion and of DiT (appendix C)."""


@dataclass(frozen=True)
class Conditions:
    """What a pipeline is asked for.

    Args:
        prompts: of a text pipeline; sample i has the i-th, then they begin again.
        classes: of a class-conditional one, likewise; None for all.
        guidance: None for the paper's.
    """

    prompts: tuple[str, ...] = ()
    classes: tuple[int, ...] | None = None
    guidance: float | None = None


def open_model(name: str, conditions: Conditions, device: str, precision: str) -> Model:
    """A prior, by anything ``load_prior`` takes, or a pipeline with a condition, by its folder or hub id.

    Raises:
        PriorError, ValueError: it cannot be used, or not with these conditions; one line says why.
    """
    folder = _pipeline_folder(name)
    if folder is None:
        if conditions != Conditions():
            raise ValueError(f"--prompts, --classes and --guidance are of pipelines, and {name} is a prior")
        return PriorModel(load_prior(name, device, precision))
    return PipelineModel(folder, name, conditions, resolve_device(device), resolve_dtype(precision))


def _pipeline_folder(name: str) -> Path | None:
    """Where a pipeline with a condition lies, fetched if need be; None for what ``load_prior`` shall try."""
    path = Path(name)
    if name in (*EMBEDDED, *KNOWN) or path.is_file():
        return None
    if path.is_dir():
        return path if (path / INDEX).is_file() and _conditional(read_json(path / INDEX)) else None
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or name.startswith("."):
        return None
    try:
        with quiet():
            index = Path(snapshot_download(name, allow_patterns=[INDEX])) / INDEX
        if not index.is_file() or not _conditional(read_json(index)):
            return None
        return Path(DiffusionPipeline.download(name, use_safetensors=True))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        if "`safetensors` weights" in str(error):  # diffusers' own words; it has no kind for it
            raise PriorError(
                f"{name} has no safetensors on the hub, and other weights may run code: save its pipeline as a "
                "folder with save_pretrained elsewhere, and give its path as the prior"
            ) from None
        status = getattr(getattr(error, "response", None), "status_code", None)
        missing = status in (401, 403, 404)
        reason = "no such repository, or not a public one" if missing else f"status {status or 'none: offline'}"
        raise PriorError(
            f"{name} is no file or folder here, and cannot be fetched from the hub ({reason}): download its "
            "folder elsewhere (in diffusers format) and give its path as the prior"
        ) from None


def _conditional(index: Mapping[str, Any]) -> bool:
    return any(part in index for part in CONDITIONAL)


class PipelineModel:
    """A text-to-image or class-conditional pipeline whose scheduler is ours; its network calls are in its dtype.

    Args:
        folder: in diffusers format, with safetensors; nothing in it is run. Its safety checker is left out.
        name: for people.

    Raises:
        PriorError: not such a pipeline, no scheduler, or its parts cannot be loaded.
        ValueError: a scheduler that cannot be nested; conditions of another kind of pipeline, or none.
    """

    def __init__(
        self, folder: Path, name: str, conditions: Conditions, device: torch.device, dtype: torch.dtype
    ) -> None:
        index = read_json(folder / INDEX)
        self.takes = _takes(folder, index)
        self.conditions, self.name, self.device = conditions, name, device
        if not index.get("scheduler"):
            raise PriorError(f"{folder}: its pipeline has no scheduler to be replaced")
        self.config = read_json(folder / "scheduler" / "scheduler_config.json")
        NestedScheduler.from_config(self.config)  # refused before its weights are read
        self._check_conditions()
        self.pipeline = _load(folder, index, device, dtype)
        self.fingerprint = f"{_digest(folder)} {dtype}"
        network = getattr(self.pipeline, "unet", None) or self.pipeline.transformer
        twice = network.config.out_channels == 2 * network.config.in_channels
        self.learned = twice and self.takes == "class_labels"  # others guide before they drop it
        self.network = network
        if conditions.classes is not None:
            self._check_classes()
        self.image_shape = _image_shape(self.pipeline, network)

    @property
    def guidance(self) -> float:
        """The asked-for one, or the paper's."""
        paper = TEXT_GUIDANCE if self.takes == "prompt" else CLASS_GUIDANCE
        return paper if self.conditions.guidance is None else self.conditions.guidance

    @property
    def classes(self) -> tuple[int, ...]:
        """Over which samples go round."""
        return self.conditions.classes or tuple(range(self._class_count()))

    def scheduler(self, trial: SolverTrial) -> NestedScheduler:
        """From the pipeline's own, with the network's variance where it learned one."""
        learned = {"variance_type": "learned_range"} if self.learned and trial.inner == "ddpm" else {}
        made: NestedScheduler = NestedScheduler.from_config(
            self.config, inner_steps=trial.allocation[0], inner=trial.inner, inner_eta=trial.eta, **learned
        )
        return made

    def draw(
        self,
        scheduler: NestedScheduler,
        outer: int,
        requests: Sequence[ImageRequest],
        generators: list[torch.Generator],
    ) -> None:
        """One call of the pipeline."""
        self.pipeline.scheduler = scheduler
        given: dict[str, Any] = {"guidance_scale": self.guidance, "num_inference_steps": outer}
        if self.takes == "prompt":
            given |= {"prompt": [request.prompt for request in requests], "output_type": "latent"}
        else:
            given |= {"class_labels": [request.label for request in requests], "output_type": "np"}
        drops = self.learned and scheduler.config.inner == "ddpm"
        handle = scheduler.take_variance_from(self.network) if drops else None
        try:
            self.pipeline(**given, generator=generators)
        finally:
            if handle is not None:
                handle.remove()

    def decode(self, x0: Tensor) -> Tensor:
        """As the pipeline would, a few at a time."""
        parts = [decode_estimate(self.pipeline, part, "pt") for part in torch.split(x0, AT_ONCE)]
        return torch.cat(parts).float()

    def _check_conditions(self) -> None:
        of_text = self.takes == "prompt"
        if of_text and not self.conditions.prompts:
            raise ValueError(f"{self.name} draws from text: give --prompts FILE, one a line")
        if not of_text and self.conditions.prompts:
            raise ValueError(f"{self.name} draws from classes: --classes 207,360, not --prompts")
        if of_text and self.conditions.classes is not None:
            raise ValueError(f"{self.name} draws from text: --prompts FILE, not --classes")

    def _class_count(self) -> int:
        return int(self.network.config.num_embeds_ada_norm)

    def _check_classes(self) -> None:
        count = self._class_count()
        wrong = [label for label in self.classes if not 0 <= label < count]
        if wrong:
            raise ValueError(f"--classes must be from 0 to {count - 1}: got {wrong[0]}")


def _takes(folder: Path, index: Mapping[str, Any]) -> str:
    """ "prompt" or "class_labels", by the pipeline's own call."""
    kind = str(index.get("_class_name"))
    made = getattr(diffusers, kind, None)
    call = inspect.signature(made.__call__).parameters if inspect.isclass(made) else {}
    found = next((name for name in ("prompt", "class_labels") if name in call), None)
    open_ = [name for name, p in call.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    needed = set(open_) - {"self", "prompt", "class_labels"}
    if found is None or needed or "image" in call:
        raise PriorError(f"{folder}: a {kind} is no pipeline of diffusers that draws from text or classes alone")
    return found


def _load(folder: Path, index: Mapping[str, Any], device: torch.device, dtype: torch.dtype) -> Any:
    unchecked = {"safety_checker": None} if "safety_checker" in index else {}
    try:
        with quiet():
            pipeline = DiffusionPipeline.from_pretrained(
                str(folder), use_safetensors=True, local_files_only=True, **unchecked
            )
    except Exception as error:  # diffusers, transformers and safetensors each raise their own kinds
        raise PriorError(f"{folder}: its pipeline cannot be loaded: {first_line(error)}") from None
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device, dtype)


def _digest(folder: Path) -> str:
    """Of all weights and settings that decide what is drawn."""
    digest = hashlib.sha256()
    files = [path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json")]
    for path in sorted(files):
        name = path.relative_to(folder)
        if name.parts[0] != "safety_checker" and not any(part.startswith(".") for part in name.parts):
            digest.update(f"{name} {sha256(path)}\n".encode())
    return digest.hexdigest()


def _image_shape(pipeline: Any, network: Any) -> tuple[int, int, int]:
    vae = getattr(pipeline, "vae", None)
    size = network.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    if vae is None:
        return network.config.in_channels, height, width
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    return vae.config.out_channels, height * factor, width * factor
