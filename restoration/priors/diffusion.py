"""A pretrained diffusion network as a prior."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor

from restoration.errors import PriorError
from solvers import NoiseSchedule

Prediction = Literal["epsilon", "sample", "v_prediction"]
WEIGHTS = "diffusion_pytorch_model.safetensors"


class DiffusionPrior:
    """E[x₀ | x_k] from an unconditional ``diffusers.UNet2DModel`` trained on the [-1, 1] scale.

    Args:
        network: in evaluation mode, on the device and in the dtype it shall run in.
        schedule: the noise levels it was trained with; level k is its timestep k − 1.
        prediction: what it predicts: the noise (``"epsilon"``), x₀ (``"sample"``) or ``"v_prediction"``,
            v = √ᾱ ε − √(1−ᾱ) x₀ (Salimans and Ho, 2022).
        name: for people, and for the files it helps to make.
        weights_sha256: of its weights and configuration, so that a result can be traced to it; computed from the
            weights if not given.
    """

    def __init__(
        self,
        network: UNet2DModel,
        schedule: NoiseSchedule,
        prediction: Prediction,
        name: str = "network",
        weights_sha256: str = "",
    ) -> None:
        if prediction not in get_args(Prediction):
            raise ValueError(f"prediction must be one of {get_args(Prediction)}: got {prediction!r}")
        self.network = network
        self.schedule = schedule
        self.prediction = prediction
        self.name = name
        self.weights_sha256 = weights_sha256 or _sha256(network)
        size = network.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        self.image_shape: tuple[int, int, int] = (network.config.in_channels, height, width)

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return torch.device(self.network.device)

    @property
    def fingerprint(self) -> str:
        """Equal for priors that give the same answers."""
        return f"{self.weights_sha256} {self.prediction} {self.network.dtype}"

    @torch.no_grad()
    def denoise(self, x_k: Tensor, k: int) -> Tensor:
        """x̂₀ (B, C, H, W) float32, unclipped, from x_k at level k = 1 … K; one network evaluation."""
        alpha_bar = self.schedule.alpha_bar(k)
        signal, spread = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
        output: Tensor = self.network(x_k.to(self.network.dtype), k - 1).sample.float()
        if self.prediction == "epsilon":
            return (x_k - spread * output) / signal
        if self.prediction == "v_prediction":
            return signal * x_k - spread * output
        return output

    @classmethod
    def from_folder(
        cls, folder: Path, name: str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> DiffusionPrior:
        """Load a DDPM pipeline folder in diffusers format: ``unet/`` and ``scheduler/``, safetensors weights.

        Nothing but JSON and safetensors is read, so that a folder from a stranger cannot run code.

        Raises:
            PriorError: one line saying what in the folder is missing, damaged or not supported.
        """
        settings = _read_json(folder / "unet" / "config.json")
        scheduler = _read_json(folder / "scheduler" / "scheduler_config.json")
        kind = settings.get("_class_name", "UNet2DModel")
        if kind != "UNet2DModel":
            raise PriorError(f"{folder}: its network is a {kind}; only UNet2DModel (pixel space) is supported")
        prediction = scheduler.get("prediction_type", "epsilon")
        if prediction not in get_args(Prediction):
            raise PriorError(f"{folder}: prediction_type {prediction!r} is not one of {get_args(Prediction)}")
        weights = folder / "unet" / WEIGHTS
        if not weights.is_file():
            raise PriorError(f"{folder}: unet/{WEIGHTS} is missing")
        network = _load_network(folder, dtype).to(device)
        if network.config.in_channels != network.config.out_channels:
            channels = f"{network.config.in_channels} channels to {network.config.out_channels}"
            raise PriorError(f"{folder}: its network maps {channels}; they must agree")
        if network.config.sample_size is None or network.config.class_embed_type is not None:
            raise PriorError(f"{folder}: only unconditional networks of a known sample_size are supported")
        digest = hashlib.sha256(weights.read_bytes())
        digest.update(json.dumps([settings, scheduler], sort_keys=True).encode())
        return cls(network, _schedule(folder, scheduler), prediction, name, digest.hexdigest())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PriorError(f"{path} is missing: a DDPM pipeline folder in diffusers format has it") from None
    except (OSError, ValueError) as error:
        raise PriorError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise PriorError(f"{path} must hold a JSON object")
    return content


def _load_network(folder: Path, dtype: torch.dtype) -> UNet2DModel:
    try:
        network, report = UNet2DModel.from_pretrained(
            folder / "unet",
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,
            torch_dtype=dtype,
            output_loading_info=True,
        )
    except Exception as error:  # diffusers, safetensors and torch each raise their own kinds
        raise PriorError(f"{folder}: its network cannot be loaded: {_first_line(error)}") from None
    wrong = [key for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in report[kind]]
    if wrong:
        raise PriorError(f"{folder}: {len(wrong)} weights do not fit its configuration, first {wrong[0]}")
    if not all(bool(parameter.isfinite().all()) for parameter in network.parameters()):
        raise PriorError(f"{folder}: its weights hold NaN or infinity")
    return network.eval().requires_grad_(False)


def _schedule(folder: Path, settings: dict[str, Any]) -> NoiseSchedule:
    try:
        given = settings.get("trained_betas") or settings.get("rescale_betas_zero_snr")
        if settings.get("beta_schedule", "linear") == "linear" and not given:
            return NoiseSchedule.linear(
                settings["num_train_timesteps"], settings["beta_start"], settings["beta_end"]
            )
        return NoiseSchedule.from_alpha_bar(DDPMScheduler.from_config(settings).alphas_cumprod)
    except Exception as error:  # whatever diffusers raises for a configuration it does not know
        raise PriorError(f"{folder}: its noise schedule is not supported: {_first_line(error)}") from None


def _sha256(network: UNet2DModel) -> str:
    digest = hashlib.sha256(json.dumps(dict(network.config), sort_keys=True, default=str).encode())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
