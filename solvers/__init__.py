"""Diffusion solvers that ask: noise schedule, noise source, DDIM and posterior samplers."""

from solvers.ddim import DDIM
from solvers.noise import NoiseSource
from solvers.posteriors import DDRM, FIRE, SAMPLERS, Spectral, ddrm_coefficients, record_of, settings_of
from solvers.prior import Prior, identity_of
from solvers.question import InnerRun, Posterior, Question, Sampler
from solvers.schedule import NoiseSchedule
from solvers.update import ddim_update

__all__ = [
    "DDIM",
    "DDRM",
    "FIRE",
    "SAMPLERS",
    "InnerRun",
    "NoiseSchedule",
    "NoiseSource",
    "Posterior",
    "Prior",
    "Question",
    "Sampler",
    "Spectral",
    "ddim_update",
    "ddrm_coefficients",
    "identity_of",
    "record_of",
    "settings_of",
]
