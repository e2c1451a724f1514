"""``restore``: its options, and errors as one line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from restoration.commands import console
from restoration.commands.settings import (
    EffortSettings,
    OutputSettings,
    PriorSettings,
    SamplerSettings,
    ScanSettings,
    Settings,
    SteeringSettings,
    TaskSettings,
    TileSettings,
    choices_of,
    effort_of,
    seconds_of,
)
from restoration.tasks import HELP, MARKED, MASKED, NOISY, STROKED, takers

AUTO = "auto"

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        from restoration.version import own_version

        typer.echo(f"nested-restoration {own_version()}")
        raise typer.Exit


@app.command()
def restore(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="INPUT...", help="Pictures, or folders of them.", show_default=False),
    ] = None,
    task: Annotated[str | None, typer.Option(help=f"{HELP}.  [required]")] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="OUT", help="Result: a file, or a folder.  [required]"),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help=f"{MASKED}: a picture whose white marks what to fill, or a folder of them by name."),
    ] = None,
    invert_mask: Annotated[bool, typer.Option("--invert-mask", help="Black marks what to fill.")] = False,
    grow: Annotated[int, typer.Option(metavar="PIXELS", help="Enlarge what the mask marks on all sides.")] = 0,
    resize_mask: Annotated[
        bool, typer.Option("--resize-mask", help="Resample a mask of another size to the picture's.")
    ] = False,
    strokes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"{STROKED}: a PNG whose opaque pixels say what colour is there."),
    ] = None,
    strokes_sigma: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER", help="How far off strokes may be, std in [0, 1]; 0: exact.  [default: 0.03]"
        ),
    ] = None,
    strokes_spread: Annotated[
        float | None,
        typer.Option(metavar="PIXELS", help="How far a stroke tells of others as light.  [default: 8]"),
    ] = None,
    sigma: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|auto",
            help=f"Noise std in [0, 1] of what was measured, or auto to estimate it there; needed for {NOISY}.",
        ),
    ] = None,
    kernel: Annotated[
        str | None,
        typer.Option(
            help="deblur: gaussian:SIGMA, motion:LENGTH,ANGLE, disk:RADIUS, uniform:SIDE, or a file; sr4: what "
            "it was shrunk with, box, bicubic, lanczos, gaussian:SIGMA, or a file.  [default: box]"
        ),
    ] = None,
    quality: Annotated[int | None, typer.Option(help=f"{takers('quality')}, with --simulate: 1 to 100.")] = None,
    pattern: Annotated[
        str | None,
        typer.Option(help=f"{takers('pattern')}: of the first 2 × 2 pixels: RGGB, BGGR, GRBG, GBRG; or dng."),
    ] = None,
    acceleration: Annotated[
        float | None,
        typer.Option(help=f"{takers('acceleration')}: one in so many k-space values is measured.  [default: 4]"),
    ] = None,
    center_fraction: Annotated[
        float | None,
        typer.Option(help="mri: share of the lines in the middle, all measured.  [default: 0.32/acceleration]"),
    ] = None,
    mask_kind: Annotated[
        str | None,
        typer.Option(
            help="mri: equispaced or random lines, poisson (disks), or a picture whose white is measured.  "
            "[default: equispaced]"
        ),
    ] = None,
    slice: Annotated[
        int | None, typer.Option(help="mri: of a file of several, from 0.  [default: the middle one]")
    ] = None,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate",
            help=f"INPUT is clean: degrade it first ({MASKED} without --mask drops half of the pixels), "
            "restore, and report PSNR and SSIM.",
        ),
    ] = False,
    fit: Annotated[
        bool, typer.Option("--fit", help="Crop (with --simulate also shrink) to the prior's size: no tiles.")
    ] = False,
    overlap: Annotated[
        int | None,
        typer.Option(help="Of the tiles of a large picture, in pixels.  [default: an eighth of a tile]"),
    ] = None,
    tile_batch: Annotated[
        int, typer.Option(help="Tiles evaluated at once: less needs less memory.")
    ] = TileSettings.batch,
    batch: Annotated[
        str,
        typer.Option(
            metavar="N|auto",
            help="Restore several inputs at once, up to N pictures or tiles a call of the network; auto: as many "
            "as pay.",
        ),
    ] = "1",
    workers: Annotated[
        str,
        typer.Option(
            metavar="here|ray[:N]", help="Spread inputs over N processes with Ray; ray: one a GPU or CPU core."
        ),
    ] = "here",
    prior: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH|ID",
            help="A name (--list-priors), a checkpoint file, a diffusers folder, or a hub id.",
        ),
    ] = PriorSettings.name,
    prior_config: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="What a checkpoint's tensors do not tell; repeatable."),
    ] = None,
    class_label: Annotated[int | None, typer.Option(help="Class, for class-conditional priors.")] = None,
    precision: Annotated[str, typer.Option(help="Of the network: fp32, bf16, fp16, or auto (fp32).")] = "auto",
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the network: slower to start, then faster.")
    ] = False,
    outer: Annotated[int | None, typer.Option(help="Outer steps: as many previews.  [default: 3]")] = None,
    inner: Annotated[int | None, typer.Option(help="Inner steps of each outer step.  [default: 10]")] = None,
    allocation: Annotated[
        str | None, typer.Option(metavar="16,8,6", help="Inner steps of every outer step, instead.")
    ] = None,
    effort: Annotated[
        str | None,
        typer.Option(
            metavar="N|adaptive[:TOL]",
            help="N evaluations, split evenly; adaptive decides as it goes, at most 30 (docs/effort.md).",
        ),
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="fire, or the paper's ddrm (docs/samplers.md).  [default: fire]")
    ] = None,
    aim: Annotated[
        str | None,
        typer.Option(
            help="Of fire: faithful, nearest to the truth; natural, a sample with texture.  [default: faithful; "
            "natural with --samples]"
        ),
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(help="Levels of a run: linspace, log or power (even in σ's).  [default: the sampler's]"),
    ] = None,
    eta: Annotated[float | None, typer.Option(help="DDRM's η, 0 to 1.  [default: 0.85]")] = None,
    eta_b: Annotated[float | None, typer.Option(help="DDRM's η_b, 0 to 1.  [default: 1]")] = None,
    vanilla: Annotated[
        bool, typer.Option("--vanilla", help="One plain run of as many steps, for comparison.")
    ] = False,
    deadline: Annotated[
        float | None,
        typer.Option(help="Seconds an input may take once the prior is loaded; the best so far is kept."),
    ] = None,
    max_nfe: Annotated[
        int | None, typer.Option(help="Network evaluations an input may take; the best so far is kept.")
    ] = None,
    until: Annotated[
        float | None,
        typer.Option(help="Stop at a preview that is expected to change by less: RMSE in [0, 1], e.g. 0.02."),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(metavar="2s", help="Print what could be had by then, by a measured time of one evaluation."),
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Show N candidates at every preview, to be chosen from (docs/steering.md)."
        ),
    ] = None,
    choose: Annotated[
        str | None,
        typer.Option(metavar="3,1,2", help="Which are kept, preview by preview; several of one: 3,1+4,2."),
    ] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Ask at every preview which candidate is kept.")
    ] = False,
    edit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A changed preview goes on in its place, where --state stands."),
    ] = None,
    trust_edit: Annotated[
        bool, typer.Option("--trust-edit", help="Keep what contradicts the measurement in it, too.")
    ] = False,
    right: Annotated[
        Path | None,
        typer.Option(
            metavar="MASK",
            help=f"{MARKED}: white where the preview is right at which --state stands; a new run measures that.",
        ),
    ] = None,
    wrong: Annotated[
        Path | None,
        typer.Option(metavar="MASK", help="Where it is wrong; without --right all else is right."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Repeats a run; drawn and reported if not given.")] = None,
    samples: Annotated[
        int, typer.Option(help="Draw N restorations: OUT is their mean, beside it each one and their std.")
    ] = 1,
    interval: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT",
            help="With --samples: maps of std, quantiles and the calibrated interval that holds so many of the "
            "pixels, as float TIFF; 90, for instance (docs/medical-uncertainty.md).",
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Write nothing where the prior has probably never seen such pictures."),
    ] = False,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Read folders in folders; results stand in the same tree.")
    ] = False,
    format: Annotated[
        str | None,
        typer.Option(help="Of results in a folder: png, jpg, webp, tif or same.  [default: png, of a TIFF tif]"),
    ] = None,
    output_quality: Annotated[
        int | None, typer.Option(help="1 to 100, of JPEG and lossy WebP.  [default: 95, and WebP lossless]")
    ] = None,
    suffix: Annotated[str, typer.Option(metavar="TEXT", help="What names of results in a folder end with.")] = "",
    strip: Annotated[
        bool, typer.Option("--strip", help="Keep no EXIF, XMP and texts (but profile and resolution).")
    ] = False,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="C,W|pLOW,pHIGH|full",
            help="Of DICOM and NIfTI: centre and width in their units, or percentiles, that are black and white.  "
            "[default: full, all of their range]",
        ),
    ] = None,
    axis: Annotated[
        int | None, typer.Option(help="Of NIfTI, which slices follow: 0, 1 or 2.  [default: 2]")
    ] = None,
    together: Annotated[
        float,
        typer.Option(
            help="Of scans: draw neighbouring slices together, so that less flickers from one to the next; 0.25, "
            "for instance, and 0 not at all (docs/medical-uncertainty.md)."
        ),
    ] = ScanSettings.together,
    float_: Annotated[
        bool,
        typer.Option("--float", help="NIfTI and TIFF results hold float numbers, unrounded."),
    ] = False,
    deidentify: Annotated[
        bool, typer.Option("--deidentify", help="Leave out what names the patient (docs/medical.md says what).")
    ] = False,
    previews: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write every completed preview here.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Store the run here; the same command continues it.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Redo outputs that are there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Events as JSON lines on stdout.")] = False,
    list_priors: Annotated[
        bool, typer.Option("--list-priors", help="List known priors, with licence and source, and exit.")
    ] = False,
    convert: Annotated[
        str | None,
        typer.Option(metavar="CHECKPOINT", help="Write a prior as a diffusers folder to OUT, and exit."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> int:
    """Restore pictures, anytime: a usable result after a third of the work, better ones until you say stop.

    INPUT is what was measured: small for sr4, grey for colorize. Ctrl-C keeps the best preview so far.
    """
    named = zip(["", *sys.argv[1:]], sys.argv[1:], strict=False)
    empty = [argument for before, argument in named if not argument and before != "--suffix"]
    if empty:  # an unset shell variable; as a path it would mean this folder
        raise ValueError("an argument is empty (restore --help)")
    if not list_priors and convert is None:
        needed = {"INPUT...": inputs, "--task": task}
        _demand(**needed, **({} if plan is not None else {"--output (-o)": output}))
    steps, tolerance = effort_of(effort, outer, inner, allocation)
    config = _pairs(prior_config or [])

    if list_priors or convert is not None:
        from restoration.commands.shelf import convert_prior, list_known

        if convert is None:
            return list_known(json)
        _demand(**{"--output (-o)": output})
        return convert_prior(convert, Path(output or ""), config, class_label)

    settings = Settings(
        inputs=tuple(inputs or ()),
        task=TaskSettings(
            task or "",
            sigma=None if sigma in (None, AUTO) else _number("--sigma", str(sigma)),
            sigma_auto=sigma == AUTO,
            simulate=simulate,
            fit=fit,
            mask=mask,
            strokes=strokes,
            strokes_sigma=strokes_sigma,
            strokes_spread=strokes_spread,
            kernel=kernel,
            quality=quality,
            pattern=pattern,
            acceleration=acceleration,
            center_fraction=center_fraction,
            mask_kind=mask_kind,
            slice=slice,
            invert_mask=invert_mask,
            grow_mask=grow,
            resize_mask=resize_mask,
        ),
        output=OutputSettings(
            Path(output or ""),
            is_folder=(output or "").endswith(("/", os.sep)),
            format=None if format is None else format.lower().removeprefix("."),
            name_suffix=suffix,
            quality=output_quality,
            strip=strip,
            recursive=recursive,
            previews=previews,
            state=state,
            overwrite=overwrite,
            json=json,
            strict=strict,
        ),
        prior=PriorSettings(
            prior,
            config=config,
            class_label=class_label,
            precision=precision,
            device=device,
            compile=compile,
        ),
        scan=ScanSettings(window, axis, float_, deidentify, together),
        tiles=TileSettings(overlap=overlap, batch=tile_batch),
        steering=SteeringSettings(candidates, choices_of(choose), interactive, edit, trust_edit, right, wrong),
        sampler=SamplerSettings(sampler, aim=aim, grid=grid, eta=eta, eta_b=eta_b),
        effort=EffortSettings(
            steps,
            tolerance=tolerance,
            vanilla=vanilla,
            samples=samples,
            seed=seed,
            until=until,
            deadline=deadline,
            max_nfe=max_nfe,
            interval=None if interval is None else interval / 100,
        ),
        batch=None if batch == AUTO else _whole("--batch", batch),
        workers=workers,
    )
    seconds = None if plan is None else seconds_of(plan)

    # torch loads here, after --help and option errors
    if seconds is not None:
        from restoration.commands.plan import run as tell_plan

        return tell_plan(settings, seconds)
    from restoration.commands.job import run

    return run(settings)


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{option} must be a number or {AUTO}: got {text!r}") from None


def _whole(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{option} must be a whole number or {AUTO}: got {text!r}") from None


def _demand(**given: object) -> None:
    missing = [name for name, value in given.items() if not value]
    if missing:
        raise ValueError(f"missing {', '.join(missing)} (restore --help)")


def _pairs(texts: list[str]) -> dict[str, str]:
    for text in texts:
        if not text.partition("=")[2]:
            raise ValueError(f"--prior-config must be KEY=VALUE: got {text!r}")
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def script() -> None:
    """The console script."""
    console.script("restore", app)


def main() -> None:
    """As :func:`script`, for callers that go on after it."""
    console.main("restore", app)
