"""Linear degradations A = U diag(s) Vᵀ with a spectral domain shaped like the image."""

from degradations.check import OperatorCheckError, check_operator
from degradations.colorization import Colorization
from degradations.denoising import Denoising
from degradations.inpainting import Inpainting
from degradations.measurement import Measurement, simulate
from degradations.operator import SVDOperator
from degradations.super_resolution import SuperResolution

__all__ = [
    "Colorization",
    "Denoising",
    "Inpainting",
    "Measurement",
    "OperatorCheckError",
    "SVDOperator",
    "SuperResolution",
    "check_operator",
    "simulate",
]
