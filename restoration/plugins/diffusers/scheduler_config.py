"""What a nested scheduler can be made from, told in one line where it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers

from restoration.plugins.diffusers.inner import LEARNED
from restoration.plugins.diffusers.plan import SPACINGS

INNER = ("ddim", "ddpm", "dpmsolver++2s")
PREDICTIONS = ("epsilon", "sample", "v_prediction")
VARIANCES = (None, "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", *LEARNED)
LEVELS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type")
"""Settings of another scheduler that say what its network was trained on, its defaults too."""
RELATIVES = ("NestedScheduler", "DDIMParallelScheduler", "DDPMParallelScheduler", "DDIMInverseScheduler")


def refuse_foreign(config: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """ValueError for the config of a scheduler whose network was not trained on DDPM's noise.

    A scheduler that was not loaded has no class name in its config: then its settings tell.
    """
    name = str(config.get("_class_name") or "")
    merged = {**config, **settings}
    known = name in RELATIVES or name in KarrasDiffusionSchedulers.__members__
    has_betas = not config or "beta_start" in merged or merged.get("trained_betas") is not None
    flow = "Flow" in name or (not has_betas and "shift" in config)
    if flow or merged.get("use_flow_sigmas") or merged.get("prediction_type") == "flow_prediction":
        reason = "flow matching moves on straight paths, which have no DDIM step and no ᾱ"
    elif merged.get("timestep_type") == "continuous":
        reason = "its network was trained on EDM's continuous noise, and its timesteps are log σ/4"
    elif merged.get("snr_shift_scale", 1) != 1:
        reason = "its noise levels are shifted (snr_shift_scale), and no β tells by how much"
    elif "LCM" in name or "TCD" in name or "original_inference_steps" in config or "Consistency" in name:
        reason = "a consistency-distilled network answers in a few steps of its own and has no inner run to nest"
    elif not has_betas or (name and not known):
        reason = "only schedulers of networks trained on DDPM's noise (βs, ᾱ) can be nested"
    else:
        return
    raise ValueError(f"the config of {name or 'this scheduler'} cannot be nested: {reason}")


def taken_over(config: Mapping[str, Any]) -> dict[str, Any]:
    """Another scheduler's config, without its ``clip_sample``, and with noise levels that are its defaults.

    Diffusers leaves out what was not given by hand, but the defaults of a scheduler may not be ours.
    """
    unsaid = [key for key in config.get("_use_default_values", ()) if key not in LEVELS]
    return {key: value for key, value in config.items() if key != "clip_sample"} | {"_use_default_values": unsaid}


def refuse_steps(
    config: Any, steps: int | None, timesteps: object = None, sigmas: object = None, mu: object = None
) -> None:
    """ValueError for what a nested run cannot be planned from."""
    if sigmas is not None or mu is not None:
        raise ValueError(
            "NestedScheduler takes no sigmas and no mu: they are for flow matching, whose straight paths have no "
            "DDIM step, or for another grid; leave them out, or keep the pipeline's own scheduler"
        )
    if timesteps is not None:
        raise ValueError(
            "NestedScheduler takes no timesteps: it plans them; use inner_steps, allocation or timestep_spacing"
        )
    if not isinstance(steps, Integral) or steps < 1:
        raise ValueError(f"num_inference_steps must be a whole number of outer steps, at least 1: got {steps}")
    if config.allocation and len(config.allocation) != steps:
        raise ValueError(
            f"num_inference_steps must be {len(config.allocation)}, the outer steps of allocation "
            f"{list(config.allocation)}: got {steps}"
        )


def check(config: Any) -> None:
    """ValueError naming the setting, what it was and what it must be."""
    _one_of("inner", config.inner, INNER)
    _one_of("prediction_type", config.prediction_type, PREDICTIONS)
    _one_of("variance_type", config.variance_type, VARIANCES)
    _one_of("timestep_spacing", config.timestep_spacing, SPACINGS)
    for name in ("inner_eta", "outer_eta"):
        value = config[name]
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name} must be from 0 to 1: got {value}")
    if not 0 < config.dynamic_thresholding_ratio <= 1 or not config.sample_max_value >= 1:
        raise ValueError(
            "dynamic_thresholding_ratio must be above 0 and at most 1, sample_max_value at least 1: got "
            f"{config.dynamic_thresholding_ratio} and {config.sample_max_value}"
        )
    if config.seed is not None and (not isinstance(config.seed, int) or not 0 <= config.seed < 2**63):
        raise ValueError(f"seed must be None or a whole number from 0 to 2⁶³ − 1: got {config.seed}")
    steps = list(config.allocation) if config.allocation is not None else [config.inner_steps]
    if not steps or any(not isinstance(n, int) or n < 1 for n in steps):
        name = "inner_steps" if config.allocation is None else "allocation"
        raise ValueError(f"{name} must be whole numbers of at least 1: got {config[name]}")
    if max(steps) > config.num_train_timesteps:
        raise ValueError(
            f"a run has at most {config.num_train_timesteps} steps, one a noise level: got {max(steps)}"
        )
    if config.inner == "dpmsolver++2s":
        _check_dpmsolver(config, steps)
    if config.rescale_betas_zero_snr and config.prediction_type == "epsilon":
        raise ValueError("rescale_betas_zero_snr needs prediction_type 'v_prediction' or 'sample': got 'epsilon'")


def _check_dpmsolver(config: Any, steps: list[int]) -> None:
    odd = [n for n in steps if n % 2]
    if odd and not (config.lower_order_final or config.set_alpha_to_one):
        raise ValueError(
            f"dpmsolver++2s takes its steps in pairs where set_alpha_to_one is False: got {odd[0]}; use an even "
            "number or lower_order_final=True"
        )
    for name in ("clip_sample", "rescale_betas_zero_snr"):
        if config[name]:
            raise ValueError(f"dpmsolver++2s does not offer {name}: got {config[name]}")


def _one_of(name: str, value: object, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}: got {value!r}")
