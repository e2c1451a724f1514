"""What goes over the wire: options with the command's names, and what is told of a restoration."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from restoration.commands.settings import (
    EffortSettings,
    SamplerSettings,
    TaskSettings,
    TileSettings,
    effort_of,
)
from restoration.service.problems import ProblemError
from restoration.tasks import HELP, MASKED, NOISY, STROKED, takers

_KERNEL = re.compile(r"(gaussian|motion|disk|uniform):[-+0-9.,eE]{1,60}|box|bicubic|lanczos")
LONGEST = 200  # characters of a text among options
MOST_VALUES = 10_000
"""In a JSON text that clients send."""


def _joined(value: Any) -> Any:
    """An allocation as a list of numbers, written as the command takes it."""
    return ",".join(map(str, value)) if isinstance(value, list) else value


def _written(value: Any) -> Any:
    """A whole number, written as the command takes it."""
    return str(value) if type(value) is int and abs(value) < 10**LONGEST else value


Text = Annotated[str, Field(max_length=LONGEST)]


class Options(BaseModel):
    """How a picture is to be restored. Names and defaults are those of the command `restore`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    task: Text = Field(description=f"{HELP}.", examples=["sr4"])
    prior: Text | None = Field(None, description="One of GET /v1/priors; the first of them where none is named.")
    sigma: float | Literal["auto"] | None = Field(
        None, description=f"Noise std in [0, 1] of what was measured, or auto; needed for {NOISY}."
    )
    kernel: Text | None = Field(
        None,
        description="deblur: gaussian:SIGMA, motion:LENGTH,ANGLE, disk:RADIUS, uniform:SIDE; sr4: box, bicubic, "
        "lanczos or gaussian:SIGMA.",
    )
    quality: int | None = Field(None, description=f"{takers('quality')}, with simulate: 1 to 100.")
    pattern: Text | None = Field(None, description=f"{takers('pattern')}: RGGB, BGGR, GRBG or GBRG.")
    simulate: bool = Field(
        False, description="The picture is clean: degrade it first, restore, tell PSNR and SSIM."
    )
    fit: bool = Field(False, description="Crop (with simulate also shrink) to the prior's size: no tiles.")
    overlap: int | None = Field(None, description="Of the tiles of a large picture, in pixels.")
    invert_mask: bool = Field(False, description=f"Of {MASKED}: black marks what to fill.")
    grow: int = Field(0, description="Pixels by which what the mask marks is enlarged on all sides.")
    resize_mask: bool = Field(False, description="Resample a mask of another size to the picture's.")
    strokes_sigma: float | None = Field(
        None, description=f"Of {STROKED}: how far off strokes may be, std in [0, 1]; 0: exact. Default 0.03."
    )
    strokes_spread: float | None = Field(
        None, description=f"Of {STROKED}: pixels over which a stroke tells of others as light. Default 8."
    )
    outer: int | None = Field(None, description="Outer steps: as many previews. Default 3.")
    inner: int | None = Field(None, description="Inner steps of each outer step. Default 10.")
    allocation: Annotated[str | None, Field(max_length=4000), BeforeValidator(_joined)] = Field(
        None, description="Inner steps of every outer step, instead.", examples=["16,8,6"]
    )
    effort: Annotated[Text | None, BeforeValidator(_written)] = Field(
        None,
        description="In place of these: 20 evaluations, split evenly; adaptive or adaptive:TOLERANCE, which "
        "decides as it goes, at most 30, without samples, candidates and vanilla.",
        examples=["20", "adaptive", "adaptive:0.01"],
    )
    vanilla: bool = Field(False, description="One plain run of as many steps, for comparison.")
    sampler: Text | None = Field(None, description="fire, or the paper's ddrm. Default fire.")
    aim: Text | None = Field(None, description="Of fire: faithful, nearest to the truth; natural, with texture.")
    grid: Text | None = Field(None, description="Levels of a run: linspace, log or power.")
    eta: float | None = Field(None, description="DDRM's η, 0 to 1.")
    eta_b: float | None = Field(None, description="DDRM's η_b, 0 to 1.")
    deadline: float | None = Field(
        None,
        description="Seconds from now until there must be a picture. Without outer, inner, allocation or effort, "
        "that is planned: as much as there is time for.",
    )
    max_nfe: int | None = Field(None, description="Network evaluations that may be made; the best so far is kept.")
    seed: int | None = Field(None, description="Repeats a run; drawn and told if not given.")
    samples: int = Field(
        1, description="Draw so many restorations: the picture is their mean, beside it each one and std."
    )
    candidates: int | None = Field(
        None,
        description="Show so many at every preview and wait for a choice among them: POST …/choose. Without "
        "samples, deadline and max_nfe.",
    )
    strip: bool = Field(False, description="Keep no EXIF, XMP and texts (but profile and resolution).")

    @property
    def planned(self) -> bool:
        """Whether effort is left to the engine."""
        told = (self.outer, self.inner, self.allocation, self.effort)
        return self.deadline is not None and not self.vanilla and all(one is None for one in told)

    @property
    def count(self) -> int:
        """Pictures that are restored at once: samples, or candidates."""
        return self.samples if self.candidates is None else self.candidates

    def task_settings(self) -> TaskSettings:
        """What was done to the picture, without its mask.

        Raises:
            ValueError: a kernel that is none, or would be a file.
        """
        if self.kernel is not None and not _KERNEL.fullmatch(self.kernel):
            raise ValueError(
                "kernel must be gaussian:SIGMA, motion:LENGTH,ANGLE, disk:RADIUS, uniform:SIDE, or to enlarge "
                f"box, bicubic, lanczos, gaussian:SIGMA: got {self.kernel!r}"
            )
        auto = self.sigma == "auto"
        return TaskSettings(
            self.task,
            sigma=None if self.sigma is None or isinstance(self.sigma, str) else self.sigma,
            sigma_auto=auto,
            simulate=self.simulate,
            fit=self.fit,
            kernel=self.kernel,
            quality=self.quality,
            pattern=self.pattern,
            invert_mask=self.invert_mask,
            grow_mask=self.grow,
            resize_mask=self.resize_mask,
            strokes_sigma=self.strokes_sigma,
            strokes_spread=self.strokes_spread,
        )

    def sampler_settings(self) -> SamplerSettings:
        """Which inner sampler."""
        return SamplerSettings(self.sampler, aim=self.aim, grid=self.grid, eta=self.eta, eta_b=self.eta_b)

    def tile_settings(self) -> TileSettings:
        """How a large picture is cut."""
        return TileSettings(overlap=self.overlap)

    def effort_settings(self) -> EffortSettings:
        """How much is done, where that is not left to the engine.

        Raises:
            ValueError: an effort that is none; outer, inner, allocation and effort that do not fit together.
        """
        steps, tolerance = effort_of(self.effort, self.outer, self.inner, self.allocation)
        return EffortSettings(
            steps,
            tolerance=tolerance,
            vanilla=self.vanilla,
            samples=self.samples,
            seed=self.seed,
            deadline=self.deadline,
            max_nfe=self.max_nfe,
        )


