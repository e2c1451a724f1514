"""The plugin for deepinv under the name that users import; its code is in ``restoration.plugins.deepinv``."""

from restoration.plugins.deepinv import (
    DDRM,
    DenoiserPrior,
    NestedDDRM,
    PriorDenoiser,
    SVDPhysics,
    as_denoiser,
    as_physics,
    from_denoiser,
    from_physics,
    sigma_of,
)

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
