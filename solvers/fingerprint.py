"""What tells one sampler from another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from solvers.prior import Prior, identity_of


def fingerprint(sampler: str, prior: Prior, *settings: object) -> str:
    """SHA-256 of a sampler's name, its prior with its schedule, and its settings."""
    return fingerprints(sampler, prior, [settings])[0]


def fingerprints(sampler: str, prior: Prior, settings: Iterable[tuple[object, ...]]) -> tuple[str, ...]:
    """:func:`fingerprint` with each of several settings; the prior, which may be large, is read only once."""
    schedule, identity = prior.schedule.alpha_bars.numpy().tobytes(), identity_of(prior)
    told = [repr((sampler, prior.image_shape, identity, one)).encode() for one in settings]
    return tuple(hashlib.sha256(schedule + one).hexdigest() for one in told)
