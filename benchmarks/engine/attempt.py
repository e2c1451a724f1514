"""What becomes of pictures that a method restores: timed, counted, and checked before it is measured."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.engine.methods import Method, joint_seed
from degradations import Measurement
from restoration.errors import first_line
from restoration.restorer import synchronise
from solvers import Prior


@dataclass(frozen=True)
class Answer:
    """A method's pictures at one of its stops.

    Args:
        nfe: network evaluations until then.
        images: (B, C, H, W), unclipped; 0 where it failed.
        failed: of every picture why it failed, in one line, or "".
        seconds: from the beginning until then, a picture; 0 where all failed.
    """

    nfe: int
    images: Tensor
    failed: tuple[str, ...]
    seconds: float


def warm_up(prior: Prior, measurement: Measurement) -> None:
    """One evaluation of such a batch that nobody is charged for: a process's first costs more than others."""
    prior.denoise(measurement.operator.pinv(measurement.y), prior.schedule.K)


def attempt(method: Method, prior: Prior, measurement: Measurement, seeds: Sequence[int]) -> list[Answer]:
    """Restore some pictures at once; where another package's sampler raises, each by itself.

    A foreign sampler may use the global generators: they are seeded for the batch, forked and put back.

    Raises:
        ValueError: one of ours answers NaN, or takes other evaluations than it says. Whatever one of ours raises.
    """
    try:
        answers = _together(method, prior, measurement, seeds)
    except Exception as error:
        if not method.foreign:
            raise
        if len(measurement) == 1:
            why = f"{type(error).__name__}: {first_line(error)}"
            return [_nothing(prior, measurement, nfe, why) for nfe in method.stops]
        alone = [attempt(method, prior, measurement.take(i), seeds[i : i + 1]) for i in range(len(measurement))]
        return [_joined(some) for some in zip(*alone, strict=True)]
    failed = next((why for answer in answers for why in answer.failed if why), "")
    if failed and not method.foreign:
        raise ValueError(f"{method.name}: {failed}")
    return answers


def _together(method: Method, prior: Prior, measurement: Measurement, seeds: Sequence[int]) -> list[Answer]:
    device = measurement.y.device
    apart = _apart(device, joint_seed(seeds)) if method.foreign else nullcontext()
    found: list[tuple[Tensor, float]] = []
    with apart, _counted(prior) as passes:
        synchronise(device)
        begun = time.perf_counter()
        counts = []
        for images in method.restore(prior, measurement, seeds):
            synchronise(device)
            found.append((images.detach(), time.perf_counter() - begun))
            counts.append(len(passes))
    if len(found) != len(method.stops):
        raise ValueError(f"{method.name} must have {len(method.stops)} pictures: it gave {len(found)}")
    return [
        _checked(prior, measurement, nfe, images, count, seconds / len(measurement))
        for nfe, (images, seconds), count in zip(method.stops, found, counts, strict=True)
    ]


def _checked(
    prior: Prior, measurement: Measurement, nfe: int, images: Tensor, count: int, seconds: float
) -> Answer:
    """The pictures of a stop, as far as they are some."""
    if tuple(images.shape) != (len(measurement), *prior.image_shape):
        return _nothing(prior, measurement, nfe, f"the answer has shape {tuple(images.shape[1:])}")
    if count != nfe:
        return _nothing(prior, measurement, nfe, f"it took {count:,} evaluations, not {nfe:,}")
    finite = images.isfinite()
    bad = (1 - finite.double().mean(dim=(1, 2, 3))).tolist()
    failed = tuple(
        f"{share:.0%} of the answer is NaN or infinite; another precision (fp32, bf16) may do" if share else ""
        for share in bad
    )
    kept = torch.tensor([not share for share in bad], device=images.device).reshape(-1, 1, 1, 1)
    return Answer(nfe, torch.where(kept, images.float(), 0), failed, seconds)


def _nothing(prior: Prior, measurement: Measurement, nfe: int, why: str) -> Answer:
    count = len(measurement)
    return Answer(nfe, torch.zeros(count, *prior.image_shape, device=measurement.y.device), (why,) * count, 0.0)


def _joined(answers: Sequence[Answer]) -> Answer:
    """Of single pictures, one of all; its seconds are the mean of those that succeeded."""
    images, failed = torch.cat([answer.images for answer in answers]), tuple(a.failed[0] for a in answers)
    spent = [answer.seconds for answer in answers if not answer.failed[0]]
    return Answer(answers[0].nfe, images, failed, sum(spent) / max(len(spent), 1))


@contextmanager
def _counted(prior: Prior) -> Iterator[list[None]]:
    """A list that grows by one whenever the prior is asked, whoever asks; one in tiles counts once for all."""
    asked: list[None] = []
    ways = {name: getattr(prior, name) for name in ("denoise", "denoise_at") if hasattr(prior, name)}
    own = {name: way for name, way in ways.items() if name in vars(prior)}
    for name, way in ways.items():

        def counting(*arguments: object, ask: Callable[..., object] = way, **named: object) -> object:
            asked.append(None)
            return ask(*arguments, **named)

        setattr(prior, name, counting)
    try:
        yield asked
    finally:
        for name in ways:
            delattr(prior, name)
        vars(prior).update(own)


@contextmanager
def _apart(device: torch.device, seed: int) -> Iterator[None]:
    """Global generators with a seed of these pictures', which are afterwards as before; no warnings of others."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        yield