SPELLED = {name.replace("_", "-"): name for name in Options.model_fields}
"""Options as the command spells them, with hyphens, which are taken too."""


def options_from(layers: Iterable[Mapping[str, Any]]) -> Options:
    """Options of several sources, such as query and form; no two may name the same.

    Raises:
        ProblemError: 422 with one sentence.
    """
    told: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            key = SPELLED.get(name, name)
            if key in told:
                raise ProblemError(422, f"{name} is given twice")
            told[key] = value
    if "task" not in told:
        raise ProblemError(422, "missing task (GET /v1/tasks lists them)")
    try:
        return Options.model_validate(told)
    except ValidationError as error:
        raise ProblemError(422, sentence(error)) from None


def sentence(error: ValidationError) -> str:
    """The first thing that is wrong, in one sentence as the command would say it."""
    return sentence_of(dict(error.errors(include_url=False, include_context=False)[0]))


def sentence_of(wrong: Mapping[str, Any]) -> str:
    """One of pydantic's errors in a sentence."""
    name = ".".join(str(part) for part in wrong["loc"][:1]) or "the request"
    if wrong["type"] == "extra_forbidden":
        return f"there is no option {name[:60]!r}"
    got = reprlib.repr(wrong["input"])[:80]
    if name == "sigma":
        return f"sigma must be a number or auto: got {got}"
    said = re.sub(r"^(Input|String|Value) should", "must", wrong["msg"])
    if not said.startswith("must"):
        said = said[:1].lower() + said[1:]
    return f"{name} {said.partition(', unable')[0]}: got {got}"


def json_object(text: str | bytes, name: str) -> dict[str, Any]:
    """A JSON object; ProblemError 400 where the text is none, or has more values than can be meant.

    Millions of small ones would hold up everybody else for seconds.
    """
    body = text.encode(errors="replace") if isinstance(text, str) else text
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MOST_VALUES:
        raise ProblemError(400, f"{name} may have at most {MOST_VALUES:,} values")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ProblemError(400, f"{name} is not JSON") from None
    if not isinstance(found, dict):
        raise ProblemError(400, f"{name} must be a JSON object: got {_kind(found)}")
    return found


