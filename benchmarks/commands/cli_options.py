"""Options that several commands of ``restore-bench`` have, and what is done with all of their texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from restoration.tasks import TASKS

Data = Annotated[
    list[Path], typer.Option("--data", help="Folder or uncompressed tar of clean pictures; repeatable.")
]
Prior = Annotated[str, typer.Option(metavar="NAME|PATH|ID", help="As for restore.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="RESULTS", help="Folder; what is there is gone on with.")
]
Tasks = Annotated[str, typer.Option(help=f"Among {','.join(TASKS)}, as for restore; parted by commas.")]
Limit = Annotated[int | None, typer.Option(help="Only so many pictures, the first by name.")]
Fit = Annotated[bool, typer.Option("--fit", help="Crop and shrink every picture to the prior's size.")]
Batch = Annotated[int, typer.Option(help="Pictures at a time: what is stored and resumed, too.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Precision = Annotated[str, typer.Option(help="Of the network: fp32, bf16, fp16, or auto (fp32).")]
FidWeights = Annotated[
    Path | None, typer.Option(help="torch-fidelity's Inception weights, where they cannot be fetched.")
]
LpipsWeights = Annotated[
    Path | None, typer.Option(help="torchvision's AlexNet weights, where they cannot be fetched.")
]
ReferenceStats = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Statistics of the clean set: taken if the file is there, else written to it."
    ),
]
Workers = Annotated[
    str,
    typer.Option(
        metavar="here|ray[:N]",
        help="ray: N processes on a machine's or a cluster's GPUs or CPUs; all must see the data at one path.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Throw away results of another configuration.")]


Sampler = Annotated[
    str | None, typer.Option(help="As for restore: fire or ddrm.  [default: fire; ddrm with one of its η]")
]
Aim = Annotated[str | None, typer.Option(help="Of fire: faithful or natural.")]
Grid = Annotated[
    str | None, typer.Option(help="Levels of a run: linspace, log or power.  [default: the sampler's]")
]
Eta = Annotated[float | None, typer.Option(help="The sampler's η.  [default: the sampler's]")]
EtaB = Annotated[float | None, typer.Option(help="DDRM's η_b.  [default: 1]")]


def numbers(option: str, text: str) -> tuple[int, ...]:
    """Of "1,2,3"; ValueError, naming the option, of anything else."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{option} must be whole numbers, as 1,2,3: got {text!r}") from None


def save(file: Path, text: str) -> None:
    """Write a text, whole or not at all."""
    from nested.files import atomic_write

    atomic_write(file, lambda stream: stream.write(text.encode()))


def tell(file: Path, lines: list[str]) -> None:
    """Write a text whole, and print it."""
    text = "\n".join(lines) + "\n"
    save(file, text)
    typer.echo(text, nl=False)
