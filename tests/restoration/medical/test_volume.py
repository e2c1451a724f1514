"""Volumes: windows that are inverted exactly, and values beyond them that survive where they were measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from restoration.medical import Volume, Window, WindowChoice
from restoration.medical.volume import Grid

LIMITS = {"int16": (-32768.0, 32767.0), "uint16": (0.0, 65535.0), "uint8": (0.0, 255.0)}


def every_number(dtype: str) -> Volume:
    """A slice that holds every number of its type."""
    low, high = LIMITS[dtype]
    stored = np.arange(low, high + 1).astype(dtype).reshape(1, -1, 16)
    return Volume(stored, 0.5, -1024.0, limits=(low, high)).windowed(WindowChoice())


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("window", ["full", "40,80", "p5,p60"])
@pytest.mark.parametrize("inverted", [False, True])
def test_what_is_not_changed_comes_back_exactly_in_any_window(dtype: str, window: str, inverted: bool) -> None:
    volume = replace(every_number(dtype), inverted=inverted).windowed(WindowChoice.parse(window))
    assert np.array_equal(volume.like(volume.images).stored, volume.stored)
    rounded = volume.like(volume.images + 2e-7)  # what float32 arithmetic does to a value near 1
    assert np.array_equal(rounded.stored, volume.stored)


@pytest.mark.parametrize("dtype", LIMITS)
def test_every_number_is_found_again_from_its_place_in_the_full_window(dtype: str) -> None:
    volume = every_number(dtype)
    elsewhere = replace(volume, stored=np.roll(volume.stored, 7))  # so that none is "not changed"
    assert np.array_equal(elsewhere.like(volume.images).stored, volume.stored)


def test_what_is_beyond_the_window_is_added_to_what_is_restored() -> None:
    volume = Volume(np.array([[[0, 50], [100, 400]]], np.int16)).windowed(Window(0, 100))
    assert volume.images.flatten().tolist() == [0, 0.5, 1, 1]
    darker = volume.like(volume.images - torch.tensor([[[[0, 0.2], [0.2, 0.1]]]]))
    assert darker.stored.flatten().tolist() == [0, 30, 80, 390]


def test_what_is_beyond_the_window_is_forgotten_in_a_hole() -> None:
    volume = Volume(np.array([[[0, 50], [100, 4000]]], np.int16)).windowed(Window(0, 100))
    hole = volume.forgetting(torch.tensor([[[[0.0, 0], [0, 1]]]]))
    assert hole.like(volume.images).stored.flatten().tolist() == [0, 50, 100, 100]


def test_noise_around_the_ends_of_the_window_is_no_value_beyond_it() -> None:
    volume = Volume(np.array([[[-10, 50], [95, 400]]], np.int16)).windowed(Window(0, 100)).noisy(0.05)
    assert volume.images.flatten().tolist() == pytest.approx([-0.1, 0.5, 0.95, 1])
    still = volume.like(torch.tensor([[[[0.0, 0.5], [0.95, 1]]]]))
    assert still.stored.flatten().tolist() == [0, 50, 95, 400]


def test_padding_counts_for_no_window_and_stays() -> None:
    volume = Volume(np.array([[[-2000, 0], [50, 100]]], np.int16), padding=(-2000, -2000))
    volume = volume.windowed(WindowChoice())
    assert volume.window == Window(0, 100)
    assert volume.like(volume.images * 0.5).stored.flatten().tolist() == [-2000, 0, 25, 50]


def test_voxels_that_are_no_numbers_stay() -> None:
    volume = Volume(np.array([[[np.nan, 0], [50, 100]]], np.float32)).windowed(WindowChoice())
    assert volume.images.isfinite().all()
    restored = volume.like(volume.images * 0.5).stored
    assert np.isnan(restored[0, 0, 0])
    assert restored[0, 1].tolist() == [25, 50]


def test_results_stay_within_what_may_be_stored() -> None:
    volume = Volume(np.array([[[0, 4095], [9, 4095]]], np.uint16), limits=(0.0, 4095.0)).windowed(
        Window(1000, 4000)
    )
    assert volume.like(torch.ones(1, 1, 2, 2)).stored.max() == 4095  # 4000 + 95, and not more
    assert volume.like(torch.ones(1, 1, 2, 2)).stored.dtype == np.uint16


def test_enlarged_slices_keep_the_field_of_view_and_what_lies_beyond_the_window() -> None:
    volume = Volume(np.array([[[0, 300], [100, 50]]], np.int16), spacing=(1.0, 2.0, 2.0)).windowed(Window(0, 100))
    large = volume.like(volume.images.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert large.stored[0].tolist() == [[0, 0, 300, 300], [0, 0, 300, 300], [100, 100, 50, 50], [100, 100, 50, 50]]
    assert large.spacing == (1.0, 1.0, 1.0)
    assert large.grid == Grid(-0.25, -0.25, 0.5, 0.5)


def test_a_map_is_in_units() -> None:
    volume = Volume(np.zeros((1, 2, 2), np.int16), 2.0, -1000.0).windowed(Window(0, 400))
    assert volume.mapped(torch.full((1, 1, 2, 2), 0.1)).units.flatten().tolist() == pytest.approx([40] * 4)


@pytest.mark.parametrize("text", ["40", "40,0", "40,-3", "a,b", "p5", "p60,p5", "p0,p101", "nan,4", "1,2,3", ""])
def test_a_window_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--window must be C,W"):
        WindowChoice.parse(text)


def test_windows_are_centre_and_width_percentiles_or_all() -> None:
    units = np.arange(101.0)
    assert WindowChoice.parse("40,80").of(units) == Window(0, 80)
    assert WindowChoice.parse("p10,p90").of(units) == Window(10, 90)
    assert WindowChoice.parse(None).of(units) == WindowChoice.parse("full").of(units) == Window(0, 100)
    assert WindowChoice().of(np.full(4, 7.0)) == Window(7, 8)  # a scan of one number has a window, too


def test_volumes_are_made_of_arrays() -> None:
    assert Volume.of(np.eye(4)).shape == (1, 4, 4)
    with pytest.raises(ValueError, match="finite numbers"):
        Volume.of(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match=r"images must be \(1, 1, H, W\)"):
        Volume.of(np.eye(4)).like(torch.zeros(2, 1, 4, 4))
