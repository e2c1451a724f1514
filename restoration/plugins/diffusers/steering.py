"""A diffusers pipeline that a person steers between outer steps: candidates chosen, x̂₀ changed, another prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from restoration.plugins.diffusers.previews import PipelinePreview, decode_estimate
from restoration.plugins.diffusers.scheduler import NestedScheduler


@dataclass(frozen=True, eq=False)
class Wish:
    """What is to change before the next outer step.

    Args:
        keep: position, counted from 0, of the candidate that all others are to be forked from; None keeps all.
        x0: (B, C, H, W) or (1, C, H, W), latents that go on in place of ``scheduler.last_estimate``, and of those
            that are kept.
        prompt: from here on, for all candidates.
        negative_prompt: beside ``prompt``, under guidance.
    """

    keep: int | None = None
    x0: Tensor | None = None
    prompt: str | None = None
    negative_prompt: str | None = None


class SteeringCallback:
    """Asks after every outer step of a pipeline what is to change; its ``callback_on_step_end``.

    ``pipe(prompt, num_images_per_prompt=4, callback_on_step_end=SteeringCallback(decide),
    callback_on_step_end_tensor_inputs=SteeringCallback.inputs)``: the images of a batch are the candidates. Those
    forked from one that is kept share its x̂₀ and differ by their noise, which is that of the candidates whose
    places they take. A changed prompt needs a pipeline with ``encode_prompt``, such as Stable Diffusion's.

    Args:
        decide: given what the pipeline would return if it stopped there, and the pipeline; None changes nothing.
            After the last outer step only ``keep`` and ``x0`` count.
        output_type: of the previews' images, "pil", "np", "pt" or "latent".

    Attributes:
        inputs: the tensors that the pipeline has to pass.

    Raises:
        ValueError: when called: another scheduler, a candidate that is none, a prompt that cannot be changed.
    Source: Elata et al., *Nested Diffusion*, 2024, its section on human feedback.
    """

    inputs = ("latents", "prompt_embeds")

    def __init__(self, decide: Callable[[PipelinePreview, Any], Wish | None], output_type: str = "pil") -> None:
        self.decide, self.output_type = decide, output_type

    def __call__(self, pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """What of the pipeline's tensors changes."""
        scheduler = pipeline.scheduler
        if not isinstance(scheduler, NestedScheduler):
            raise ValueError(f"pipeline.scheduler must be a NestedScheduler: got {type(scheduler).__name__}")
        at, x0 = scheduler.progress, scheduler.last_estimate
        if not at.outer_step_complete or x0 is None:
            return {}
        images = decode_estimate(pipeline, x0, self.output_type)
        preview = PipelinePreview(images, at.outer_steps, at.total_outer_steps, at.nfe, at.total_nfe)
        wish = self.decide(preview, pipeline)
        if wish is None:
            return {}
        changed: dict[str, Any] = {}
        if wish.keep is not None:
            if not 0 <= wish.keep < len(x0):
                raise ValueError(f"keep must be one of 0 … {len(x0) - 1}: got {wish.keep}")
            x0 = x0[[wish.keep] * len(x0)]
        if wish.x0 is not None:
            x0 = wish.x0.to(x0).expand_as(x0)
        if wish.keep is not None or wish.x0 is not None:
            changed["latents"] = scheduler.outer_update(x0)
        if wish.prompt is not None and at.nfe < at.total_nfe:
            changed["prompt_embeds"] = _embedded(pipeline, wish, tensors["prompt_embeds"], len(x0))
        return changed


def _embedded(pipeline: Any, wish: Wish, before: Tensor, images: int) -> Tensor:
    """The embeddings of another prompt, as the pipeline holds them: under guidance after the negative one's."""
    guided = len(before) == 2 * images
    if not hasattr(pipeline, "encode_prompt") or len(before) not in (images, 2 * images):
        raise ValueError(f"prompt cannot be changed on the way in {type(pipeline).__name__}")
    asked = {"prompt": wish.prompt, "device": before.device, "num_images_per_prompt": images}
    with torch.no_grad():
        found = pipeline.encode_prompt(
            **asked, do_classifier_free_guidance=guided, negative_prompt=wish.negative_prompt
        )
    positive, negative = found[:2]
    embedded = torch.cat([negative, positive]) if guided else positive
    if embedded.shape != before.shape:
        raise ValueError(
            f"prompt cannot be changed on the way in {type(pipeline).__name__}: its embeddings are "
            f"{tuple(before.shape)}, and another prompt's {tuple(embedded.shape)}"
        )
    return embedded.to(before)
