"""Ours as deepinv's, and theirs as ours: samplers, operators and denoisers, for the toolkit ``deepinv``.

Everything here takes and gives images and σ in [0, 1] units, as both sides do.
"""

try:
    import deepinv  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "deepinv":
        raise
    raise ImportError(
        "restoration.deepinv_plugin needs deepinv: pip install 'nested-restoration[deepinv]'"
    ) from None

from restoration.plugins.deepinv.denoiser_prior import DenoiserPrior, from_denoiser
from restoration.plugins.deepinv.denoisers import PriorDenoiser, as_denoiser
from restoration.plugins.deepinv.noise import sigma_of
from restoration.plugins.deepinv.operators import from_physics
from restoration.plugins.deepinv.physics import SVDPhysics, as_physics
from restoration.plugins.deepinv.reconstructors import DDRM, NestedDDRM

__all__ = [
    "DDRM",
    "DenoiserPrior",
    "NestedDDRM",
    "PriorDenoiser",
    "SVDPhysics",
    "as_denoiser",
    "as_physics",
    "from_denoiser",
    "from_physics",
    "sigma_of",
]
