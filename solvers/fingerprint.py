"""What tells one sampler from another."""

from __future__ import annotations

import hashlib

from solvers.prior import Prior, identity_of


def fingerprint(sampler: str, prior: Prior, *settings: object) -> str:
    """SHA-256 of a sampler's name, its prior with its schedule, and its settings."""
    digest = hashlib.sha256(prior.schedule.alpha_bars.numpy().tobytes())
    digest.update(repr((sampler, prior.image_shape, identity_of(prior), settings)).encode())
    return digest.hexdigest()
