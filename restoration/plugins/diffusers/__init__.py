"""Nested Diffusion in any pipeline of diffusers: a scheduler, and previews while the pipeline runs."""

import nested.scheduler  # noqa: F401  # pipelines saved before name it, and diffusers imports nothing they name
from restoration.plugins.diffusers.previews import PipelinePreview, anytime_previews, decode_estimate
from restoration.plugins.diffusers.scheduler import NestedScheduler
from restoration.plugins.diffusers.steering import SteeringCallback, Wish

__all__ = [
    "NestedScheduler",
    "PipelinePreview",
    "SteeringCallback",
    "Wish",
    "anytime_previews",
    "decode_estimate",
]