def _kind(value: object) -> str:
    return {"list": "an array", "str": "a string", "bool": "true or false", "NoneType": "null"}.get(
        type(value).__name__, "a number"
    )


class Submission(Options):
    """A restoration asked for in JSON: options, and the pictures in base64."""

    image: str = Field(description="The picture file, base64.")
    mask: str | None = Field(None, description=f"Of {MASKED}: a picture whose white marks what to fill, base64.")
    strokes: str | None = Field(
        None, description=f"Of {STROKED}: a PNG whose opaque pixels say what colour is there, base64."
    )


class Choice(BaseModel):
    """Which candidates are kept."""

    model_config = ConfigDict(extra="forbid")

    keep: list[Annotated[int, Field(ge=1, le=64)]] = Field(
        min_length=1,
        max_length=64,
        description="Their numbers, from 1; of the last preview's only one.",
        examples=[[2]],
    )
    nfe: int | None = Field(
        None, ge=1, description="Of the preview that is meant: where it stands at another, nothing is chosen."
    )


class Edit(BaseModel):
    """A changed preview, sent in JSON."""

    model_config = ConfigDict(extra="forbid")

    image: str = Field(description="The changed preview: a picture file, base64.")
    candidate: int = Field(1, ge=1, le=64, description="Which candidate it was made of, from 1.")
    trust_edit: bool = Field(False, description="Keep what contradicts the measurement in it, too.")


class More(BaseModel):
    """How much more is to be done for a picture."""

    model_config = ConfigDict(extra="forbid")

    nfe: int | None = Field(
        None, ge=1, le=1000, description="Further network evaluations. Default: what the run had."
    )


class State(StrEnum):
    """Where a restoration stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"


class Shown(BaseModel):
    """A picture that there is of a restoration."""

    name: str = Field(
        description="`result`, a preview such as `010`, a candidate such as `010-2`, `degraded`, `input`, "
        "`sample-1` or `std`."
    )
    href: str
    nfe: int | None = None
    elapsed_s: float | None = None
    expected_change: float | None = None
    scores: dict[str, float] = Field(default_factory=dict)


class Restoration(BaseModel):
    """What is told of a restoration."""

    id: str
    state: State
    options: Options
    created: float = Field(description="Seconds since 1970.")
    ended: float | None = None
    kept_until: float | None = Field(None, description="Seconds since 1970; None while it is not done.")
    nfe: int = Field(0, description="Network evaluations made.")
    total_nfe: int = Field(0, description="Of the whole run, as it is planned now.")
    elapsed_s: float | None = Field(None, description="Seconds that they took, since the run began or went on.")
    plan: list[int] = Field(default_factory=list, description="Inner steps of every outer step, as planned now.")
    complete: bool = Field(False, description="The best picture so far is a sample, not a blurred mean.")
    expected_change: float | None = Field(
        None, description="RMSE in [0, 1] by which the run's end is expected to differ from the best so far."
    )
    stopped_by: str | None = Field(None, description="finished, deadline, max_nfe or interrupt.")
    seeds: list[int] = Field(default_factory=list)
    scores: dict[str, float] = Field(default_factory=dict, description="psnr and ssim, with simulate.")
    notes: list[str] = Field(default_factory=list, description="What was done to the picture on the way.")
    error: str | None = None
    width: int = 0
    height: int = 0
    candidates: list[str] = Field(
        default_factory=list, description="While it waits for a choice: names of their pictures, in order."
    )
    chosen: list[list[int]] = Field(default_factory=list, description="What was chosen, preview by preview.")
    pictures: list[Shown] = Field(default_factory=list)
    links: dict[str, str] = Field(
        default_factory=dict, description="self, events, image, stop, more, choose, edit."
    )


class TaskFacts(BaseModel):
    """What can be restored."""

    name: str
    help: str
    takes_mask: bool
    takes_strokes: bool
    needs_sigma: bool
    takes_sigma: bool
    options: list[str] = Field(description="That only some tasks take.")
    needs: dict[str, str] = Field(description="Of them, those that must be given, and how they are written.")
    simulated_only: bool


class PriorFacts(BaseModel):
    """What clean pictures are known of."""

    name: str
    default: bool
    loaded: bool
    channels: int | None = None
    height: int | None = None
    width: int | None = None


class Health(BaseModel):
    """How the server is."""

    status: str
    version: str
