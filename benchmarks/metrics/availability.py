"""Which metrics can be had here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.metrics import lpips
from benchmarks.metrics.errors import MetricError
from benchmarks.metrics.inception import MODULES as INCEPTION
from benchmarks.metrics.inception import WEIGHTS as INCEPTION_WEIGHTS
from benchmarks.metrics.weights import Weights, require


@dataclass(frozen=True)
class Availability:
    """Whether a metric can be had, and if not, why.

    Args:
        metric: "PSNR", "SSIM", "LPIPS", "FID", "KID" or "FD-prior".
        reason: one line; empty where it can be had.
    """

    metric: str
    reason: str = ""

    def __bool__(self) -> bool:
        return not self.reason

    def __str__(self) -> str:
        return f"{self.metric}: not available: {self.reason}" if self.reason else f"{self.metric}: available"


def available(
    *,
    prior: bool,
    fid_weights: Path | None = None,
    lpips_weights: Path | None = None,
    download: bool = False,
    inception: bool = True,
) -> dict[str, Availability]:
    """Every metric by name, without importing torch-fidelity or lpips.

    Args:
        prior: whether there is a diffusion prior, for FD-prior.
        fid_weights, lpips_weights: files that the user gave.
        download: weights that are neither given nor in torch's cache are fetched into it; where that cannot be,
            it is told within ``weights.PATIENCE`` seconds. Without, nothing touches the network.
        inception: whether FID and KID are wanted; where not, nothing is fetched for them.
    """
    fid = _reason(INCEPTION, INCEPTION_WEIGHTS, fid_weights, download) if inception else "it is not asked for"
    perceptual = _reason(lpips.MODULES, lpips.WEIGHTS, lpips_weights, download)
    reasons = {
        "PSNR": "",
        "SSIM": "",
        "LPIPS": perceptual,
        "FID": fid,
        "KID": fid,
        "FD-prior": "" if prior else "it is made of a diffusion prior's features, and there is none",
    }
    return {metric: Availability(metric, reason) for metric, reason in reasons.items()}


def _reason(modules: tuple[str, ...], weights: Weights, given: Path | None, download: bool) -> str:
    try:
        require(*modules)
        if given is None and not download and not weights.cached.is_file():
            return f"{weights.owner} weights are not here; let them be downloaded, or give {weights.option}"
        weights.find(given)
    except MetricError as error:
        return str(error)
    return ""
