"""Priors: what is known of clean images, as a denoiser at every noise level."""

# first: the modules below import diffusers in the usual way
from restoration.priors.importing import light as light

# isort: split
from restoration.priors.diffusion import DiffusionPrior
from restoration.priors.gaussian import GaussianPrior
from restoration.priors.library.loading import EMBEDDED, load_prior
from restoration.priors.tiled import TiledPrior, prior_for

__all__ = ["EMBEDDED", "DiffusionPrior", "GaussianPrior", "TiledPrior", "load_prior", "prior_for"]
