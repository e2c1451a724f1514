"""A picture, with everything that came with it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:  # scans load with the first of them
    from restoration.medical.volume import Volume


class Depth(IntEnum):
    """How a sample is stored: in 8 or 16 bits unsigned, or as a float of 32."""

    EIGHT = 8
    SIXTEEN = 16
    FLOAT = 32


@dataclass(frozen=True)
class Header:
    """What a file says beside its pixels, ready to be written again.

    Args:
        resolution: pixels an inch, across and down.
        exif: as Pillow's ``Exif.tobytes`` makes it, of the picture turned upright, without its thumbnail.
        xmp: a packet, of the picture turned upright.
        chunks: a PNG's texts and colour chunks, name and content, as they were.
    """

    resolution: tuple[float, float] | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture on its way from a file through a restoration into another file.

    Args:
        pixels: (C, H, W) float32, C = 1 (grey) or 3 (RGB), nominally in [0, 1], in its profile's numbers.
        alpha: (1, H, W) in [0, 1], 0 transparent; None where all is opaque.
        depth: of the samples in the file.
        profile: its ICC profile; None is sRGB. It is carried, not applied: a result has the numbers of what was
            given, and is shown with the colours of what was given.
        header: what else the file said.
        notes: what was changed or left out in reading, a line each, for the user.
        scan: the one slice of a scan that it is, in the file's own numbers; ``pixels`` are its window.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    depth: Depth = Depth.EIGHT
    profile: bytes | None = None
    header: Header = field(default_factory=Header)
    notes: tuple[str, ...] = ()
    scan: Volume | None = None

    @property
    def grey(self) -> bool:
        """Whether it is grey: one channel, or three that are equal everywhere."""
        first = self.pixels[0]
        return all(bool(first.equal(channel)) for channel in self.pixels[1:])

    def like(self, image: Tensor) -> Picture:
        """A picture of other pixels (C, H, W) with all that this one has.

        A grey image has three channels where this one's are three, and one in colour keeps no profile of grey.
        Alpha is enlarged or cut to the image's size: unchanged where the sizes agree.
        """
        if len(image) == 1 and len(self.pixels) == 3 and self.grey:
            image = image.expand(3, -1, -1)
        alpha, size = self.alpha, tuple(image.shape[1:])
        if alpha is not None and tuple(alpha.shape[1:]) != size:
            enlarged = functional.interpolate(alpha[None], size, mode="bicubic", align_corners=False)
            alpha = enlarged[0].clamp(0, 1)
        profile = self.profile if len(image) == len(self.pixels) or is_of_colour(self.profile) else None
        if len(image) == 1 < len(self.pixels):
            profile = None
        scan = None if self.scan is None else self.scan.like(image.mean(dim=0, keepdim=True)[None])
        return replace(self, pixels=image, alpha=alpha, profile=profile, notes=(), scan=scan)

    def mapped(self, values: Tensor, white: float) -> Picture:
        """A map (1, H, W) of this picture, as of a standard deviation: shown over ``white``, with its depth only.

        Of a scan it is also in the scan's units, with all that its file said.
        """
        scan = None if self.scan is None else self.scan.mapped(values[None])
        return Picture(values / white, depth=self.depth, scan=scan)

    def stripped(self) -> Picture:
        """Without EXIF, XMP and texts; its profile and resolution are kept."""
        colour = tuple(chunk for chunk in self.header.chunks if chunk[0] in COLOUR_CHUNKS)
        return replace(self, header=Header(self.header.resolution, chunks=colour))


COLOUR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP")
"""A PNG's words for its colours where it has no ICC profile."""


def is_of_colour(profile: bytes | None) -> bool:
    """Whether an ICC profile is of RGB numbers."""
    return profile is not None and profile[16:20] == b"RGB "


def whole(pixels: Tensor) -> Picture:
    """A picture of nothing but pixels (C, H, W) in [0, 1]."""
    return Picture(torch.as_tensor(pixels))
