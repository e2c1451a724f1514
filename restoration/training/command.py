"""The work behind ``restore-train``: pictures read, a network trained, a prior written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import UNet2DModel

from nested.reading import read_json
from restoration.commands.interrupt import INTERRUPTED, Interrupt
from restoration.errors import ImageError, OutputError, PriorError, first_line
from restoration.pictures.sources import find
from restoration.priors import DiffusionPrior, load_prior
from restoration.priors.diffusion import FACTS
from restoration.priors.library.loading import resolve_device
from restoration.training import presets
from restoration.training.card import Facts, hardware
from restoration.training.checkpoint import RUN, Checkpoints, alone
from restoration.training.display import Display
from restoration.training.objective import Objective
from restoration.training.pictures import Form, Pictures
from restoration.training.publish import draw_samples, publish
from restoration.training.recipe import Recipe
from restoration.training.trainer import Trainer
from restoration.version import own_version
from solvers import NoiseSchedule

PRECISIONS = ("auto", "bf16", "fp16", "fp32")
FEW = 100
"""Fewer pictures than this are learnt by heart sooner than as a kind."""
MEASURED = 64
"""Examples on which the loss by noise level is measured."""


@dataclass(frozen=True)
class TrainingOptions:
    """What was asked for on the command line."""

    data: tuple[Path, ...]
    output: Path
    form: Form
    recipe: Recipe
    preset: str
    init: str | None
    gamma: float | None
    low: float
    precision: str
    compile: bool | None
    licence: str
    device: str
    command: str


class TrainingRun:
    """One run of the command, from pictures to a prior."""

    def __init__(
        self, options: TrainingOptions, display: Display, interrupt: Interrupt, accelerator: Accelerator
    ) -> None:
        self.options, self.display, self.accelerator = options, display, accelerator
        place = _place(options.output)
        self.schedule = NoiseSchedule.linear()
        self.objective = Objective(self.schedule, options.gamma, accelerator.device, options.low)
        self.network, self.initial = _network(options)
        self.pictures = _read(options, display, interrupt)
        self.held_out = self.pictures.held_out()
        checkpoints = Checkpoints(place, accelerator, self._fixed())
        self.trainer = Trainer(
            accelerator,
            self.network,
            self.objective,
            options.recipe,
            checkpoints,
            stop=lambda: interrupt.asked,
            watch=lambda: display.advance(self.trainer),
            kept=self._keep,
        )

    def train(self) -> bool:
        """Whether it is finished; else it was interrupted, and the same command goes on."""
        progress, recipe = self.trainer.progress, self.options.recipe
        if recipe.share(progress) < 1:
            self._compile()
            if progress.step:
                self.display.say(f"going on from step {progress.step} ({progress.seconds / 60:.1f} minutes)")
            self.display.begin(self.trainer)
            trained = set(range(len(self.pictures))) - set(self.held_out)
            if not self.trainer.run(self.pictures, sorted(trained)):
                return False
        elif _told_finished(self.options.output, progress.step):
            self.display.say(f"{self.options.output} is trained already; more --minutes or --steps would go on")
            return True
        if self.accelerator.is_main_process:
            self._finish()
        self.accelerator.wait_for_everyone()
        return True

    def _compile(self) -> None:
        """If asked, or on a GPU; where it cannot be and was not asked for, training goes on without."""
        asked, form = self.options.compile, self.options.form
        if not (self.accelerator.device.type == "cuda" if asked is None else asked):
            return
        self.network.compile()
        try:
            self.trainer.warm_up(form.size, form.channels)
        except Exception as error:  # no compiler, or one that fails: torch has many ways to say it
            if asked:
                raise PriorError(f"the network cannot be compiled here ({first_line(error)})") from None
            self.network._compiled_call_impl = None
            self.display.say(f"not compiled ({first_line(error)})")

    def _fixed(self) -> dict[str, object]:
        form = self.options.form
        return {
            "--size": form.size,
            "--grey": form.channels == 1,
            "--crop": form.crop,
            "pictures": self.pictures.digest(),
            "network": self.options.preset if self.initial is None else self.initial.weights_sha256,
        }

    def _averaged(self) -> UNet2DModel:
        network = type(self.network).from_config(self.network.config).to(self.accelerator.device)
        self.trainer.ema.copy_to(network.parameters())
        return network.eval().requires_grad_(False)

    def _keep(self) -> None:
        network, step = self._averaged(), self.trainer.progress.step
        draw_samples(network, self.schedule, self.options.output / "training" / f"samples-{step:08d}.png")
        self._publish(network, self._facts())

    def _finish(self) -> None:
        network, facts = self._averaged(), self._facts()
        facts.finished = True
        if self.held_out:
            examples = self.pictures.examples(self.held_out, MEASURED)
            facts.examples = len(examples)
            batch = self.options.recipe.batch
            facts.by_level = self.objective.by_level(network, examples, batch)
            if self.initial is not None and self._like_ours(self.initial):
                before = presets.from_prior(self.initial, self.options.form.size, self.options.form.channels)
                facts.by_level_before = self.objective.by_level(
                    before.to(self.accelerator.device), examples, batch
                )
        self._publish(network, facts)
        for line in facts.table():
            self.display.say(line)
        self.display.say(f"{self.options.output}: restore PICTURE --task ... --prior {self.options.output}")

    def _like_ours(self, prior: DiffusionPrior) -> bool:
        """Whether its answers mean what ours do, so that they can be compared."""
        return prior.prediction == "v_prediction" and prior.schedule.alpha_bars.equal(self.schedule.alpha_bars)

    def _publish(self, network: UNet2DModel, facts: Facts) -> None:
        publish(
            network, self.schedule, self.options.output, {"README.md": facts.as_card(), FACTS: facts.as_json()}
        )

    def _facts(self) -> Facts:
        options, progress = self.options, self.trainer.progress
        recent = progress.losses[-max(len(progress.losses) // 10, 1) :]
        return Facts(
            name=options.output.resolve().name,
            command=options.command,
            data=[path.resolve().name for path in options.data],
            data_licence=options.licence,
            pictures=len(self.pictures),
            held_out=len(self.held_out),
            skipped=len(self.pictures.skipped),
            size=options.form.size,
            channels=options.form.channels,
            crop=options.form.crop,
            flip=options.recipe.flip,
            parameters=sum(weights.numel() for weights in self.network.parameters()),
            init=None if self.initial is None else self.initial.name,
            steps=progress.step,
            images=progress.images,
            seconds=progress.seconds,
            batch=options.recipe.batch * self.accelerator.num_processes,
            rate=options.recipe.rate,
            gamma=options.gamma,
            low=options.low,
            decay=options.recipe.decay,
            precision=self.accelerator.mixed_precision.replace("no", "fp32"),
            hardware=hardware(self.accelerator.device, self.accelerator.num_processes),
            versions={
                "nested-restoration": own_version(),
                **{name: version(name) for name in ("torch", "diffusers", "accelerate")},
            },
            loss=sum(recent) / len(recent),
        )


def train(options: TrainingOptions) -> int:
    """Do it all; the exit code: 0 trained, 130 interrupted (the same command goes on).

    Raises:
        RestorationError, ValueError, OSError: it cannot be done; the message is one line.
    """
    accelerator, interrupt = _accelerator(options), Interrupt()
    with Display(accelerator.is_main_process) as display, interrupt.heard():
        try:
            with alone(_place(options.output), accelerator):
                finished = TrainingRun(options, display, interrupt, accelerator).train()
        except KeyboardInterrupt:  # while pictures were read, or the second one
            finished = False
    return 0 if finished else INTERRUPTED


def _accelerator(options: TrainingOptions) -> Accelerator:
    device, precision = resolve_device(options.device), options.precision
    if precision not in PRECISIONS:
        raise ValueError(f"--precision must be one of {', '.join(PRECISIONS)}: got {precision!r}")
    if precision == "auto":  # what `accelerate launch` was told goes before our choice
        precision = os.environ.get("ACCELERATE_MIXED_PRECISION") or ("bf16" if _has_bf16(device) else "fp32")
    if device.type == "cuda" and device.index is not None:  # else, under `accelerate launch`, each has its own
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError(f"--device {device} is one GPU for several processes: give cuda, or none")
        torch.cuda.set_device(device)
    return Accelerator(mixed_precision=precision.replace("fp32", "no"), cpu=device.type == "cpu")


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def _network(options: TrainingOptions) -> tuple[UNet2DModel, DiffusionPrior | None]:
    size, channels = options.form.size, options.form.channels
    if options.init is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.recipe.seed)
            return presets.from_preset(options.preset, size, channels), None
    initial = load_prior(options.init, "cpu", "fp32")
    return presets.from_prior(initial, size, channels), initial


def _place(output: Path) -> Path:
    """Where the checkpoints of a prior lie, once its folder is known to be new or a run's."""
    place = output / "training"
    other = output.is_dir() and any(path != place for path in output.iterdir())
    if output.is_file() or (other and not (place / RUN).is_file()):
        raise OutputError(f"{output} holds something else already; choose another -o")
    return place


