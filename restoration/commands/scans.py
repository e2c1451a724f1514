"""DICOM and NIfTI among a command's inputs: how they are read, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from restoration.commands.settings import ScanSettings, TaskSettings
from restoration.errors import ImageError, OutputError
from restoration.medical import files
from restoration.medical.volume import Volume
from restoration.medical.warning import WARNING
from restoration.medical.window import WindowChoice
from restoration.pictures import images
from restoration.pictures.names import suffix_of
from restoration.pictures.picture import Depth, Picture
from restoration.priors.volume import check_together
from restoration.tasks import Task
from restoration.tasks.slices import check_scan_task


def check(settings: ScanSettings) -> None:
    """ValueError for options of scans that are none."""
    WindowChoice.parse(settings.window)
    check_together("--together", settings.together)
    if settings.axis not in (None, 0, 1, 2):
        raise ValueError(f"--axis must be 0, 1 or 2: got {settings.axis}")


def read(file: Path, settings: ScanSettings, task: Task) -> Picture | Volume | None:
    """The scan in a file, as the options have it: a picture of one slice, or a volume; None where it is no scan.

    Raises:
        ImageError: a scan that cannot be used.
    """
    if not files.is_scan_file(file):
        return None
    scan = files.load(file, settings.axis)
    with files.named(str(file)):
        check_scan_task(task.kind)
    suggested = scan.header.suggested if scan.header is not None and settings.window is None else None
    scan = scan.windowed(WindowChoice.parse(settings.window))
    scan = scan.noisy(task.sigma or 0.0)
    scan = scan.as_floats() if settings.floats else scan
    scan = replace(scan, deidentified=settings.deidentify, notes=(*scan.notes, _of_window(scan)))
    if suggested is not None and suggested.width < scan.window.width / 2:
        centre, width = (suggested.low + suggested.high) / 2, suggested.width
        note = f"its file proposes a narrower window, which shows more: --window {centre:g},{width:g}"
        scan = replace(scan, notes=(*scan.notes, note))
    if settings.deidentify:
        note = "what names the patient is left out of the file; what is drawn into the pixels is not looked for"
        scan = replace(scan, notes=(*scan.notes, note))
    if len(scan) > 1:
        return scan
    if settings.together:
        raise ImageError(f"{file}: --together is for scans of several slices, and this is of one")
    with files.named(str(file)):
        return images.pictured(scan)


def _of_window(scan: Volume) -> str:
    unit = f" {scan.unit}" if scan.unit else ""
    beyond = scan.beyond & scan.measured()
    note = f"window {scan.window}{unit} is [0, 1]"
    if bool(beyond.any()):
        note += f"; {beyond.mean():.1%} of voxels lie beyond: the prior sees them cut, results keep them"
    return note


def check_plain(file: Path, settings: ScanSettings) -> None:
    """ImageError where a picture was given options of scans."""
    given = {"--window": settings.window, "--axis": settings.axis, "--together": settings.together or None}
    for name, value in given.items():
        if value is not None:
            raise ImageError(f"{file}: {name} is for DICOM and NIfTI, and this is a picture")


def plain(picture: Picture, settings: ScanSettings) -> Picture:
    """A picture that is no scan, as the options have it."""
    picture = picture.stripped() if settings.deidentify else picture
    return replace(picture, depth=Depth.FLOAT) if settings.floats else picture


def check_target(given: Picture | Volume, target: Path) -> None:
    """OutputError where a result could not be written, before any work."""
    suffix = suffix_of(target)
    scan = given.scan if isinstance(given, Picture) else given
    if suffix in files.SUFFIXES:
        images.scan_of(target, given)
        files.check_form(scan, target)
    elif isinstance(given, Volume):
        kinds = ", ".join(files.SUFFIXES)
        raise OutputError(f"{target}: a scan of {len(given)} slices is written as one of {kinds}")


def mask_of(path: Path, settings: TaskSettings, scans: ScanSettings) -> Tensor | None:
    """(D, 1, H, W), white where to fill, of a scan of several slices that marks it; None where it is no such scan.

    What is not 0 in it is filled.
    """
    if not files.is_scan_file(path):
        return None
    dicom = not suffix_of(path).startswith(".nii")
    scan = files.load(path, None if dicom else scans.axis)
    if len(scan) == 1:
        return None
    if settings.resize_mask:
        raise ImageError(f"{path}: --resize-mask is for pictures, not for scans")
    marked = torch.from_numpy(scan.stored != 0)[:, None].float()
    marked = 1 - marked if settings.invert_mask else marked
    if settings.grow_mask:
        from restoration.tasks.masks import grown

        marked = torch.stack([grown(one, settings.grow_mask) for one in marked])
    if not bool(marked.any()):
        raise ImageError(f"{path} is black everywhere: there is nothing to fill (white marks what to fill)")
    if bool(marked.all()):
        raise ImageError(f"{path} is white everywhere: nothing of the scan would be known")
    return marked


class Once:
    """Lets the warning be told with the first scan of a command, and not again."""

    def __init__(self) -> None:
        self._told = False

    def warning(self, given: Picture | Volume) -> tuple[str, ...]:
        """What is to be said before this input."""
        scan = given.scan if isinstance(given, Picture) else given
        return () if scan is None or not self.passes(WARNING) else (WARNING,)

    def passes(self, line: str) -> bool:
        """Whether a line is to be told: the warning where it has not been, and any other."""
        if line != WARNING:
            return True
        told, self._told = self._told, True
        return not told
