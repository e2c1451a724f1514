"""Scans of medicine: DICOM and NIfTI in their own exact numbers, with headers, units and places in the patient.

    volume = load("brain.nii.gz").windowed(WindowChoice.parse("p0.5,p99.5"))
    restored = volume.like(restore(volume.images))          # (D, 1, H, W) in [0, 1]
    save("restored.nii.gz", restored, {"task": "denoise"})

What is restored may show what is not there: nothing here is for diagnosis.
"""

from restoration.medical.files import load, save
from restoration.medical.volume import Volume
from restoration.medical.warning import WARNING
from restoration.medical.window import Window, WindowChoice

__all__ = ["WARNING", "Volume", "Window", "WindowChoice", "load", "save"]
