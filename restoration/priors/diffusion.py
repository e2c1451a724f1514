"""A pretrained diffusion network as a prior."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention
from diffusers.utils import logging
from safetensors import safe_open
from torch import Tensor

from restoration.errors import PriorError, first_line
from restoration.priors.calibration import Calibration
from restoration.priors.formats.reading import read_json, sha256
from restoration.priors.formats.variants import GuidedUNet2DModel
from restoration.priors.importing.light import device_of, move
from solvers import NoiseSchedule
from solvers.prior import per_image

Prediction = Literal["epsilon", "sample", "v_prediction"]
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
"""File names of weights in diffusers format, the better first."""
FACTS = "training.json"
"""What ``restore-train`` tells programs of a prior."""
MOST_SETTING, MOST_LAYERS, MOST_BLOCKS = 100_000, 64, 32
"""Largest number in a network's configuration, most layers of a block, most entries of a list."""
FLOATS = ("F64", "F32", "F16", "BF16")
"""What safetensors calls the numbers that weights may be."""
MOST_STEPS = 100_000
NETWORKS = {"UNet2DModel": UNet2DModel, "GuidedUNet2DModel": GuidedUNet2DModel}


class DiffusionPrior:
    """E[x₀ | x_k] from a ``diffusers.UNet2DModel`` trained on the [-1, 1] scale.

    Of a network with a learned variance, twice as many channels out as in, the first half is the estimate and the
    rest is ignored (Nichol and Dhariwal, 2021).

    Args:
        network: in evaluation mode, on the device and in the dtype it shall run in.
        schedule: the noise levels it was trained with; level k is its timestep k − 1.
        prediction: what it predicts: the noise (``"epsilon"``), x₀ (``"sample"``) or ``"v_prediction"``,
            v = √ᾱ ε − √(1−ᾱ) x₀ (Salimans and Ho, 2022).
        name: for people, and for the files it helps to make.
        weights_sha256: of its weights and configuration, so that a result can be traced to it; computed from the
            weights if not given.
        class_label: which class a class-conditional network shall restore, 0 … classes − 1; None for others.
        crops: whether it was trained on crops, and so fits tiles, or on whole pictures; None if that is not known.

    Raises:
        ValueError: a prediction that is not known; a class label that is missing, out of range, or not called for.
    """

    def __init__(
        self,
        network: UNet2DModel,
        schedule: NoiseSchedule,
        prediction: Prediction,
        name: str = "network",
        weights_sha256: str = "",
        class_label: int | None = None,
        crops: bool | None = None,
    ) -> None:
        if prediction not in get_args(Prediction):
            raise ValueError(f"prediction must be one of {get_args(Prediction)}: got {prediction!r}")
        check_class_label(class_label, network.config.num_class_embeds)
        self.network = network
        self.class_label = class_label
        self.schedule = schedule
        self.prediction = prediction
        self.name = name
        self.crops = crops
        self.calibration: Calibration | None = None
        self.errors: dict[int, float] = {}  # x̂₀'s RMSE by level, rising, on the [-1, 1] scale
        self._weights_sha256, self._hashed = weights_sha256 or _sha256(network), versions(network)
        size = network.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        self.image_shape: tuple[int, int, int] = (network.config.in_channels, height, width)

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return device_of(self.network)

    def __getstate__(self) -> dict[str, Any]:
        """For copies, whose parameters are others: whether the SHA-256 is theirs."""
        return self.__dict__ | {"_hashed": self._hashed == versions(self.network)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._hashed = versions(self.network) if state["_hashed"] else ()

    @property
    def weights_sha256(self) -> str:
        """As given; of what the network's weights are now, once they were changed (trained, loaded)."""
        now = versions(self.network)
        if now != self._hashed:
            self._weights_sha256, self._hashed = _sha256(self.network), now
        return self._weights_sha256

    def fingerprint(self) -> str:
        """Equal for priors that give the same answers."""
        return f"{self.weights_sha256} {self.prediction} {self.network.dtype} {self.class_label}"

    def rmse(self, k: int) -> float | None:
        """x̂₀'s RMSE at level k, [-1, 1] units, between measured levels as even in log k; None where none was."""
        if not self.errors:
            return None
        levels, errors = np.log(list(self.errors)), np.log(list(self.errors.values()))
        return float(np.exp(np.interp(np.log(k), levels, errors)))

    @torch.no_grad()
    def denoise(self, x_k: Tensor, k: int | Tensor) -> Tensor:
        """x̂₀ (B, C, H, W) float32, unclipped, from x_k at level k = 1 … K, or (B,) levels; one evaluation."""
        signal = per_image(k, self.schedule.alpha_bars.sqrt(), x_k)
        spread = per_image(k, (1 - self.schedule.alpha_bars).sqrt(), x_k)
        timestep = k.to(x_k.device) - 1 if isinstance(k, Tensor) else k - 1
        return self._estimate(x_k, timestep, signal, spread)

    def denoise_at(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x̂₀ (B, C, H, W), unclipped, from x = x₀ + σ ε with any noise, and with gradients; one evaluation.

        ᾱ = 1/(1 + σ²) is σ's own; the network is told the level between two whole ones at which log σ lies
        (timesteps are sinusoids to it), or the lowest or highest that it knows.

        Args:
            x: variance exploding, on the [-1, 1] scale.
            sigma: (B,), above 0, on the [-1, 1] scale.
        """
        root = (1 + sigma.double() ** 2).rsqrt()
        signal, spread = (part.to(x).reshape(-1, 1, 1, 1) for part in (root, sigma * root))
        timestep = (self.schedule.level(sigma) - 1).float().to(x.device)
        return self._estimate(signal * x, timestep, signal, spread)

    def _estimate(
        self, x_k: Tensor, timestep: int | Tensor, signal: float | Tensor, spread: float | Tensor
    ) -> Tensor:
        labels = None
        if self.class_label is not None:
            labels = torch.full((len(x_k),), self.class_label, device=x_k.device)
        sample: Tensor = self.network(x_k.to(self.network.dtype), timestep, class_labels=labels).sample
        output = sample[:, : self.image_shape[0]].float().contiguous()
        if self.prediction == "epsilon":
            return (x_k - spread * output) / signal
        if self.prediction == "v_prediction":
            return signal * x_k - spread * output
        return output

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        name: str,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        class_label: int | None = None,
    ) -> DiffusionPrior:
        """Load a DDPM pipeline folder in diffusers format.

        Configuration and weights lie in ``unet/`` and ``scheduler/``, or flat, as in the first ones on the hub.
        Weights are safetensors or, read with ``weights_only``, .bin: a stranger's folder cannot run code.

        Raises:
            PriorError: one line saying what in the folder is missing, damaged or not supported.
            ValueError: the class label does not suit the network.
        """
        refuse_latent_pipeline(folder)
        unet = folder / "unet" if (folder / "unet").is_dir() else folder
        settings = read_json(unet / "config.json")
        beside = folder / "scheduler" / "scheduler_config.json"
        flat = folder / "scheduler_config.json"
        scheduler = read_json(flat if flat.is_file() and not beside.is_file() else beside)
        kind = settings.get("_class_name", "UNet2DModel")
        if not isinstance(kind, str) or kind not in NETWORKS:
            raise PriorError(f"{folder}: its network is a {kind}; only UNet2DModel (pixel space) is supported")
        prediction = scheduler.get("prediction_type", "epsilon")
        if prediction not in get_args(Prediction):
            raise PriorError(f"{folder}: prediction_type {prediction!r} is not one of {get_args(Prediction)}")
        weights = next((unet / name for name in WEIGHTS if (unet / name).is_file()), None)
        if weights is None:
            raise PriorError(f"{unet / WEIGHTS[0]} is missing")
        _check_types(unet / "config.json", settings, NETWORKS[kind])
        _check_bounds(unet / "config.json", settings)
        network = move(_load_network(weights, NETWORKS[kind], dtype), device)
        channels, out_channels = network.config.in_channels, network.config.out_channels
        if out_channels not in (channels, 2 * channels):
            raise PriorError(
                f"{folder}: its network maps {channels} channels to {out_channels}; "
                "they must agree, or be twice as many with a learned variance"
            )
        _check_size(folder, network)
        if network.config.class_embed_type is not None:
            raise PriorError(
                f"{folder}: its class_embed_type is {network.config.class_embed_type!r}; only classes by number, "
                "or none, are supported"
            )
        told = json.dumps([settings, scheduler], sort_keys=True)
        digest = hashlib.sha256(f"{sha256(weights)} {told}".encode()).hexdigest()
        crops, errors = _facts(folder)
        prior = cls(network, _schedule(folder, scheduler), prediction, name, digest, class_label, crops)
        prior.errors = errors
        return prior


def _facts(folder: Path) -> tuple[bool | None, dict[int, float]]:
    """What a folder that ``restore-train`` wrote says of its training pictures, and of x̂₀'s RMSE by level.

    Returns:
        whether it was trained on crops, None where that is not told; RMSE on the [-1, 1] scale, levels rising.

    Raises:
        PriorError: a table of errors that is none.
    """
    path = folder / FACTS
    told = read_json(path) if path.is_file() else {}
    crops = told.get("crop")
    try:
        errors = {int(k): 2 * float(rmse) for k, (_, rmse) in told.get("by_level", {}).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise PriorError(f"{path}: by_level is no table of errors: {first_line(error)}") from None
    if not all(k >= 1 and 0 < rmse < math.inf for k, rmse in errors.items()):
        raise PriorError(f"{path}: by_level must have levels of at least 1 and errors above 0: it has {errors}")
    return crops if isinstance(crops, bool) else None, dict(sorted(errors.items()))


def check_class_label(class_label: int | None, classes: int | None) -> None:
    """Whether the label is one of the network's classes, or absent where it has none.

    Raises:
        ValueError: it is not.
    """
    if classes is None:
        if class_label is not None:
            raise ValueError(f"class_label must be None for an unconditional network: got {class_label!r}")
    elif not isinstance(class_label, int) or isinstance(class_label, bool) or not 0 <= class_label < classes:
        raise ValueError(
            f"class_label must be from 0 to {classes - 1} for this class-conditional network: got {class_label!r}"
        )


def refuse_latent_pipeline(folder: Path) -> None:
    """PriorError where a folder's ``model_index.json`` names what turns latents into pictures."""
    index = folder / "model_index.json"
    if not index.is_file():
        return
    parts = read_json(index)
    latent = [part for part in ("vae", "vqvae", "movq") if part in parts]
    if latent:
        kind = parts.get("_class_name", "pipeline")
        raise PriorError(
            f"{folder}: a {kind} works on latents (it has a {latent[0]}); only pixel space is supported"
        )


def _load_network(weights: Path, kind: type[UNet2DModel], dtype: torch.dtype) -> UNet2DModel:
    folder = weights.parent
    _check_floats(weights)
    told = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)  # what it would say before it raises, we say in one line
    try:
        network, report = kind.from_pretrained(
            folder,
            use_safetensors=weights.suffix == ".safetensors",
            local_files_only=True,
            low_cpu_mem_usage=True,
            torch_dtype=dtype,
            output_loading_info=True,
        )
    except Exception as error:  # diffusers, safetensors and torch each raise their own kinds
        raise PriorError(f"{folder}: its network cannot be loaded: {first_line(error)}") from None
    finally:
        logging.set_verbosity(told)
    wrong = [key for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in report[kind]]
    if wrong:
        raise PriorError(f"{folder}: {len(wrong)} weights do not fit its configuration, first {wrong[0]}")
    torch.nn.Module.to(network, dtype)  # a tensor that is stored in another precision than the rest
    if not all(bool(parameter.isfinite().all()) for parameter in network.parameters()):
        raise PriorError(f"{folder}: its weights hold NaN or infinity")
    return network.eval().requires_grad_(False)


def _check_floats(weights: Path) -> None:
    """PriorError where a tensor of a safetensors file is no real floating point number, by its header alone."""
    if weights.suffix != ".safetensors":
        return  # what pickles hold is seen once it is loaded
    try:
        with safe_open(str(weights), framework="pt") as file:
            kinds = {name: str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # whatever safetensors dislikes
        raise PriorError(f"{weights}: its network cannot be loaded: {first_line(error)}") from None
    odd = next((name for name, kind in kinds.items() if kind not in FLOATS), None)
    if odd is not None:
        raise PriorError(f"{weights}: {odd} is {kinds[odd]}; weights must be {', '.join(FLOATS)}")


def _check_types(path: Path, settings: dict[str, Any], kind: type[UNet2DModel]) -> None:
    """PriorError where a setting is of another type than its default: it may fail as late as it is used."""
    wanted = inspect.signature(kind.__init__).parameters
    for key, value in settings.items():
        default = wanted[key].default if key in wanted else None
        if isinstance(default, bool):
            right = isinstance(value, bool)
        elif isinstance(default, (int, float)):
            # a network of our own may have several numbers by name: heads of guided-diffusion's two halves
            named = isinstance(value, dict) and kind is not UNet2DModel
            given = list(value.values()) if named else [value]
            right = value is None or all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in given)
        elif isinstance(default, str):
            right = value is None or isinstance(value, str)
        elif isinstance(default, (tuple, list)):
            right = value is None or isinstance(value, (int, list))
        else:
            right = True
        if not right:
            raise PriorError(f"{path}: {key} must be like {default!r}: it is {value!r:.60}")


def _check_bounds(path: Path, settings: dict[str, Any]) -> None:
    """PriorError where a configuration asks for a network beyond any of the field, which would take for ever."""

    def numbers(value: Any, depth: int = 0) -> Iterator[float]:
        if isinstance(value, (int, float)):
            yield abs(value)
        elif isinstance(value, list) and depth < 3:
            if len(value) > MOST_BLOCKS:
                raise PriorError(f"{path} has a list of {len(value)}: networks have at most {MOST_BLOCKS} blocks")
            for item in value:
                yield from numbers(item, depth + 1)

    for key, value in settings.items():
        most = MOST_LAYERS if key == "layers_per_block" else MOST_SETTING
        largest = max(numbers(value), default=0)
        if not largest <= most:
            raise PriorError(f"{path}: {key} must be at most {most:,}: it is {value!r}"[:300])


def _schedule(folder: Path, settings: dict[str, Any]) -> NoiseSchedule:
    steps = settings.get("num_train_timesteps", 1000)
    if type(steps) is not int or not 1 <= steps <= MOST_STEPS:
        raise PriorError(f"{folder}: num_train_timesteps must be from 1 to {MOST_STEPS}: it is {steps!r}")
    try:
        given = settings.get("trained_betas") or settings.get("rescale_betas_zero_snr")
        if settings.get("beta_schedule", "linear") == "linear" and not given:
            return NoiseSchedule.linear(
                settings["num_train_timesteps"], settings["beta_start"], settings["beta_end"]
            )
        from diffusers import DDPMScheduler  # for the rarer schedules only

        return NoiseSchedule.from_alpha_bar(DDPMScheduler.from_config(settings).alphas_cumprod)
    except Exception as error:  # whatever diffusers raises for a configuration it does not know
        raise PriorError(f"{folder}: its noise schedule is not supported: {first_line(error)}") from None


def _check_size(folder: Path, network: UNet2DModel) -> None:
    size, levels = network.config.sample_size, len(network.config.block_out_channels)
    sides = (size, size) if isinstance(size, int) else size
    multiple = 2 ** (levels - 1)
    whole = isinstance(sides, (list, tuple)) and len(sides) == 2 and all(type(side) is int for side in sides)
    if not whole or any(side < 1 or side % multiple for side in sides):
        raise PriorError(f"{folder}: its sample_size must be a multiple of {multiple}, or two: it is {size!r}")
    for module in network.modules():
        if isinstance(module, Attention) and (module.heads < 1 or module.inner_dim % module.heads):
            raise PriorError(f"{folder}: {module.heads} heads do not divide an attention of {module.inner_dim}")


def versions(network: torch.nn.Module) -> tuple[tuple[int, int], ...]:
    """What changes when a network's parameters are written to or replaced, and not when they are moved."""
    return tuple((id(p), 0 if p.is_inference() else p._version) for p in network.parameters())


def _sha256(network: UNet2DModel) -> str:
    digest = hashlib.sha256(json.dumps(dict(network.config), sort_keys=True, default=str).encode())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
