"""Images as a notebook shows them."""

from __future__ import annotations

from torch import Tensor

LEAST_HEIGHT = 192
"""In pixels of the notebook: smaller images are shown larger, which leaves the file as it is."""
MARGIN = 2


def png_of(images: Tensor) -> tuple[bytes, dict[str, int]] | None:
    """A PNG in 8 bits of images (B, C, H, W) in [0, 1] side by side, and the size to show it in.

    None where they are no pictures: neither grey (C = 1) nor of colour (C = 3). Source: IPython's ``_repr_png_``.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        return None
    from restoration.pictures import writing  # Pillow and its second wait until something is shown
    from restoration.pictures.picture import Picture

    count, channels, height, width = images.shape
    row = images.new_ones(channels, height, count * (width + MARGIN) - MARGIN)
    for i, image in enumerate(images):
        row[:, :, i * (width + MARGIN) : i * (width + MARGIN) + width] = image
    times = max(1, LEAST_HEIGHT // height)
    return writing.encode(Picture(row), "PNG", "{}"), {"width": times * row.shape[2], "height": times * height}
