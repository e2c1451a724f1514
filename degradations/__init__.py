"""Linear degradations A = U diag(s) Vᵀ with a spectral domain shaped like the image."""

from degradations.achromatic import Achromatic
from degradations.blocks import JPEG
from degradations.check import OperatorCheckError, check_operator
from degradations.colorization import Colorization
from degradations.colour_hints import ColourHints, hinted
from degradations.denoising import Denoising
from degradations.dense import Dense
from degradations.downsampling import Downsampling
from degradations.fourier import Blur, FourierSampling
from degradations.grey import Grey
from degradations.hadamard import CompressedSensing
from degradations.inpainting import Inpainting
from degradations.masked import Masked
from degradations.measurement import Measurement, simulate
from degradations.mosaic import Mosaic
from degradations.operator import SVDOperator
from degradations.patterns import Patterns
from degradations.separable import Separable
from degradations.super_resolution import SuperResolution

__all__ = [
    "JPEG",
    "Achromatic",
    "Blur",
    "Colorization",
    "ColourHints",
    "CompressedSensing",
    "Denoising",
    "Dense",
    "Downsampling",
    "FourierSampling",
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
]
