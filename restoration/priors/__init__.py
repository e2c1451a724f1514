"""Priors: what is known of clean images, as a denoiser at every noise level."""

from restoration.priors.diffusion import DiffusionPrior
from restoration.priors.gaussian import GaussianPrior
from restoration.priors.library import EMBEDDED, load_prior

__all__ = ["EMBEDDED", "DiffusionPrior", "GaussianPrior", "load_prior"]
