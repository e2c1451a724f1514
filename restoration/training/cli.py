"""``restore-train``: its options."""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
BATCH = 32


@app.command()
def restore_train(
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="Folders and uncompressed tars of pictures.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="PRIOR", help="Folder of the prior; found there, training goes on.")],
    size: Annotated[int, typer.Option(help="Side of what the network sees, in pixels.")] = 64,
    crop: Annotated[bool, typer.Option("--crop", help="Random crops, for photographs; else whole pictures, shrunk (aligned faces, slices).")] = False,
    grey: Annotated[bool, typer.Option("--grey", help="One channel.")] = False,
    minutes: Annotated[float | None, typer.Option(help="Of training in all, resumptions counted together.  [default: 60]")] = None,
    steps: Annotated[int | None, typer.Option(help="Instead of --minutes.")] = None,
    preset: Annotated[str | None, typer.Option(help="Network: tiny (3.7 M parameters), small (7.8 M) or base (35.7 M).  [default: tiny]")] = None,
    init: Annotated[str | None, typer.Option(metavar="PRIOR", help="Start from this prior's network, of any size, instead.")] = None,
    batch: Annotated[int, typer.Option(help="Pictures a step (and process).")] = BATCH,
    rate: Annotated[float, typer.Option(help="AdamW's highest learning rate.")] = 3e-4,
    min_snr: Annotated[float, typer.Option(help="γ of the min-SNR weights.")] = 5.0,
    flip: Annotated[bool, typer.Option("--flip/--no-flip", help="Mirror every second picture.")] = True,
    seed: Annotated[int, typer.Option(help="Of weights, crops and noise.")] = 0,
    checkpoint_minutes: Annotated[float, typer.Option(help="Between checkpoints.")] = 5.0,
    workers: Annotated[int, typer.Option(help="Processes that prepare pictures.")] = 0,
    precision: Annotated[str, typer.Option(help="bf16, fp16, fp32, or auto: bf16 where the hardware has it.")] = "auto",
    compile: Annotated[bool | None, typer.Option("--compile/--no-compile", help="Compile the network.  [default: on a GPU]")] = None,
    data_licence: Annotated[str, typer.Option(help="A note for the model card on what the pictures' licence allows.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps; `accelerate launch` chooses its own.")] = "auto",
) -> int:
    """Train a prior on your own pictures. Kill it whenever you like: the same command goes on."""
    from restoration.training.command import Settings, train
    from restoration.training.pictures import Form
    from restoration.training.trainer import Recipe

    recipe = Recipe((60.0 if minutes is None else minutes) * 60, steps, batch, rate, between=checkpoint_minutes * 60, flip=flip, seed=seed, workers=workers)
    command = shlex.join(["restore-train", *(Path(a).name if Path(a) in data or Path(a) == output else a for a in sys.argv[1:])])
    return train(
        Settings(tuple(data), output, Form(size, 1 if grey else 3, crop), recipe, preset or "tiny", init, min_snr or math.inf, precision, compile, data_licence, device, command)
    )


def script() -> None:
    """The console script."""
    sys.exit(app(standalone_mode=False))
