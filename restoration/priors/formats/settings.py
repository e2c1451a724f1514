"""What the tensors cannot tell of a checkpoint, and the checks of what is said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from restoration.errors import PriorError
from restoration.priors.diffusion import MOST_STEPS, Prediction
from restoration.priors.formats.layout import Format, HeadDim, Layout
from solvers import NoiseSchedule

Setting = str | int | float | bool
COMMON = ("image_size", "noise_schedule", "diffusion_steps", "beta_start", "beta_end", "predict_xstart")
GUIDED_ONLY = (
    "num_heads",
    "num_head_channels",
    "num_heads_upsample",
    "use_new_attention_order",
    "rescale_timesteps",
)
TOLD = (
    "num_channels",
    "channel_mult",
    "num_res_blocks",
    "attention_resolutions",
    "learn_sigma",
    "class_cond",
    "resblock_updown",
    "conv_resample",
    "use_scale_shift_norm",
)
WITHOUT_EFFECT = (
    "dropout",
    "use_fp16",
    "use_checkpoint",
    "timestep_respacing",
    "use_kl",
    "rescale_learned_sigmas",
)


@dataclass(frozen=True)
class Answers:
    """What the settings add to a layout."""

    image_size: int
    head_dim: HeadDim
    heads_first: bool
    schedule: NoiseSchedule
    prediction: Prediction


class CheckpointSettings:
    """Typed access to what was given, as JSON gave it or as text."""

    def __init__(self, given: Mapping[str, Setting], form: Format) -> None:
        known = (*COMMON, *(() if form.one_head else GUIDED_ONLY), *TOLD, *WITHOUT_EFFECT)
        for key in given:
            if key not in known:
                raise PriorError(f"{key!r} is no setting of {form.title}; it has {', '.join(known)}")
        self._given = {key: value for key, value in given.items() if value not in ("", None)}

    def whole(self, key: str) -> int | None:
        """A whole number of at least 1; absent and -1 (guided-diffusion's "not used") are None."""
        value = self._given.get(key)
        try:
            number = None if value is None else int(str(value))
        except ValueError:
            number = 0
        if number is None or (number == -1 and key.startswith("num_head")):
            return None
        if number < 1:
            raise PriorError(f"{key} must be a whole number of at least 1: got {value!r}")
        return number

    def number(self, key: str, default: float) -> float:
        """A number."""
        try:
            return float(self._given.get(key, default))
        except (ValueError, TypeError, OverflowError):
            raise PriorError(f"{key} must be a number: got {self._given[key]!r}") from None

    def flag(self, key: str) -> bool | None:
        """True or false."""
        value = self._given.get(key)
        if value is None:
            return None
        text = str(value).lower()
        if text not in ("true", "false"):
            raise PriorError(f"{key} must be true or false: got {value!r}")
        return text == "true"

    def numbers(self, key: str) -> list[float] | None:
        """Numbers parted by commas."""
        value = self._given.get(key)
        try:
            numbers = None if value is None else [float(part) for part in str(value).strip("[]()").split(",")]
        except ValueError:
            numbers = [math.nan]
        if numbers is not None and not all(map(math.isfinite, numbers)):
            raise PriorError(f"{key} must be numbers parted by commas: got {value!r}")
        return numbers

    def text(self, key: str) -> str | None:
        """A word."""
        value = self._given.get(key)
        return None if value is None else str(value)


def answer(layout: Layout, form: Format, given: Mapping[str, Setting]) -> Answers:
    """Settings checked against the layout, and complete.

    Raises:
        PriorError: one line: a key that is not known, a value that cannot be or that the tensors contradict, or
            everything that is still open, with the values it may have.
    """
    settings = CheckpointSettings(given, form)
    levels = len(layout.widths)
    step = 2 ** (levels - 1)
    size = settings.whole("image_size")
    if size is not None and size % step:
        raise PriorError(f"image_size must be a multiple of {step} for its {levels} levels: got {size}")
    _check_told(layout, settings, size)
    head_dim = _head_dim(layout, settings)
    order = settings.flag("use_new_attention_order")
    schedule = settings.text("noise_schedule") or ("linear" if form.one_head else None)
    still_open = []
    if size is None:
        still_open.append(f"image_size (a multiple of {step})")
    if not form.one_head and head_dim == 0:
        divisor = math.gcd(*layout.attended)
        still_open.append(f"num_heads or num_head_channels (a divisor of {divisor})")
    if not form.one_head and head_dim is not None and order is None:
        still_open.append("use_new_attention_order (true or false)")
    if schedule is None:
        still_open.append("noise_schedule (linear or cosine)")
    if size is None or schedule is None or still_open:
        raise PriorError(
            f"its tensors do not tell {', '.join(still_open)}: give each by --prior-config key=value or a sidecar"
        )
    return Answers(
        image_size=size,
        head_dim=head_dim or None,
        heads_first=not order,
        schedule=_schedule(schedule, settings),
        prediction="sample" if settings.flag("predict_xstart") else "epsilon",
    )


def _head_dim(layout: Layout, settings: CheckpointSettings) -> HeadDim:
    """``attention_head_dim``: None is one head everywhere, 0 is not known yet."""
    channels, heads = settings.whole("num_head_channels"), settings.whole("num_heads")
    heads_up = settings.whole("num_heads_upsample") or heads
    up = sorted({w for w, attends in zip(layout.widths, layout.attention, strict=True) if attends})
    if channels is not None:  # as there, it goes before a number of heads
        _check_divides("num_head_channels", channels, layout.attended)
        return None if layout.attended == [channels] else channels
    if heads is None or heads_up is None:
        return 0
    _check_divides("num_heads", heads, layout.attended)
    _check_divides("num_heads_upsample", heads_up, up)
    dims = {width // heads for width in layout.attended} | {width // heads_up for width in up}
    if heads == 1 and (heads_up == 1 or not up):
        return None
    return dims.pop() if len(dims) == 1 else {"heads": heads, "heads_upsample": heads_up}


def _check_divides(key: str, value: int, widths: list[int]) -> None:
    for width in widths:
        if width % value:
            raise PriorError(f"{key} must divide the width of every attention: got {value} for {width}")


def _check_told(layout: Layout, settings: CheckpointSettings, size: int | None) -> None:
    told: dict[str, tuple[object, object]] = {
        "num_channels": (settings.whole("num_channels"), layout.time_channels),
        "num_res_blocks": (settings.whole("num_res_blocks"), layout.blocks),
        "channel_mult": (settings.numbers("channel_mult"), [w / layout.time_channels for w in layout.widths]),
        "learn_sigma": (settings.flag("learn_sigma"), layout.out_channels == 2 * layout.in_channels),
        "class_cond": (settings.flag("class_cond"), layout.classes is not None),
        "use_scale_shift_norm": (settings.flag("use_scale_shift_norm"), layout.scale_shift),
    }
    if len(layout.widths) > 1:
        told["resblock_updown"] = (settings.flag("resblock_updown"), layout.resampling == "resnet")
        if layout.resampling != "resnet":
            told["conv_resample"] = (settings.flag("conv_resample"), layout.resampling == "conv")
    resolutions = settings.numbers("attention_resolutions")
    if resolutions is not None and size is not None:
        levels = range(len(layout.widths))
        given = [level for level in levels if any(r >= 1 and size // int(r) == 2**level for r in resolutions)]
        attending = [level for level in levels if layout.attention[level]]
        told["attention_resolutions"] = (
            [size // 2**level for level in given],
            [size // 2**level for level in attending],
        )
    for key, (said, is_told) in told.items():
        if said is not None and said != is_told:
            raise PriorError(f"{key} is given as {_shown(said)}, but its tensors say {_shown(is_told)}")


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ",".join(f"{number:g}" for number in value) or "none"
    return str(value).lower()


def _schedule(kind: str, settings: CheckpointSettings) -> NoiseSchedule:
    steps = settings.whole("diffusion_steps") or 1000
    if steps > MOST_STEPS:
        raise PriorError(f"diffusion_steps must be at most {MOST_STEPS}: got {steps}")
    if settings.flag("rescale_timesteps") and steps != 1000:
        raise PriorError(f"rescale_timesteps with diffusion_steps {steps} is not supported; only with 1000")
    try:
        if kind == "cosine":
            return NoiseSchedule.cosine(steps)
        if kind == "linear":
            scale = 1000 / steps
            first, last = settings.number("beta_start", 1e-4 * scale), settings.number("beta_end", 0.02 * scale)
            return NoiseSchedule.linear(steps, first, last)
    except ValueError as error:
        raise PriorError(f"its noise schedule cannot be: {error}") from None
    raise PriorError(f"noise_schedule must be linear or cosine: got {kind!r}")
