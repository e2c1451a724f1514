"""Quality against evaluations: where a curve is measured, and what it encloses."""

from __future__ import annotations

import numpy as np

POINTS = 12
"""Points of a curve, evenly over the budget."""


def area(nfe: list[int], distance: list[float]) -> float:
    """Area under log distance against evaluations, by trapezia, from the first point to the last (Appendix A)."""
    return float(np.trapezoid(np.log(distance), nfe))
