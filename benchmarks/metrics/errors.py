"""What goes wrong with metrics."""

from __future__ import annotations

from restoration.errors import RestorationError


class MetricError(RestorationError):
    """A metric that cannot be computed here, or weights or statistics that cannot be used; one line says why."""
