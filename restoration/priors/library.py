"""Priors by name or by folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from restoration.errors import PriorError
from restoration.priors.diffusion import DiffusionPrior

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
EMBEDDED = ("faces-64",)
"""Names of the priors that ship inside the package."""


def load_prior(
    name_or_path: str | Path,
    device: torch.device | str = "auto",
    dtype: torch.dtype | Literal["auto"] = "auto",
) -> DiffusionPrior:
    """Load an embedded prior by name, or a DDPM pipeline folder in diffusers format by path.

    Args:
        name_or_path: one of ``EMBEDDED``, or a folder with ``unet/`` and ``scheduler/``.
        device: ``"auto"`` is the GPU where there is one.
        dtype: of the network; ``"auto"`` is float32. The solvers' state is float32 always.

    Raises:
        PriorError: unknown name, or a folder that cannot be used; one line says why.
        ValueError: a device that is not there.
    """
    where = resolve_device(device)
    kind = torch.float32 if dtype == "auto" else dtype
    if str(name_or_path) in EMBEDDED:
        name = str(name_or_path)
        return DiffusionPrior.from_folder(WEIGHTS_FOLDER / name, name, where, kind)
    folder = Path(name_or_path)
    if not folder.is_dir():
        raise PriorError(
            f"prior {str(name_or_path)!r} is neither an embedded one ({', '.join(EMBEDDED)}) "
            "nor a folder in diffusers format"
        )
    return DiffusionPrior.from_folder(folder, folder.resolve().name, where, kind)


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
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(f"device must be one this machine has: got {str(device)!r} ({reason})") from None
    return chosen
