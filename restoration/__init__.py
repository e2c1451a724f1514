"""Anytime image restoration: what users call, and the public names of the floors below.

Names are imported when first used (PEP 562), so that ``restore --help`` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from degradations import JPEG as JPEG
    from degradations import Achromatic as Achromatic
    from degradations import Blur as Blur
    from degradations import Colorization as Colorization
    from degradations import ColourHints as ColourHints
    from degradations import CompressedSensing as CompressedSensing
    from degradations import Denoising as Denoising
    from degradations import Dense as Dense
    from degradations import Downsampling as Downsampling
    from degradations import FourierSampling as FourierSampling
    from degradations import Grey as Grey
    from degradations import Inpainting as Inpainting
    from degradations import Masked as Masked
    from degradations import Measurement as Measurement
    from degradations import Mosaic as Mosaic
    from degradations import OperatorCheckError as OperatorCheckError
    from degradations import Patterns as Patterns
    from degradations import Separable as Separable
    from degradations import SuperResolution as SuperResolution
    from degradations import SVDOperator as SVDOperator
    from degradations import check_operator as check_operator
    from degradations import hinted as hinted
    from degradations import simulate as simulate
    from nested import Adaptive as Adaptive
    from nested import Budget as Budget
    from nested import Estimate as Estimate
    from nested import Fixed as Fixed
    from nested import NestedDiffusion as NestedDiffusion
    from nested import NestedState as NestedState
    from nested import Run as Run
    from nested import uniform as uniform
    from restoration.errors import ImageError as ImageError
    from restoration.errors import OutputError as OutputError
    from restoration.errors import PriorError as PriorError
    from restoration.errors import RestorationError as RestorationError
    from restoration.plugins.diffusers import NestedScheduler as NestedScheduler
    from restoration.plugins.diffusers import PipelinePreview as PipelinePreview
    from restoration.plugins.diffusers import anytime_previews as anytime_previews
    from restoration.plugins.diffusers import decode_estimate as decode_estimate
    from restoration.priors import DiffusionPrior as DiffusionPrior
    from restoration.priors import GaussianPrior as GaussianPrior
    from restoration.priors import TiledPrior as TiledPrior
    from restoration.priors import load_prior as load_prior
    from restoration.priors import prior_for as prior_for
    from restoration.restorer import Preview as Preview
    from restoration.restorer import Restoration as Restoration
    from restoration.restorer import Restorer as Restorer
    from restoration.restorer import StoppedBy as StoppedBy
    from restoration.service.engine import Engine as Engine
    from restoration.service.work import Work as Work
    from restoration.steering import Steered as Steered
    from solvers import DDIM as DDIM
    from solvers import DDRM as DDRM
    from solvers import FIRE as FIRE
    from solvers import NoiseSchedule as NoiseSchedule
    from solvers import NoiseSource as NoiseSource
    from solvers import Posterior as Posterior
    from solvers import Prior as Prior
    from solvers import Question as Question
    from solvers import Spectral as Spectral
    from solvers import ddim_update as ddim_update
    from solvers import ddrm_coefficients as ddrm_coefficients

_HOMES = {
    "degradations": (
        "JPEG",
        "Blur",
        "Colorization",
        "ColourHints",
        "CompressedSensing",
        "Denoising",
        "Dense",
        "Downsampling",
        "FourierSampling",
        "Achromatic",
        "Grey",
        "Inpainting",
        "Masked",
        "Measurement",
        "Mosaic",
        "OperatorCheckError",
        "Patterns",
        "SVDOperator",
        "Separable",
        "SuperResolution",
        "check_operator",
        "hinted",
        "simulate",
    ),
    "solvers": (
        "DDIM",
        "DDRM",
        "FIRE",
        "NoiseSchedule",
        "NoiseSource",
        "Posterior",
        "Prior",
        "Question",
        "Spectral",
        "ddim_update",
        "ddrm_coefficients",
    ),
    "nested": (
        "Adaptive",
        "Budget",
        "Estimate",
        "Fixed",
        "NestedDiffusion",
        "NestedState",
        "Run",
        "uniform",
    ),
    "restoration.errors": ("ImageError", "OutputError", "PriorError", "RestorationError"),
    "restoration.plugins.diffusers": (
        "NestedScheduler",
        "PipelinePreview",
        "anytime_previews",
        "decode_estimate",
    ),
    "restoration.priors": ("DiffusionPrior", "GaussianPrior", "TiledPrior", "load_prior", "prior_for"),
    "restoration.service.engine": ("Engine",),
    "restoration.service.work": ("Work",),
    "restoration.restorer": ("Preview", "Restoration", "Restorer", "StoppedBy"),
    "restoration.steering": ("Steered",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'restoration' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})


def _check_siblings() -> None:
    """Research folders are full of ``solvers/``: one of those on the path before ours must not go unseen."""
    house = Path(__file__).resolve().parent.parent
    for name in ("degradations", "solvers", "nested"):
        spec = find_spec(name)
        where = Path(spec.origin).resolve().parent if spec and spec.origin else None
        if where != house / name:
            found = f"{where} is imported in its place" if where else "it is not installed"
            raise ImportError(
                f"nested-restoration needs its own package {name!r} at {house / name}, but {found}; "
                "start Python elsewhere or rename that folder"
            )


_check_siblings()
