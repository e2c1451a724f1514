"""Priors: what is known of clean images, as a denoiser at every noise level."""

from restoration.priors import light as light  # first: the modules below import diffusers in the usual way

# isort: split
from restoration.priors.diffusion import DiffusionPrior
from restoration.priors.gaussian import GaussianPrior
from restoration.priors.library import EMBEDDED, load_prior
from restoration.priors.tiled import TiledPrior, prior_for

__all__ = ["EMBEDDED", "DiffusionPrior", "GaussianPrior", "TiledPrior", "load_prior", "prior_for"]
