"""What ``restore`` was asked for, by what it concerns. Nothing here imports torch, so ``--help`` need not wait."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MOST_STEPS = 100_000  # far beyond any prior's, and little enough to be counted out


@dataclass(frozen=True)
class TaskSettings:
    """What was done to the pictures.

    Args:
        name: of the task, e.g. "sr4".
        sigma: standard deviation of the noise, [0, 1] units.
        simulate: pictures are clean and get degraded first.
        fit: pictures are cropped (and, with ``simulate``, shrunk) to the prior's size.
        mask: a picture whose white marks what to fill, or a folder of them, each named as its picture.
        invert_mask: black marks what to fill.
        grow_mask: pixels by which what is filled is enlarged on all sides.
        resize_mask: a mask of another size is resampled to the picture's.
        strokes: a picture whose opaque pixels say what colour is there.
        strokes_sigma: standard deviation of their chroma, [0, 1] units; None is the default.
        strokes_spread: pixels over which they fade; None is the default.
        sigma_auto: the noise is estimated in each picture.
        kernel: of a blur.
        quality: of a simulated JPEG file.
        pattern: of a mosaic.
        acceleration, center_fraction, mask_kind, slice: of MRI, as ``restoration.tasks.Task`` has them.
    """

    name: str
    sigma: float | None = None
    simulate: bool = False
    fit: bool = False
    mask: Path | None = None
    sigma_auto: bool = False
    kernel: str | None = None
    quality: int | None = None
    pattern: str | None = None
    acceleration: float | None = None
    center_fraction: float | None = None
    mask_kind: str | None = None
    slice: int | None = None
    invert_mask: bool = False
    grow_mask: int = 0
    resize_mask: bool = False
    strokes: Path | None = None
    strokes_sigma: float | None = None
    strokes_spread: float | None = None


@dataclass(frozen=True)
class PriorSettings:
    """Which prior is loaded and how; as ``load_prior``.

    Args:
        name: a known name, a file, a folder or a hub id.
        config: what a checkpoint's tensors do not tell.
        class_label: for class-conditional priors.
        precision: "fp32", "bf16", "fp16" or "auto".
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        compile: whether the network is compiled.
    """

    name: str = "photos-64"
    config: Mapping[str, str] = field(default_factory=dict)
    class_label: int | None = None
    precision: str = "auto"
    device: str = "auto"
    compile: bool = False


@dataclass(frozen=True)
class TileSettings:
    """How a picture larger than the prior's is cut.

    Args:
        overlap: of neighbouring tiles, in pixels; None is an eighth of a tile.
        batch: tiles evaluated at once.
    """

    overlap: int | None = None
    batch: int = 16


@dataclass(frozen=True)
class SamplerSettings:
    """Which inner sampler, and what of it is to differ from its own defaults.

    Args:
        name: "fire" or "ddrm"; None is fire, or ddrm where one of its η is given.
        aim: FIRE's, "faithful" or "natural"; None is faithful for one sample and natural for several.
        grid: how the levels of a run are spread, "linspace", "log" or "power"; None is the sampler's own.
        eta, eta_b: 0 … 1; None is the sampler's own.
    """

    name: str | None = None
    aim: str | None = None
    grid: str | None = None
    eta: float | None = None
    eta_b: float | None = None

    @property
    def kind(self) -> str:
        """The sampler's name."""
        ddrm = self.eta is not None or self.eta_b is not None
        return self.name or ("ddrm" if ddrm else "fire")

    @property
    def changed(self) -> dict[str, str | float]:
        """What differs from the sampler's defaults, by name."""
        given = {"aim": self.aim, "grid": self.grid, "eta": self.eta, "eta_b": self.eta_b}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class EffortSettings:
    """How much is done for a picture, and when to stop.

    Args:
        allocation: inner steps of every outer step.
        tolerance: of an effort that decides as it goes, RMSE in [0, 1] units, in place of ``allocation``, whose
            evaluations it makes at most; None: it does not decide.
        vanilla: one plain run of as many steps instead.
        samples: restorations drawn of every picture.
        seed: of the first sample, the next ones count on; None draws it.
        deadline: seconds a picture may take.
        max_nfe: network evaluations a picture may take.
        until: expected change, RMSE in [0, 1] units, below which a preview is the result.
        interval: share of the pixels, between 0 and 1, that the samples' interval is to hold; None makes no maps.
    """

    allocation: tuple[int, ...] = (10, 10, 10)
    tolerance: float | None = field(default=None, kw_only=True)
    vanilla: bool = False
    samples: int = 1
    seed: int | None = None
    deadline: float | None = None
    max_nfe: int | None = None
    until: float | None = None
    interval: float | None = None

    @property
    def steps(self) -> tuple[int, ...]:
        """The allocation that is run: one outer step of all evaluations with ``vanilla``.

        Of an adaptive effort, some of as many evaluations as it makes at most.
        """
        return (sum(self.allocation),) if self.vanilla else self.allocation


