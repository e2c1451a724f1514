"""The contact sheet."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.commands.sheet import Cell, contact_sheet


def test_a_contact_sheet_shows_every_pixel() -> None:
    picture = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    sheet = contact_sheet("title", ["a", "b"], [("row", [Cell(picture, "20 dB"), Cell(picture[:1])])], side=16)
    colours = {tuple(colour) for colour in np.asarray(sheet).reshape(-1, 3)}
    assert {tuple(c) for c in (picture * 255).round().byte().flatten(1).T.tolist()} <= colours
