"""Colour profiles: which of them are carried, and what is converted to sRGB."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image, ImageCms
from torch import Tensor

SPACES = {"L": ("GRAY", "RGB "), "RGB": ("RGB ",), "CMYK": ("CMYK",), "LAB": ("Lab ",)}
"""Colour spaces of the profiles that suit a Pillow mode. A grey picture with one of RGB is common, and clear."""


def checked(profile: bytes | None, mode: str) -> tuple[bytes | None, tuple[str, ...]]:
    """A profile if it can be used with pictures of that mode, and what is to be said where it is left out."""
    if not profile:
        return None, ()
    try:
        space = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space
    except (OSError, ValueError, TypeError, AttributeError, ImageCms.PyCMSError):
        return None, ("its colour profile is damaged and left out; its numbers are taken for sRGB",)
    if space not in SPACES.get(mode, ()):
        why = f"its colour profile is of {space.strip()}, not of {mode}, and left out"
        return None, (f"{why}; its numbers are taken for sRGB",)
    return profile, ()


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A CMYK or Lab picture in sRGB, 8 bits: by its profile, or as Pillow does without one."""
    if image.mode == "LAB":
        source = ImageCms.createProfile("LAB")
    elif profile is not None:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
    else:
        return image.convert("RGB")
    turned = ImageCms.profileToProfile(
        image, ImageCms.ImageCmsProfile(source), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    return image.convert("RGB") if turned is None else turned


def grey_in_srgb(pixels: Tensor, profile: bytes) -> Tensor:
    """Grey pixels (1, H, W) of a profile of grey, as sRGB's grey: for a result that will have colour.

    The profile's curve is looked up at 256 levels and interpolated.
    """
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    shown = ImageCms.profileToProfile(ramp, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert shown is not None  # it is not in place
    curve = torch.from_numpy(np.asarray(shown).mean(axis=(0, 2)).astype(np.float32)) / 255
    at = pixels.clamp(0, 1) * 255
    low = at.floor().long().clamp(max=254)
    return torch.lerp(curve[low], curve[low + 1], at - low)
