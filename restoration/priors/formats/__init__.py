"""Checkpoints of the field: told by their content, understood from their tensors, and written for diffusers."""
