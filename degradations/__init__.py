"""Linear degradations A = U diag(s) Vᵀ with a spectral domain shaped like the image."""

from degradations.check import OperatorCheckError, check_operator
from degradations.colorization import Colorization
from degradations.denoising import Denoising
from degradations.fourier import Blur, FourierSampling
from degradations.grey import Grey
from degradations.inpainting import Inpainting
from degradations.measurement import Measurement, simulate
from degradations.operator import SVDOperator
from degradations.patterns import Patterns
from degradations.super_resolution import SuperResolution

__all__ = [
    "Blur",
    "Colorization",
    "Denoising",
    "FourierSampling",
    "Grey",
    "Inpainting",
    "Measurement",
    "OperatorCheckError",
    "Patterns",
    "SVDOperator",
    "SuperResolution",
    "check_operator",
    "simulate",
]