@dataclass(frozen=True)
class SteeringSettings:
    """What a person decides on the way.

    Args:
        candidates: shown at every preview, to be chosen from; None is a run that nobody chooses in.
        choices: which are kept, counted from 1, preview by preview.
        interactive: after these it is asked.
        edit: a picture that goes on in place of the preview where the state stands.
        trust: it is kept also where it contradicts the measurement.
        right, wrong: masks, white where the preview is so at which the state stands; a new run measures what is
            right.
    """

    candidates: int | None = None
    choices: tuple[tuple[int, ...], ...] = ()
    interactive: bool = False
    edit: Path | None = None
    trust: bool = False
    right: Path | None = None
    wrong: Path | None = None

    @property
    def marked(self) -> bool:
        """Whether a preview was marked."""
        return self.right is not None or self.wrong is not None


def choices_of(text: str | None) -> tuple[tuple[int, ...], ...]:
    """``3,1+4,2``: which candidates are kept, preview by preview; ValueError for what is none."""
    if text is None:
        return ()
    try:
        chosen = tuple(tuple(int(number) for number in part.split("+")) for part in text.split(","))
    except ValueError:
        chosen = ()
    if not chosen or any(number < 1 for choice in chosen for number in choice):
        raise ValueError(f"--choose must be numbers of candidates, as 3,1,2 or 3,1+4,2: got {text!r}")
    return chosen


@dataclass(frozen=True)
class OutputSettings:
    """Where results go.

    Args:
        path: the result's file, or a folder of results.
        is_folder: it was written as one, with a / at its end.
        format: suffix of results in a folder, "png" or the like, or "same" as the input's; None is TIFF of a TIFF
            and else PNG.
        name_suffix: what their names have at their end.
        quality: 1 … 100, of JPEG and lossy WebP.
        strip: EXIF, XMP and texts are not kept.
        recursive: folders are read with their folders, and results stand in the same tree.
        previews: a folder for completed previews.
        state: a file for the run, which the same command continues.
        overwrite: redo outputs that are there.
        json: tell events as JSON lines on stdout.
        strict: write nothing where the prior has probably never seen such pictures.
    """

    path: Path
    is_folder: bool = False
    format: str | None = None
    name_suffix: str = ""
    quality: int | None = None
    strip: bool = False
    recursive: bool = False
    previews: Path | None = None
    state: Path | None = None
    overwrite: bool = False
    json: bool = False
    strict: bool = False


@dataclass(frozen=True)
class ScanSettings:
    """How DICOM and NIfTI files are read and written.

    Args:
        window: which units are black and white: "40,80" (centre, width), "p0.5,p99.5" or "full"; None is full.
        axis: of a NIfTI array, that its slices follow; None is 2.
        floats: results are float numbers, not rounded to what the input's file holds.
        deidentify: what names the patient is left out of results.
        together: how strongly neighbouring slices are drawn together, 0 to 100; 0 leaves them alone.
    """

    window: str | None = None
    axis: int | None = None
    floats: bool = False
    deidentify: bool = False
    together: float = 0.0

    def record(self) -> dict[str, str | float | bool | None] | None:
        """What outputs record of it; None where nothing was asked for."""
        if self == ScanSettings():
            return None
        told = {
            "window": self.window,
            "axis": self.axis,
            "float": self.floats,
            "deidentify": self.deidentify,
            "together": self.together or None,
        }
        return {name: value for name, value in told.items() if value is not None and value is not False}


