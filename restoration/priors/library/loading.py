"""Priors by name, by file, by folder or by hub id."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch

from restoration.errors import PriorError, first_line
from restoration.priors.calibration import Calibration
from restoration.priors.diffusion import DiffusionPrior, refuse_latent_pipeline
from restoration.priors.formats.foreign import understand
from restoration.priors.formats.reading import read_json, read_tensors, sha256
from restoration.priors.formats.settings import Setting
from restoration.priors.importing.light import lay_out, move
from restoration.priors.library.catalogue import KNOWN, recognise
from restoration.priors.library.download import Progress, cache_folder, fetch, fetch_from_hub

WEIGHTS_FOLDER = Path(__file__).parents[1] / "weights"
PRECISIONS = {"auto": torch.float32, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
EMBEDDED = ("photos-64", "faces-128", "faces-64", "brain-mri-128")
"""Names of the priors that ship inside the package."""


def load_prior(
    name_or_path: str | Path,
    device: torch.device | str = "auto",
    dtype: torch.dtype | str = "auto",
    *,
    class_label: int | None = None,
    config: Mapping[str, Setting] | None = None,
    compile: bool = False,
    progress: Progress | None = None,
) -> DiffusionPrior:
    """Load a prior in any format of the field.

    Args:
        name_or_path: an embedded prior (``EMBEDDED``); a known checkpoint (``catalogue.KNOWN``), which is
            downloaded once to the user's cache; a checkpoint file of guided-diffusion or DDPM (.pt, .ckpt,
            .safetensors); a folder in diffusers format; or a hub id (``google/ddpm-ema-celebahq-256``).
        device: ``"auto"`` is the GPU where there is one.
        dtype: of the network: ``"auto"`` (float32), ``"fp32"``, ``"bf16"``, ``"fp16"`` or a torch dtype. The
            solvers' state is float32 always.
        class_label: for class-conditional networks.
        config: what a file's tensors do not tell (``formats.foreign`` lists the keys). It goes before the file's
            sidecar (``FILE.json``), and that before what is known of the file by its SHA-256 or name.
        compile: let ``torch.compile`` make the network faster; the first evaluation takes long.
        progress: told how far a download is.

    Raises:
        PriorError: a name or file that cannot be used; one line says why.
        ValueError: a device that is not there; an unknown precision; a class label that does not suit the network.
    """
    if not isinstance(name_or_path, (str, Path)):
        raise TypeError(f"name_or_path must be a name or a path: got {name_or_path!r:.60}")
    where, kind = resolve_device(device), resolve_dtype(dtype)
    name, path = str(name_or_path), Path(name_or_path)
    if name in EMBEDDED:
        path = WEIGHTS_FOLDER / name
    elif name in KNOWN:
        known = KNOWN[name]
        path = (
            fetch(known, cache_folder(), progress)
            if known.file
            else fetch_from_hub(known.url, refuse_latent_pipeline)
        )
    elif path.is_file():
        name = path.stem
    elif path.is_dir():
        name = path.resolve().name
    elif re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith("."):
        path = fetch_from_hub(name, refuse_latent_pipeline)
    else:
        raise PriorError(
            f"prior {name!r} is no file or folder, neither an embedded prior ({', '.join(EMBEDDED)}) nor a known "
            "checkpoint (restore --list-priors), and no hub id (owner/name)"
        )
    if path.is_dir():
        if config:
            raise PriorError(
                f"{path}: a folder in diffusers format has its configuration: got {', '.join(config)}"
            )
        prior = DiffusionPrior.from_folder(path, name, where, kind, class_label)
        prior.calibration = Calibration.load(path, prior.weights_sha256)
    else:
        prior = _from_checkpoint(path, name, where, kind, class_label, config or {})
    # 5 to 16 % faster on 2 CPU cores (3.7 M parameters at 64 px, 114 M at 256 px); inputs follow the weights
    lay_out(prior.network, torch.channels_last)
    if compile:
        prior.network.compile()
        try:
            prior.denoise(torch.zeros(1, *prior.image_shape, device=where), 1)
        except Exception as error:  # no compiler, or one that fails: torch has many ways to say it
            raise PriorError(f"{name}: cannot be compiled here ({first_line(error)}); go without") from None
    return prior


def _from_checkpoint(
    path: Path,
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    class_label: int | None,
    config: Mapping[str, Setting],
) -> DiffusionPrior:
    try:
        tensors = read_tensors(path)
    except PriorError as error:
        if path.parent != cache_folder():
            raise
        raise PriorError(f"{error}; delete it to download it again") from None
    digest = sha256(path)
    known = recognise(path.name, digest)
    sidecar = path.with_name(f"{path.name}.json")
    beside = read_json(sidecar) if sidecar.is_file() else {}
    settings = _merged(known.settings if known else {}, beside, config)
    foreign = understand(tensors, settings, name=str(path), dtype=dtype)
    # What decided the answers, not how it was said: text or number, sidecar or option.
    told = json.dumps([dict(foreign.network.config), foreign.prediction], sort_keys=True, default=str)
    schedule = foreign.schedule.alpha_bars.numpy().tobytes()
    weights_sha256 = hashlib.sha256(f"{digest} {told}".encode() + schedule).hexdigest()
    return DiffusionPrior(
        move(foreign.network, device), foreign.schedule, foreign.prediction, name, weights_sha256, class_label
    )


def _merged(*layers: Mapping[str, Setting]) -> dict[str, Setting]:
    """Later layers go before earlier ones. A head count takes the place of an earlier layer's head width."""
    merged: dict[str, Setting] = {}
    for layer in layers:
        if "num_heads" in layer and "num_head_channels" not in layer:
            merged.pop("num_head_channels", None)
        merged |= layer
    return merged


def resolve_dtype(dtype: torch.dtype | str) -> torch.dtype:
    """A precision by name, ``"auto"`` being float32; ValueError for an unknown one."""
    if isinstance(dtype, torch.dtype):
        if not dtype.is_floating_point:
            raise ValueError(f"dtype must be of floating point: got {dtype}")
        return dtype
    if dtype not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}: got {dtype!r}")
    return PRECISIONS[dtype]


def resolve_device(device: torch.device | str = "auto") -> torch.device:
    """``"auto"`` as the best device of this machine; any other as asked, ValueError where it is not usable."""
    if str(device) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
        if chosen.type == "meta":
            raise RuntimeError("it holds no data")
    except (RuntimeError, AssertionError, NotImplementedError):  # with pages of what torch was built with
        raise ValueError(f"device must be one this machine has: got {str(device)!r}") from None
    return chosen
