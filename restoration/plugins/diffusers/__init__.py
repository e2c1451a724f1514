"""Nested Diffusion in any pipeline of diffusers: a scheduler, and previews while the pipeline runs."""

from restoration.plugins.diffusers.previews import PipelinePreview, anytime_previews, decode_estimate
from restoration.plugins.diffusers.scheduler import NestedScheduler

__all__ = ["NestedScheduler", "PipelinePreview", "anytime_previews", "decode_estimate"]