def _told_finished(folder: Path, step: int) -> bool:
    """Whether a run that finished at that step has written its facts: one killed just before has not."""
    try:
        facts = read_json(folder / FACTS)
        return bool(facts["finished"]) and facts["steps"] == step
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _read(options: TrainingOptions, display: Display, interrupt: Interrupt) -> Pictures:
    sources = find(options.data, leave_out=options.output)
    display.say(f"reading {len(sources)} pictures")

    def watch(done: int) -> None:
        if interrupt.asked:
            raise KeyboardInterrupt
        display.reading(done, len(sources))

    pictures = Pictures(sources, options.form, watch)
    if pictures.cut:
        display.say(f"{pictures.cut} pictures are larger than their share of memory: a part of each is used")
    if pictures.again:
        display.say(f"{pictures.again} pictures do not fit into memory: they are decoded at every visit, slowly")
    if pictures.skipped:
        display.say(f"{len(pictures.skipped)} pictures are skipped, the first: {pictures.skipped[0]}")
    if not len(pictures):
        raise ImageError(f"{options.data[0]}: none of {len(sources)} pictures can be used: {pictures.skipped[0]}")
    if len(pictures) < FEW:
        display.say(f"warning: {len(pictures)} pictures are few; the network will learn them by heart")
    return pictures
