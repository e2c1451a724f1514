"""Diffusion solvers: noise schedule, noise source, DDIM and DDRM."""

from solvers.ddim import DDIM, ddim_update
from solvers.ddrm import DDRM, ddrm_coefficients
from solvers.noise import NoiseSource
from solvers.protocols import InnerProcess, Prior
from solvers.schedule import NoiseSchedule

__all__ = [
    "DDIM",
    "DDRM",
    "InnerProcess",
    "NoiseSchedule",
    "NoiseSource",
    "Prior",
    "ddim_update",
    "ddrm_coefficients",
]
