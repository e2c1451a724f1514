"""A checkpoint file as plain tensors by name, without running anything in it."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from nested import reading as checked
from restoration.errors import PriorError

WRAPPERS = ("ema", "ema_state_dict", "model_ema", "params_ema", "state_dict", "model_state_dict", "model")
"""Keys under which training code stores a network, averaged weights first."""
MOST_JSON = 16_000_000
"""Bytes of a configuration or calibration."""
PREFIXES = ("module.", "_orig_mod.", "model.", "diffusion_model.", "ema_model.")
"""What wrappers (data parallel, compile, Lightning) put before every name."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The state dict in a ``.safetensors``, ``.pt``, ``.ckpt`` or ``.pth`` file, unwrapped, on the CPU.

    The format is told by content. Pickles are opened with ``weights_only=True``: nothing in them runs. Where the
    format allows it tensors stay on disk until they are used.

    Raises:
        PriorError: one line: not a checkpoint, damaged, holding code, or no tensors in it.
    """
    try:
        checked.require_regular(path)
        with path.open("rb") as file:
            start = file.read(9)
        content = load_file(path) if _is_safetensors(start) else _load_pickle(path, zipped=start.startswith(b"PK"))
    except OSError as error:
        raise PriorError(f"{path}: cannot be read: {error.strerror or error}") from None
    except pickle.UnpicklingError as error:
        code = "Unsupported global" in str(error) or "Unsupported operand" in str(error) or "GLOBAL" in str(error)
        why = "holds code, not only weights; it was not run" if code else "is not a checkpoint, or is damaged"
        raise PriorError(f"{path}: {why}") from None
    except Exception:  # the bytes are wrong, and the libraries have no one word for that
        raise PriorError(f"{path}: is not a checkpoint (.safetensors, .pt, .ckpt), or is damaged") from None
    tensors = _unwrap(content)
    if tensors is None:
        raise PriorError(f"{path}: holds no network weights (a state dict, bare or under {', '.join(WRAPPERS)})")
    odd = next((name for name, t in tensors.items() if t.layout != torch.strided or t.is_meta), None)
    if odd is not None:
        raise PriorError(f"{path}: {odd} has no plain values (sparse, or on no device)")
    return _without_prefixes(tensors)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; PriorError in one line where there is none."""
    try:
        content = checked.read_json(path, MOST_JSON)
    except FileNotFoundError:
        raise PriorError(f"{path} is missing: a DDPM pipeline folder in diffusers format has it") from None
    except (OSError, ValueError) as error:
        raise PriorError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise PriorError(f"{path} must hold a JSON object")
    return content


def sha256(path: Path) -> str:
    """Of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_safetensors(start: bytes) -> bool:
    return len(start) == 9 and start[8:] == b"{" and not start.startswith(b"PK")


def _load_pickle(path: Path, zipped: bool) -> Any:
    # Memory mapping works for the zip format only; the one before torch 1.6 is read whole.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pickle protocols that may not work: then they fail below
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True if zipped else None)


def _unwrap(content: Any, depth: int = 2) -> dict[str, Tensor] | None:
    if not isinstance(content, Mapping):
        return None
    for key in WRAPPERS if depth else ():
        if isinstance(content.get(key), Mapping):
            found = _unwrap(content[key], depth - 1)
            if found is not None:
                return found
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    return tensors if any(tensor.ndim > 1 for tensor in tensors.values()) else None  # a decay is no network


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    stripped = True
    while stripped:
        stripped = False
        for prefix in PREFIXES:
            if all(name.startswith(prefix) for name in tensors):
                tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
                stripped = True
    return tensors
