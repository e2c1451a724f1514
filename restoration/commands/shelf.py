"""The shelf of priors: what ``restore --list-priors`` and ``restore --convert`` do."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from rich.console import Console

from restoration.commands.display import DownloadBar
from restoration.pictures.outputs import make_folder, probe
from restoration.priors import EMBEDDED, load_prior
from restoration.priors.formats.convert import refuse_existing, save_folder
from restoration.priors.library.catalogue import KNOWN
from restoration.priors.library.download import cache_folder


def list_known(as_json: bool) -> int:
    """Print the embedded and known priors to stdout: aligned, or one JSON object a line."""
    rows = [
        {
            "name": name,
            "where": "embedded",
            "checksum": "with the package",
            "licence": "research use only",
            "source": "its model card",
        }
        for name in EMBEDDED
    ]
    for known in KNOWN.values():
        here = bool(known.file) and (cache_folder() / known.file).is_file()
        where = "in the cache" if here else "download"
        checksum = "sha256" if known.sha256 else "md5" if known.md5 else "none published" if known.file else "hub"
        row = {"name": known.name, "where": where, "checksum": checksum}
        rows.append({**row, "licence": known.licence, "source": known.source})
    if as_json:
        for row in rows:
            sys.stdout.write(json.dumps(row) + "\n")
        return 0
    widths = {key: max(len(row[key]) for row in rows) for key in rows[0]}
    for row in rows:  # plain text: a table of the terminal's width would cut addresses
        sys.stdout.write("  ".join(value.ljust(widths[key]) for key, value in row.items()).rstrip() + "\n")
    return 0


def convert_prior(name_or_path: str, folder: Path, config: Mapping[str, str], class_label: int | None) -> int:
    """Write a prior as a diffusers folder, and say where."""
    refuse_existing(folder)  # before the work, which can be long
    probe(folder.parent)
    make_folder(folder.parent)
    with DownloadBar() as bar:
        load = partial(load_prior, name_or_path, "cpu", "fp32", config=config, progress=bar.advance)
        try:
            prior = load(class_label=class_label)
        except ValueError:
            if class_label is not None:
                raise
            prior = load(class_label=0)  # a conditional network is converted for all of its classes
    save_folder(prior, folder)
    millions = sum(parameter.numel() for parameter in prior.network.parameters()) / 1e6
    kind = type(prior.network).__name__
    where = "loads here and in diffusers" if kind == "UNet2DModel" else "loads here; diffusers has no such class"
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"{name_or_path} → {folder}: {kind}, {millions:.1f} M parameters; {where}", markup=False
    )
    return 0
