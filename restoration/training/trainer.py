"""The training loop: one clock, one learning rate, the same under one process and under many."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from diffusers import UNet2DModel
from diffusers.training_utils import EMAModel
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader

from nested.files import open_to_all
from nested.reading import conform, read_json, read_tensors
from restoration.errors import PriorError
from restoration.training.checkpoint import Checkpoints
from restoration.training.objective import Objective
from restoration.training.pictures import Batches, Pictures, scaled
from restoration.training.recipe import Progress, Recipe

STRETCH = 10
"""Steps between two looks at the clock: at each a GPU is waited for, and all processes for each other."""
AVERAGE, PROGRESS = "average.safetensors", "progress.json"


class Trainer:
    """Trains `network`, keeping the moving average of its weights in `ema` and its place in `progress`.

    Made, it stands where the last checkpoint left it. Under ``accelerate launch`` every process has one, and
    they go in step.

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
        # a GPU's matrix units take convolutions with the channels last
        gpu = accelerator.device.type == "cuda"
        network.to(accelerator.device, memory_format=torch.channels_last if gpu else torch.preserve_format)
        self._names = [name for name, _ in network.named_parameters()]
        self.ema = EMAModel(network.parameters(), decay=recipe.decay, foreach=True)
        optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.rate, fused=gpu)
        self._network, self._optimizer = accelerator.prepare(network, optimizer)
        checkpoints.load(self._read)

    def run(self, pictures: Pictures, indices: Sequence[int]) -> bool:
        """Train on those pictures until the time is over (true) or a stop was asked for (false).

        Raises:
            PriorError: the loss is no number any more; the last checkpoint stays as it is.
        """
        progress, recipe = self.progress, self.recipe
        seed = (recipe.seed, progress.step, self.accelerator.process_index)  # a resumed run draws anew
        draw = torch.Generator(self.accelerator.device)
        draw.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))
        loader = self._loader(Batches(pictures, indices, recipe.batch, recipe.flip, seed))
        saved, asked = progress.seconds, False
        self._network.train()
        while recipe.share(progress) < 1 and not asked:
            asked = self._stretch(loader, draw)
            if asked or recipe.share(progress) == 1 or progress.seconds - saved >= recipe.between:
                self._check_finite()
                saved = progress.seconds
                self.checkpoints.save(progress.step, self._write)
                if self.accelerator.is_main_process:
                    self.kept()
        return recipe.share(progress) == 1

    def _stretch(self, loader: Iterator[Tensor], draw: torch.Generator) -> bool:
        """Some steps at one learning rate; whether to stop after them."""
        progress, begun = self.progress, time.monotonic()
        count = STRETCH if self.recipe.steps is None else min(STRETCH, self.recipe.steps - progress.step)
        for group in self._optimizer.param_groups:
            group["lr"] = self.recipe.rate_at(progress)
        total = torch.zeros((), device=self.accelerator.device)
        for _ in range(count):
            total += self._step(next(loader), draw)
        mean = float(self.accelerator.reduce(total, "mean")) / count
        if not math.isfinite(mean):
            raise _diverged(f"the loss is {mean}", progress.step)
        told = [time.monotonic() - begun, self.stop()]
        broadcast_object_list(told)  # the main process's clock and its Ctrl-C are everyone's
        progress.step += count
        progress.images += count * self.recipe.batch * self.accelerator.num_processes
        progress.seconds += told[0]
        progress.losses.append(mean)
        if self.accelerator.is_main_process:
            self.watch()
        return bool(told[1])

    def _step(self, pixels: Tensor, draw: torch.Generator) -> Tensor:
        x0 = scaled(pixels.to(self.accelerator.device, non_blocking=True))
        loss = self.objective(self._network, x0, draw)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.ema.step(self._network.parameters())
        return loss.detach()

    def warm_up(self, size: int, channels: int) -> None:
        """One forward and backward pass that changes nothing: compilation happens before the clock runs."""
        x0 = torch.zeros(self.recipe.batch, channels, size, size, device=self.accelerator.device)
        draw = torch.Generator(self.accelerator.device).manual_seed(0)
        self._network.train()
        self.accelerator.backward(self.objective(self._network, x0, draw))
        self._optimizer.zero_grad()

    def _check_finite(self) -> None:
        """The loss of a step says nothing of the weights after it, which are what is kept."""
        tensors = [*self._network.parameters(), *self.ema.shadow_params]
        if not bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all()):
            raise _diverged("weights are infinite or no numbers", self.progress.step)

    def _loader(self, batches: Batches) -> Iterator[Tensor]:
        gpu, workers = self.accelerator.device.type == "cuda", self.recipe.workers
        # elsewhere each worker gets a copy of all pictures
        forks = "fork" in multiprocessing.get_all_start_methods()
        if workers is None:
            workers = min(4, (os.cpu_count() or 1) // self.accelerator.num_processes) if gpu and forks else 0
        return iter(
            DataLoader(
                batches,
                batch_size=None,
                num_workers=workers,
                pin_memory=gpu,
                multiprocessing_context="fork" if workers and forks else None,
                worker_init_fn=_leave_signals_alone,
            )
        )

    def _write(self, folder: Path) -> None:
        """What accelerate would pickle: the moving average, and how far we are."""
        average = {
            name: tensor.contiguous() for name, tensor in zip(self._names, self.ema.shadow_params, strict=True)
        }
        save_file(average, folder / AVERAGE)
        (folder / PROGRESS).write_text(json.dumps(asdict(self.progress)), encoding="utf-8")
        open_to_all(folder)

    def _read(self, folder: Path) -> None:
        average, _ = read_tensors(folder / AVERAGE, str(self.accelerator.device))
        shadow = []
        for name, now in zip(self._names, self.ema.shadow_params, strict=True):
            found = average[name]
            if found.shape != now.shape or not bool(found.isfinite().all()):
                raise ValueError(f"{AVERAGE}: {name} is not the network's, or not finite")
            shadow.append(found)
        told = conform(read_json(folder / PROGRESS), _Progress, PROGRESS)
        if min(told["step"], told["images"], told["seconds"]) < 0:
            raise ValueError(f"{PROGRESS} counts below 0")
        for name in _Progress.__annotations__:
            setattr(self.progress, name, told[name])
        self.ema.shadow_params = shadow
        self.ema.optimization_step = self.progress.step


class _Progress(TypedDict):
    """Progress as it is stored."""

    step: int
    images: int
    seconds: float
    losses: list[float]


def _diverged(what: str, step: int) -> PriorError:
    return PriorError(f"{what} after {step} steps: repeat the command with a lower --rate")


def _leave_signals_alone(worker: int) -> None:
    """A Ctrl-C is the trainer's to hear; its workers end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
