"""A diffusers pipeline as a generator of previews."""

from __future__ import annotations

import inspect
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.image_processor import VaeImageProcessor
from torch import Tensor

from restoration.plugins.diffusers.scheduler import NestedScheduler


@dataclass(frozen=True, eq=False)
class PipelinePreview:
    """What a pipeline would return if it stopped here.

    Args:
        images: decoded, as the pipeline's ``output_type`` asks: a list of PIL images by default.
        outer_step, outer_steps: which completed outer step this is, counted from 1, and of how many.
        nfe, total_nfe: network evaluations so far and in the whole run, per image.
    """

    images: Any
    outer_step: int
    outer_steps: int
    nfe: int
    total_nfe: int


class _Closed(BaseException):
    """Ends the pipeline in its thread. No Exception: a pipeline's own handlers must not swallow it."""


def anytime_previews(pipeline: Any, *, ahead: int = 1, **call: Any) -> Iterator[PipelinePreview]:
    """Decoded images after every outer step of ``pipeline(**call)``; the last ones are the pipeline's own result.

    The pipeline runs in a worker thread, at most ``ahead`` + 1 previews before the consumer. Closing the iterator,
    or leaving its loop, ends it after the network call in progress and leaves no thread and no tensor behind. What
    it raises is raised here. Contexts of the caller's thread (autocast) do not reach it. Where the pipeline passes
    no generator on to its scheduler (DiT), the scheduler uses the same ``generator``. Previews of inpainting show
    the network's version of the known part too, until the last: the pipeline keeps that part in its latents only.

    Args:
        pipeline: its scheduler is a ``NestedScheduler``.
        ahead: length of the queue.
        call: the arguments of the pipeline's call, e.g. ``prompt``, ``num_inference_steps``, ``generator``.

    Raises:
        ValueError: at once: another scheduler, one that is in use, ahead below 1, or a pipeline with a ``vqvae``;
            after its first network call, one whose latents are no pictures and not known to be decoded.
    """
    scheduler = getattr(pipeline, "scheduler", None)
    if not isinstance(scheduler, NestedScheduler):
        raise ValueError(
            f"pipeline.scheduler must be a NestedScheduler: got {type(scheduler).__name__}; set "
            "pipeline.scheduler = NestedScheduler.from_config(pipeline.scheduler.config, ...) once it is built"
        )
    if scheduler.on_step is not None:
        raise ValueError("pipeline.scheduler.on_step must be free: another run of previews uses this scheduler")
    if ahead < 1:
        raise ValueError(f"ahead must be at least 1: got {ahead}")
    if call.get("output_type", "pil") != "latent":
        refuse_undecodable(pipeline)
    return _previews(pipeline, scheduler, ahead, call)


def _previews(
    pipeline: Any, scheduler: NestedScheduler, ahead: int, call: dict[str, Any]
) -> Iterator[PipelinePreview]:
    ready: queue.Queue[PipelinePreview | BaseException | None] = queue.Queue(ahead)
    closed = threading.Event()
    output_type = call.get("output_type", "pil")
    labels = call.get("class_labels")  # DiT doubles its batch under guidance: the first half is the images'

    def preview(images: Any) -> PipelinePreview:
        at = scheduler.progress
        return PipelinePreview(images, at.outer_steps, at.total_outer_steps, at.nfe, at.total_nfe)

    def on_step(scheduler: NestedScheduler) -> None:
        if closed.is_set():
            raise _Closed
        if scheduler.progress.nfe == 1 and output_type != "latent":  # before more work is done
            assert scheduler.last_estimate is not None
            refuse_undecodable(pipeline, scheduler.last_estimate)
        if scheduler.progress.outer_step_complete and scheduler.progress.nfe < scheduler.progress.total_nfe:
            x0 = scheduler.last_estimate
            assert x0 is not None
            ready.put(preview(decode_estimate(pipeline, x0 if labels is None else x0[: len(labels)], output_type)))

    def work() -> None:
        try:
            result = pipeline(**call)
            ready.put(preview(result[0]))
            ready.put(None)
        except _Closed:
            pass
        except BaseException as error:
            ready.put(error)

    generator, scheduler.generator = scheduler.generator, call.get("generator") or scheduler.generator
    scheduler.on_step = on_step
    worker = threading.Thread(target=work, name="anytime_previews", daemon=True)
    try:
        worker.start()
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
            del item
    finally:
        closed.set()
        while worker.is_alive():  # whatever it still puts finds room
            _drain(ready)
            worker.join(0.02)
        _drain(ready)
        scheduler.on_step, scheduler.generator = None, generator
        scheduler.forget()
        pipeline.maybe_free_model_hooks()


