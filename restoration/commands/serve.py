"""``restore-serve``: its options, and a server that keeps its promises when it is told to stop."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from restoration.commands import console

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen at. Beyond this machine a token is needed.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8000,
    prior: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|PATH|ID",
            help="What clients may choose from, by name; repeatable, the first is the default.  "
            "[default: those in the package]",
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where pictures and states are kept. A server on it goes on with what another left.",
        ),
    ] = None,
    keep: Annotated[float, typer.Option(metavar="MINUTES", min=0.01, help="How long results are kept.")] = 60.0,
    max_store: Annotated[float, typer.Option(metavar="GB", min=0.01, help="Of all that is kept.")] = 4.0,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Tokens, one a line: one must be shown. Each sees only its own."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name that requests may ask for beside localhost; repeatable."),
    ] = None,
    max_body: Annotated[float, typer.Option(metavar="MB", min=0.001, help="Of a request.")] = 32.0,
    max_pixels: Annotated[
        int, typer.Option(min=64, help="Of a restored picture, its samples counted.")
    ] = 4_000_000,
    total_pixels: Annotated[
        int, typer.Option(min=64, help="Of all unfinished restorations: some 250 bytes of memory each.")
    ] = 16_000_000,
    max_nfe: Annotated[int, typer.Option(min=1, help="Network evaluations of a restoration.")] = 1000,
    queue: Annotated[int, typer.Option(min=1, help="Unfinished restorations, in all.")] = 64,
    per_client: Annotated[int, typer.Option(min=1, help="And of one client.")] = 16,
    connections: Annotated[int, typer.Option(min=1, help="At once.")] = 512,
    batch: Annotated[
        str, typer.Option(metavar="NUMBER|auto", help="Images in a call of the network at most; auto measures.")
    ] = "auto",
    most_priors: Annotated[int, typer.Option(min=1, help="In memory; the one used least lately goes first.")] = 4,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="Of networks: fp32, bf16, fp16, or auto (fp32).")] = "auto",
    ray: Annotated[
        bool, typer.Option("--ray", help="Let Ray run the engines, one a GPU or CPU core, here or in a cluster.")
    ] = False,
    replicas: Annotated[
        str | None,
        typer.Option(metavar="N|MIN-MAX", help="With --ray: how many engines, or by the load from MIN to MAX."),
    ] = None,
    drain: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="For deadlines to be kept after SIGTERM or Ctrl-C.")
    ] = 30.0,
) -> int:
    """Serve restorations over HTTP, with a page at http://localhost:8000.

    Under any load everyone has a usable picture by their deadline; who is refused is told when to come again.
    """
    from restoration.service.security import is_loopback

    if token_file is None and not is_loopback(host):
        raise ValueError(
            f"--host {host} can be reached from elsewhere: give --token-file, a file with a token a line"
        )
    if batch != "auto" and not (batch.isdecimal() and 1 <= int(batch) <= 4096):
        raise ValueError(f"--batch must be a number from 1 to 4096, or auto: got {batch!r}")
    if replicas is not None and not ray:
        raise ValueError("--replicas are Ray's: give --ray")
    try:
        from restoration.service.deployment import Scale
        from restoration.service.server import Settings, run
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed: pip install 'nested-restoration[serve]'") from None
    with tempfile.TemporaryDirectory(prefix="restore-serve-") as folder:
        return run(
            Settings(
                host=host,
                port=port,
                priors=tuple(prior or ()),
                store=Path(folder) / "store" if store is None else store,
                keep_s=60 * keep,
                max_store=int(max_store * 1e9),
                token_file=token_file,
                allow_hosts=tuple(allow_host or ()),
                max_body=int(max_body * 1e6),
                max_pixels=max_pixels,
                total_pixels=total_pixels,
                max_nfe=max_nfe,
                queue=queue,
                per_client=per_client,
                connections=connections,
                batch=None if batch == "auto" else int(batch),
                most_priors=most_priors,
                device=device,
                precision=precision,
                drain_s=drain,
                ray=ray,
                replicas=None if replicas is None else Scale.parsed(replicas),
            )
        )


def script() -> None:
    """The console script."""
    console.script("restore-serve", app)


def main() -> None:
    """As :func:`script`, for callers that go on after it."""
    console.main("restore-serve", app)


if __name__ == "__main__":
    script()
