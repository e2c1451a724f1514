"""Posterior samplers, one a file."""

from dataclasses import asdict
from typing import Any

from solvers.posteriors.ddrm import DDRM, ddrm_coefficients
from solvers.posteriors.fire import FIRE
from solvers.posteriors.spectral import Spectral

SAMPLERS: dict[str, type[Spectral]] = {"ddrm": DDRM, "fire": FIRE}
"""By the name that commands and records use."""


def settings_of(posterior: Spectral.Settings | type[Spectral] | str) -> Spectral.Settings:
    """A sampler's settings: as given, or its defaults where a sampler or the name of one is given.

    Raises:
        TypeError, ValueError: none of these.
    """
    if isinstance(posterior, str):
        if posterior not in SAMPLERS:
            raise ValueError(f"posterior must be one of {', '.join(SAMPLERS)}: got {posterior!r}")
        return SAMPLERS[posterior].Settings()
    if isinstance(posterior, type) and issubclass(posterior, Spectral):
        return posterior.Settings()
    if not isinstance(posterior, Spectral.Settings):
        raise TypeError(
            "posterior must be a sampler, its name or its settings, e.g. DDRM.Settings(eta=0.85): "
            f"got {posterior!r}"
        )
    return posterior


def record_of(settings: Spectral.Settings) -> dict[str, Any]:
    """A sampler and its settings as they are recorded: "sampler" is its name, each setting stands by its own."""
    kind = settings.posterior
    name = next((name for name, known in SAMPLERS.items() if known is kind), kind.__name__)
    return {"sampler": name, **asdict(settings)}


__all__ = ["DDRM", "FIRE", "SAMPLERS", "Spectral", "ddrm_coefficients", "record_of", "settings_of"]