def _drain(ready: queue.Queue[Any]) -> None:
    while not ready.empty():
        ready.get_nowait()


def refuse_undecodable(pipeline: Any, x0: Tensor | None = None) -> None:
    """ValueError where a pipeline's latents are known to have no decoder here.

    Args:
        pipeline: of any kind.
        x0: an estimate, where there is one: then its shape is looked at too.
    """
    name, remedy = type(pipeline).__name__, "ask for output_type='latent' and decode it yourself"
    if getattr(pipeline, "vqvae", None) is not None:
        raise ValueError(f"{name} decodes its latents with a vqvae, each pipeline in its own way: {remedy}")
    if x0 is None:
        return
    if x0.ndim != 4 and not _is_video(pipeline):
        raise ValueError(f"{name} has no decode_latents for estimates of {tuple(x0.shape)}: {remedy}")
    decoder = next((part for part in ("vae", "movq") if getattr(pipeline, part, None) is not None), None)
    if decoder is None and x0.shape[1] not in (1, 3):
        raise ValueError(
            f"an estimate of a pipeline without vae must be (B, 1 or 3, H, W) to be a picture: got "
            f"{tuple(x0.shape)}; {remedy}"
        )


def _is_video(pipeline: Any) -> bool:
    return hasattr(pipeline, "decode_latents") and hasattr(pipeline, "video_processor")


@torch.no_grad()
def decode_estimate(pipeline: Any, x0: Tensor, output_type: str = "pil") -> Any:
    """Images of an estimate (B, C, H, W), as the pipeline itself would decode and post-process its latents.

    Videos (B, C, F, H, W) are decoded by the pipeline's own ``decode_latents`` and ``video_processor``. With the
    pipeline's safety checker, where it has one; without Stable Diffusion XL's watermark.

    Args:
        pipeline: latent (with a ``vae``, or Kandinsky's ``movq``) or in pixels.
        x0: e.g. ``pipeline.scheduler.last_estimate``.
        output_type: ``"pil"``, ``"np"``, ``"pt"``, or ``"latent"`` for x0 itself.

    Raises:
        ValueError: a ``vqvae``; no decoder, and x0 is no batch of pictures.
    """
    if output_type == "latent":
        return x0
    refuse_undecodable(pipeline, x0)
    if x0.ndim == 5:
        return _decode_video(pipeline, x0, output_type)
    vae, movq = getattr(pipeline, "vae", None), getattr(pipeline, "movq", None)
    flagged = None
    if vae is not None:
        x0 = _decode_latents(vae, x0)
        if getattr(pipeline, "safety_checker", None) is not None:
            x0, flagged = pipeline.run_safety_checker(x0, x0.device, x0.dtype)
    elif movq is not None:
        x0 = movq.decode(x0.to(movq.dtype), force_not_quantize=True)["sample"]
    clean = None if flagged is None else [not flag for flag in flagged]
    return VaeImageProcessor().postprocess(x0.float(), output_type, clean)


def _decode_video(pipeline: Any, x0: Tensor, output_type: str) -> Any:
    latents = x0.to(pipeline.vae.dtype)
    asks_length = "video_length" in inspect.signature(pipeline.decode_latents).parameters  # Latte
    length = {"video_length": latents.shape[2]} if asks_length else {}
    video = pipeline.decode_latents(latents, **length)
    return pipeline.video_processor.postprocess_video(video=video, output_type=output_type)


def _decode_latents(vae: Any, x0: Tensor) -> Tensor:
    config = vae.config
    mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    x0 = x0 / config.scaling_factor
    if mean is not None and std is not None:
        x0 = x0 * torch.tensor(std).view(1, -1, 1, 1).to(x0) + torch.tensor(mean).view(1, -1, 1, 1).to(x0)
    overflows = vae.dtype == torch.float16 and getattr(config, "force_upcast", False)
    if overflows:
        vae.to(torch.float32)
    image: Tensor = vae.decode(x0.to(vae.dtype), return_dict=False)[0]
    if overflows:
        vae.to(torch.float16)
    return image
