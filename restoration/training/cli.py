"""``restore-train``: its options."""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from restoration.commands import console

DEFAULT_MINUTES = 60.0
SEED_LIMIT = 2**53  # numpy and torch take any below

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def restore_train(
    data: Annotated[
        list[Path], typer.Argument(metavar="DATA...", help="Folders and uncompressed tars of pictures.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="PRIOR", help="Folder of the prior. Begun before, training goes on."
        ),
    ],
    size: Annotated[int, typer.Option(help="Side of what the network sees, in pixels.")] = 64,
    crop: Annotated[
        bool,
        typer.Option("--crop", help="Random crops, for photographs; without, whole pictures shrunk to --size."),
    ] = False,
    grey: Annotated[bool, typer.Option("--grey", help="One channel instead of three.")] = False,
    minutes: Annotated[
        float | None, typer.Option(help="Of training in all, resumptions included.  [default: 60]")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Length in steps instead of --minutes.")] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Network: tiny (3.7 M parameters), small (7.8 M), base (35.7 M).  [default: tiny]"),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(metavar="PRIOR", help="Start from this prior's network, of any size, instead of a preset."),
    ] = None,
    batch: Annotated[int, typer.Option(help="Pictures a step, in each process.")] = 32,
    rate: Annotated[float, typer.Option(help="The highest learning rate of AdamW.")] = 3e-4,
    min_snr: Annotated[
        float | None,
        typer.Option(
            metavar="γ", help="Weigh noise levels by min-SNR-γ (5 is usual), in place of balanced over all."
        ),
    ] = None,
    low_noise: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Share of noise levels drawn evenly in ln σ, the others evenly in k."),
    ] = 0.5,
    decay: Annotated[
        float, typer.Option(help="The most the moving average of weights keeps of its past at a step.")
    ] = 0.9999,
    flip: Annotated[bool, typer.Option("--flip/--no-flip", help="Mirror every second picture.")] = True,
    seed: Annotated[int, typer.Option(help="Of first weights, crops, flips and noise.")] = 0,
    checkpoint_minutes: Annotated[float, typer.Option(help="Of training between checkpoints.")] = 5.0,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that prepare pictures.  [default: none on a CPU, up to 4 on a GPU]"),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="bf16, fp16, fp32, or auto: bf16 where the hardware has it.")
    ] = "auto",
    compile: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Compile the network.  [default: on a GPU]")
    ] = None,
    data_licence: Annotated[
        str, typer.Option(metavar="NOTE", help="For the model card: what the pictures' licence allows.")
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> int:
    """Train a prior on your own pictures, on a CPU or GPU. Stop it whenever you like: the same command goes on.

    Several GPUs: accelerate launch -m restoration.training DATA... -o PRIOR
    """
    if minutes is not None and steps is not None:
        raise ValueError("--minutes and --steps are two ways to say how long: give one")
    if init is not None and preset is not None:
        raise ValueError("--init brings its network, --preset makes one: give one")
    length = DEFAULT_MINUTES if minutes is None else minutes
    _positive(
        **{"--minutes": length, "--rate": rate, "--checkpoint-minutes": checkpoint_minutes},
        **({} if min_snr is None else {"--min-snr": min_snr}),
    )
    for name, value in {"--low-noise": low_noise, "--decay": decay}.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be from 0 to 1: got {value}")
    _at_least(1, **{"--steps": steps, "--batch": batch, "--size": size})
    _at_least(0, **{"--workers": workers, "--seed": seed})
    if seed >= SEED_LIMIT:
        raise ValueError(f"--seed must be below {SEED_LIMIT}: got {seed}")
    if not output.name or "" in sys.argv[1:]:  # an unset shell variable; as a path it would mean this folder
        raise ValueError("DATA and --output (-o) must name something other than this folder")

    from restoration.training.command import (  # torch loads here, after --help and option errors
        TrainingOptions,
        train,
    )
    from restoration.training.pictures import Form
    from restoration.training.recipe import Recipe

    return train(
        TrainingOptions(
            data=tuple(data),
            output=output,
            form=Form(size, 1 if grey else 3, crop),
            recipe=Recipe(
                seconds=length * 60,
                steps=steps,
                batch=batch,
                rate=rate,
                decay=decay,
                between=checkpoint_minutes * 60,
                flip=flip,
                seed=seed,
                workers=workers,
            ),
            preset=preset or "tiny",
            init=init,
            gamma=min_snr,
            low=low_noise,
            precision=precision,
            compile=compile,
            licence=data_licence,
            device=device,
            command=_command([*data, output, *([] if init is None else [Path(init)])]),
        )
    )


def _command(paths: list[Path]) -> str:
    """The command as typed, but of the paths only their names: a model card travels."""
    names = {path: path.resolve().name for path in paths}
    told = []
    for argument in sys.argv[1:]:
        option, equals, value = argument.rpartition("=")
        told.append(option + equals + names.get(Path(value), value))
    return shlex.join(["restore-train", *told])


def _positive(**given: float) -> None:
    for name, value in given.items():
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be above 0 and finite: got {value}")


def _at_least(least: int, **given: int | None) -> None:
    for name, value in given.items():
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}: got {value}")


def script() -> None:
    """The console script."""
    console.script("restore-train", app)
