"""The pictures of a result: itself, or samples, their spread and their mean, and maps of how sure they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from restoration.events import Output
from restoration.medical.volume import Volume
from restoration.pictures.picture import Depth, Picture
from restoration.priors.coverage import Certainty, quantile_names
from restoration.uncertainty import interval, quantiles


def outputs_of(
    given: Picture | Volume,
    images: Tensor,
    seeds: tuple[int, ...],
    record: Mapping[str, Any],
    certainty: Certainty | None,
) -> tuple[Output, ...]:
    """The pictures of a result (N, C, H, W), or of a scan's (N, D, 1, H, W): itself, or samples, spread, mean.

    With ``certainty``, maps of it in place of the spread.
    """
    if len(images) == 1:
        return (Output("", given.like(images[0]), record),)
    samples = [
        Output(f"sample-{i}", given.like(image), {**record, "shows": f"the sample of seed {seed}"})
        for i, (image, seed) in enumerate(zip(images, seeds, strict=True), start=1)
    ]
    maps = (_spread(given, images, record),) if certainty is None else _maps(given, images, record, certainty)
    mean = Output("", given.like(images.mean(dim=0)), {**record, "shows": "mean of the samples"})
    return (*samples, *maps, mean)


def _spread(given: Picture | Volume, images: Tensor, record: Mapping[str, Any]) -> Output:
    """Where the samples differ, over all channels: the largest is white."""
    std = images.std(dim=0).mean(dim=-3, keepdim=True)
    white = max(float(std.max()), 1e-6)
    told = {**record, "shows": "standard deviation of the samples", "white_is": white}
    return Output("std", given.mapped(std, white), told)


def _maps(
    given: Picture | Volume, images: Tensor, record: Mapping[str, Any], certainty: Certainty
) -> tuple[Output, ...]:
    """Of samples (S, C, H, W) or (S, D, 1, H, W): spread, quantiles and, if calibrated, interval.

    Of a picture they are float numbers in [0, 1] units, of a scan they are in the scan's own units and format.
    """
    scan = given if isinstance(given, Volume) else given.scan
    level, found = certainty.level, certainty.found
    tail = (1 - level) / 2
    maps = {"std": (images.std(dim=0), "standard deviation of the samples")}
    for name, quantile in zip(quantile_names(level), quantiles(images, level), strict=True):
        share = tail if name == quantile_names(level)[0] else 1 - tail
        maps[name] = (quantile, f"the samples' quantile {share:.4g}, not calibrated")
    if found is not None:
        shown = f"end of the calibrated {level:.0%} interval, mean {{}} {found.factor:.4g} · std"
        low, high = interval(images, found.factor)
        maps |= {"low": (low, f"lower {shown.format('−')}"), "high": (high, f"upper {shown.format('+')}")}
    told = {**record, "interval_told": certainty.json()}
    if scan is not None:
        spread = maps.pop("std")
        return (
            Output("std", given.mapped(spread[0].mean(dim=-3, keepdim=True), 1.0), {**told, "shows": spread[1]}),
            *(Output(name, given.like(image), {**told, "shows": shows}) for name, (image, shows) in maps.items()),
        )
    assert isinstance(given, Picture)
    return tuple(
        Output(name, replace(given.mapped(image, 1.0), depth=Depth.FLOAT), {**told, "shows": shows}, exact=True)
        for name, (image, shows) in maps.items()
    )