@dataclass(frozen=True)
class Settings:
    """What the command line asked for; see ``restore --help``.

    Args:
        batch: images of the prior's size in a call of the network, of several inputs; None measures how many pay.
        workers: "here", or as ``restoration.cluster.count_of`` reads it: who restores several inputs.
    """

    inputs: tuple[Path, ...]
    task: TaskSettings
    output: OutputSettings
    prior: PriorSettings = PriorSettings()
    tiles: TileSettings = TileSettings()
    steering: SteeringSettings = SteeringSettings()
    sampler: SamplerSettings = SamplerSettings()
    effort: EffortSettings = EffortSettings()
    scan: ScanSettings = ScanSettings()
    batch: int | None = 1
    workers: str = "here"


def allocation_of(outer: int | None, inner: int | None, allocation: str | None) -> tuple[int, ...]:
    """The inner steps of every outer step that options ask for: "16,8,6", or 3 × 10 where they do not say.

    Raises:
        ValueError: both were given, or numbers that are none.
    """
    if allocation is None:
        if outer is not None and outer > MOST_STEPS:
            raise ValueError(f"--outer must be at most the prior's noise levels, usually 1000: got {outer}")
        steps = (10 if inner is None else inner,) * (3 if outer is None else max(outer, 0))
        if not steps or steps[0] < 1:
            raise ValueError(f"--outer and --inner must be at least 1: got {outer} and {inner}")
        return steps
    if outer is not None or inner is not None:
        raise ValueError("--allocation takes the place of --outer and --inner: give one or the other")
    try:
        steps = tuple(int(part) for part in allocation.split(","))
    except ValueError:
        steps = ()
    if not steps or min(steps) < 1:
        raise ValueError(f"--allocation must be whole numbers of at least 1, as 16,8,6: got {allocation!r}")
    return steps


_UNITS = {"ms": 1e-3, "": 1.0, "s": 1.0, "m": 60.0, "min": 60.0}


def seconds_of(text: str) -> float:
    """Seconds of ``2s``, ``500ms``, ``1.5`` or ``2min``; ValueError for what is none, or not above 0."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})\s*([a-z]*)", text.strip().lower())
    if found is None or found[2] not in _UNITS or not float(found[1]):
        raise ValueError(f"--plan must be a time above 0, as 2s, 500ms or 1min: got {text!r}")
    return float(found[1]) * _UNITS[found[2]]


def effort_of(
    text: str | None, outer: int | None, inner: int | None, allocation: str | None
) -> tuple[tuple[int, ...], float | None]:
    """Inner steps of every outer step, and the tolerance of an effort that decides as it goes, if asked for.

    Args:
        text: ``30``, so many evaluations split evenly; ``adaptive`` or ``adaptive:0.004``; None is as
            :func:`allocation_of`.
        outer, inner, allocation: the options in whose place it stands.

    Raises:
        ValueError: it is none of these, or stands beside the others.
    """
    if text is None:
        return allocation_of(outer, inner, allocation), None
    if outer is not None or inner is not None or allocation is not None:
        raise ValueError("--effort takes the place of --outer, --inner and --allocation: give one or the other")
    from nested import Adaptive, Budget  # with torch, which other options need not wait for

    kind, colon, told = text.partition(":")
    try:
        if kind == "adaptive":
            adaptive = Adaptive(float(told)) if colon else Adaptive()
            return Budget(adaptive.most).allocation(), adaptive.tolerance
        if int(text) <= MOST_STEPS:
            return Budget(int(text)).allocation(), None
    except ValueError:
        pass
    raise ValueError(
        "--effort must be a number of evaluations, as 30, or adaptive, or adaptive:TOLERANCE with an RMSE in "
        f"[0, 1], as adaptive:0.004: got {text!r}"
    )
