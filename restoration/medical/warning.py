"""What every restored scan says of itself, in its file and on the screen."""

from __future__ import annotations

WARNING = (
    "Restored by a generative model: details may be invented, and real ones may be missing. Not for diagnosis."
)
"""In DICOM's derivation and comments, in every record, and once on the screen."""

SHORT = "Restored by a model; details may be invented. NOT FOR DIAGNOSIS"
"""As WARNING, within the 80 bytes that NIfTI has for a description."""
