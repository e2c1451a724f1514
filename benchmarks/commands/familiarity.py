"""How well a prior knows held-out pictures, and others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.engine import calibrating
from benchmarks.engine.markdown import markdown
from restoration.errors import ImageError
from restoration.pictures import images
from restoration.pictures.sources import find
from restoration.priors import DiffusionPrior
from restoration.priors.familiarity import KEY, RARE, Familiarity, quantiles, ratio_of
from restoration.tasks import fit_to, with_channels


def ratios(prior: DiffusionPrior, data: Sequence[Path], limit: int | None = None) -> list[float]:
    """``familiarity.ratio_of`` every picture, cropped and shrunk to the prior's size.

    Raises:
        ImageError: pictures that cannot be read, or none that is large enough.
    """
    channels, height, width = prior.image_shape
    found = []
    for source in find(tuple(data))[:limit]:
        picture, _ = with_channels(images.decode(source.read(), source.name), channels)
        if picture.shape[1] >= height and picture.shape[2] >= width:
            found.append(round(ratio_of(prior, fit_to(picture, height, width, shrink=True)), 4))
    if not found:
        raise ImageError(f"{data[0]}: no picture is as large as the prior's, {width}×{height}")
    return sorted(found)


def measure(prior: DiffusionPrior, data: Sequence[Path], limit: int | None = None) -> Familiarity:
    """Of held-out pictures.

    Raises:
        ValueError: too few to tell what is rare.
    """
    found = Familiarity(tuple(ratios(prior, data, limit)))
    least = round(1 / RARE) - 1
    if len(found.ratios) < least:
        raise ValueError(f"--data must hold at least {least} pictures: got {len(found.ratios)}")
    return found


def tables(measured: Familiarity, others: Mapping[str, Sequence[float]]) -> list[str]:
    """Markdown lines."""
    rows = []
    for name, listed in {"held-out": measured.ratios, **others}.items():
        strange = sum(measured.strange(ratio) for ratio in listed) / len(listed)
        least, middle, most = quantiles(listed)
        told = "" if name == "held-out" else f"{strange:.0%}"
        rows.append([name, str(len(listed)), f"{least:.2f}", f"{middle:.2f}", f"{most:.2f}", told])
    return markdown(["pictures", "count", "least", "middle", "largest", "found strange"], rows)


def calibrate(measured: Familiarity, fingerprint: str, file: Path) -> None:
    """Put it into a prior's calibration."""
    calibrating.put(file, fingerprint, lambda before: {KEY: {"ratios": list(measured.ratios)}})
