"""The page as a browser shows it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.report import page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
]
DARK = "--blink-settings=preferredColorScheme=0"
Folder = Callable[..., Path]
Shoot = Callable[..., tuple[Image.Image, list[str]]]


@pytest.fixture
def shoot(tmp_path: Path) -> Shoot:
    """Makes a picture of a page, and what the page had to say on its console."""
    browser = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if browser is None:
        pytest.skip(
            "Chromium is not installed: a report's looks are not tested (Debian: apt-get install chromium)"
        )

    def take(file: Path, width: int, *flags: str) -> tuple[Image.Image, list[str]]:
        target = tmp_path / f"{width}.png"
        target.unlink(missing_ok=True)
        profile = tmp_path / f"profile {len(list(tmp_path.iterdir()))}"
        size = f"--window-size={width},1600"
        own = [f"--user-data-dir={profile}", size, f"--screenshot={target}"]
        told = subprocess.run(
            [browser, *FLAGS, *own, *flags, file.as_uri()],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert target.is_file(), told.stderr
        said = [line for line in told.stderr.splitlines() if "CONSOLE" in line]
        return Image.open(target).convert("RGB"), said

    return take


def colours(picture: Image.Image) -> int:
    """How many there are."""
    return len(picture.getcolors(picture.width * picture.height) or ())


@pytest.mark.parametrize("width", [1280, 400])
def test_page_is_drawn_without_complaint(width: int, folder: Folder, shoot: Shoot, hostile: str) -> None:
    picture, said = shoot(page.write(folder(names=(hostile, "b.png"))), width)
    assert said == []
    assert picture.width == width
    assert colours(picture) > 200  # a blank page has one, a page without its style or its pictures a few greys


def test_page_is_dark_where_that_is_preferred(folder: Folder, shoot: Shoot) -> None:
    file = page.write(folder())
    light, _ = shoot(file, 1280)
    dark, said = shoot(file, 1280, DARK)
    assert said == []
    assert sum(light.getpixel((2, 2))) > 3 * 240  # type: ignore[arg-type]
    assert sum(dark.getpixel((2, 2))) < 3 * 40  # type: ignore[arg-type]


def test_complaints_would_be_heard(folder: Folder, shoot: Shoot) -> None:
    file = page.write(folder())
    file.write_text(file.read_text(encoding="utf-8").replace("</main>", "<script>1</script></main>"), "utf-8")
    _, said = shoot(file, 1280)
    assert any("Content Security Policy" in line for line in said)
