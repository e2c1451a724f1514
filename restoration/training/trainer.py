"""The training loop: one clock, one learning rate, the same under one process and under many."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from diffusers import UNet2DModel
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.utils.data import DataLoader

from restoration.errors import PriorError
from restoration.training.checkpoint import Checkpoints
from restoration.training.objective import Objective
from restoration.training.pictures import Batches, Pictures, to_model

STRETCH = 10
"""Steps between two looks at the clock: at each a GPU is waited for, and all processes for each other."""
WARM_UP = 0.02
"""The share of a run in which the learning rate rises."""


@dataclass
class Progress:
    """How far a run is; stored with every checkpoint."""

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    """The mean loss of every stretch."""

    def state_dict(self) -> dict[str, Any]:
        """For accelerate."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """For accelerate."""
        for name, value in state.items():
            setattr(self, name, value)


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Args:
        seconds: of training in all, across every resumption; what is written and measured does not count.
        steps: instead of seconds, where given.
        batch: pictures a step and process.
        rate: AdamW's highest learning rate; it falls along a cosine.
        decay: the most the moving average keeps of its past at a step; (1 + step)/(10 + step) before that.
        between: seconds between checkpoints.
        flip: mirror every second picture.
        seed: of crops, flips and noise.
        workers: processes that prepare pictures.
    """

    seconds: float
    steps: int | None
    batch: int
    rate: float
    decay: float = 0.9999
    between: float = 300.0
    flip: bool = True
    seed: int = 0
    workers: int = 0

    def share(self, progress: Progress) -> float:
        """How much of the run is over, 0 to 1."""
        over = progress.seconds / self.seconds if self.steps is None else progress.step / self.steps
        return min(over, 1.0)


class Trainer:
    """Trains `network`, keeping the moving average of its weights in `ema` and its place in `progress`.

    Under ``accelerate launch`` every process has one, and they go in step.

    Args:
        stop: asked after every stretch; true on the main process ends training after a checkpoint.
        watch: called on the main process after every stretch.
        kept: called on the main process after every checkpoint.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        network: UNet2DModel,
        objective: Objective,
        recipe: Recipe,
        checkpoints: Checkpoints,
        *,
        stop: Callable[[], bool],
        watch: Callable[[], None],
        kept: Callable[[], None],
    ) -> None:
        self.accelerator, self.objective, self.recipe = accelerator, objective, recipe
        self.checkpoints, self.stop, self.watch, self.kept = checkpoints, stop, watch, kept
        self.progress = Progress()
        network.to(accelerator.device)
        self.ema = EMAModel(network.parameters(), decay=recipe.decay, foreach=True)
        self.ema.to(accelerator.device)
        accelerator.register_for_checkpointing(self.ema, self.progress)
        optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.rate)
        self._network, self._optimizer = accelerator.prepare(network, optimizer)
        checkpoints.resume()
        self.ema.to(accelerator.device)

    @property
    def rate(self) -> float:
        """The learning rate now."""
        share = self.recipe.share(self.progress)
        return self.recipe.rate * min(share / WARM_UP, (1 + math.cos(math.pi * share)) / 2) + 1e-7

    def run(self, pictures: Pictures, indices: Sequence[int]) -> bool:
        """Train on those pictures until the time is over (true) or a stop was asked for (false).

        Raises:
            PriorError: the loss is no number any more; the last checkpoint stays as it is.
        """
        progress, recipe = self.progress, self.recipe
        seed = (recipe.seed, progress.step, self.accelerator.process_index)  # a resumed run draws anew
        torch.manual_seed(hash(seed))
        batches = Batches(pictures, indices, recipe.batch, recipe.flip, seed)
        loader = iter(
            DataLoader(
                batches,
                batch_size=None,
                num_workers=recipe.workers,
                pin_memory=self.accelerator.device.type == "cuda",
                persistent_workers=recipe.workers > 0,
            )
        )
        saved, asked = progress.seconds, False
        self._network.train()
        while recipe.share(progress) < 1 and not asked:
            asked = self._stretch(loader)
            if progress.seconds - saved >= recipe.between or asked or recipe.share(progress) == 1:
                saved = progress.seconds
                self.checkpoints.save(progress.step)
                if self.accelerator.is_main_process:
                    self.kept()
        return not asked

    def _stretch(self, loader: Iterator[Tensor]) -> bool:
        """Some steps at one learning rate; whether to stop after them."""
        progress, begun = self.progress, time.monotonic()
        count = STRETCH if self.recipe.steps is None else min(STRETCH, self.recipe.steps - progress.step)
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate
        total = torch.zeros((), device=self.accelerator.device)
        for _ in range(count):
            total += self._step(next(loader))
        mean = float(self.accelerator.reduce(total, "mean")) / count
        if not math.isfinite(mean):
            raise PriorError(f"the loss is {mean} after {progress.step} steps: repeat the command with a lower --rate")
        told = [time.monotonic() - begun, self.stop()]
        broadcast_object_list(told)  # the main process's clock and its Ctrl-C are everyone's
        progress.step += count
        progress.images += count * self.recipe.batch * self.accelerator.num_processes
        progress.seconds += told[0]
        progress.losses.append(mean)
        if self.accelerator.is_main_process:
            self.watch()
        return bool(told[1])

    def _step(self, pixels: Tensor) -> Tensor:
        x0 = to_model(pixels.to(self.accelerator.device, non_blocking=True))
        loss = self.objective(self._network, x0)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.ema.step(self._network.parameters())
        return loss.detach()
