"""Nested Diffusion as a diffusers scheduler: a pipeline that takes a scheduler becomes anytime."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers import ConfigMixin, DDPMScheduler, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from nested.inner import (
    LEARNED,
    Generators,
    ddim_mean,
    ddim_spread,
    make_inner,
    normal,
)
from nested.plan import Call, Plan, plan
from nested.scheduler_config import check, refuse_foreign


class NestedScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]  # diffusers is untyped
    """Outer DDIM steps whose x̂₀ is made by a complete inner run; ``num_inference_steps`` counts the outer ones.

    ``pipe.scheduler = NestedScheduler.from_config(pipe.scheduler.config, inner_steps=25, inner="ddim",
    inner_eta=0.85)``, then ``pipe(prompt, num_inference_steps=4)``: 100 network evaluations. One outer step is the
    inner solver of diffusers itself; one inner step per outer step is plain DDIM.

    State and updates are float32 whatever the network's dtype; what ``step`` returns has the sample's dtype.

    Args:
        inner_steps: network evaluations of each outer step.
        inner: ``"ddim"``, ``"ddpm"`` (``variance_type`` fixed or learned) or ``"dpmsolver++2s"``.
        inner_eta: η of an inner ``"ddim"``; wins over the η = 0 that pipelines pass to ``step``.
        outer_eta: η of the outer DDIM. None: √(1−ᾱ_t) around dpmsolver++2s and 0 otherwise, as in the paper.
        allocation: inner steps of every outer step, e.g. [16, 8, 6], in place of ``inner_steps``.
        seed: for noise where the pipeline passes no generator (DiT). None: drawn anew for every run; see ``seed``.
        timestep_spacing: ``"nested"`` (this project's: every run ends at the lowest noise), or diffusers'
            ``"leading"``, ``"trailing"``, ``"linspace"`` for each inner run.
        set_alpha_to_one: the last step lands on ᾱ = 1, else on the network's lowest noise (Stable Diffusion, paper
            appendix C.2; ``"sigma_min"`` for dpmsolver++2s). ``"ddpm"`` always lands on ᾱ = 1.
        clip_sample, clip_sample_range: clip x̂₀ in the inner run. A True in the config of another scheduler is not
            taken over: ask for it.
        lower_order_final: as in ``DPMSolverSinglestepScheduler``; without it the number of steps is even.
        num_train_timesteps, beta_start, beta_end, beta_schedule, trained_betas, steps_offset, prediction_type,
            variance_type, rescale_betas_zero_snr: as in diffusers.

    Attributes:
        last_estimate: float32 x̂₀ to show: the newest completed inner run's, before the first one the newest call's.
            Not clipped. None before the first call. Latents in callbacks are the next x: decode this instead.
        outer_step_complete: whether the last call ended an inner run.
        outer_steps_done, nfe, total_nfe: progress of this run.
        generator: used where the pipeline passes none to ``step``: one, or a list with one an image.
        seed: what the scheduler's own generator was seeded with.
        on_step: called with the scheduler after every ``step``, for pipelines without callbacks.

    Raises:
        ValueError: a value out of range, steps more than levels, the config of a flow-matching, consistency or EDM
            scheduler, custom ``timesteps`` or ``sigmas``.

    Source: Elata et al., *Nested Diffusion Processes for Anytime Image Generation*, 2024, Algorithm 2, appendix C.
    """

    _compatibles = [kind.name for kind in KarrasDiffusionSchedulers]  # noqa: RUF012  # whose settings may be in a config

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: Sequence[float] | None = None,
        inner_steps: int = 25,
        inner: str = "ddim",
        inner_eta: float = 0.85,
        outer_eta: float | None = None,
        allocation: Sequence[int] | None = None,
        seed: int | None = None,
        timestep_spacing: str = "nested",
        steps_offset: int = 0,
        set_alpha_to_one: bool = True,
        prediction_type: str = "epsilon",
        variance_type: str | None = "fixed_small",
        clip_sample: bool = False,
        clip_sample_range: float = 1.0,
        lower_order_final: bool = False,
        rescale_betas_zero_snr: bool = False,
    ) -> None:
        check(self.config)
        self._ddpm = DDPMScheduler(
            num_train_timesteps=num_train_timesteps,
            beta_start=beta_start,
            beta_end=beta_end,
            beta_schedule=beta_schedule,
            trained_betas=trained_betas,
            variance_type=variance_type or "fixed_small",
            clip_sample=clip_sample,
            clip_sample_range=clip_sample_range,
            prediction_type=prediction_type,
            rescale_betas_zero_snr=rescale_betas_zero_snr,
        )
        self.alphas_cumprod: Tensor = self._ddpm.alphas_cumprod  # float32, and stays on the CPU: read without a sync
        self.final_alpha_cumprod = torch.tensor(1.0) if set_alpha_to_one else self.alphas_cumprod[0]
        self.init_noise_sigma = 1.0
        self.num_inference_steps: int | None = None
        self.timesteps = torch.arange(num_train_timesteps - 1, -1, -1)
        self.generator: Generators = None
        self.seed: int | None = seed
        self.on_step: Callable[[NestedScheduler], object] | None = None
        self._plan = Plan(())
        self.forget()

    @classmethod
    def from_config(cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """As diffusers', from any DDPM-like scheduler's config; ValueError for those that nesting does not fit."""
        if isinstance(config, dict):
            refuse_foreign(config, kwargs)
            if config.get("_class_name") != cls.__name__ and config.get("clip_sample"):
                config = {key: value for key, value in config.items() if key != "clip_sample"}
        return super().from_config(config, return_unused_kwargs=return_unused_kwargs, **kwargs)

    def __len__(self) -> int:
        return int(self.config.num_train_timesteps)

    @property
    def order(self) -> int:
        """Calls per outer step: pipelines tick progress, and slice for image-to-image, at its multiples.

        With unequal steps no one number fits: then it is such that the ticks are right (a divisor of the calls so
        far after an outer step, else more than all), and ``set_begin_index`` refuses the slices.
        """
        allocation = self.config.allocation
        if not allocation or len(set(allocation)) == 1:
            return int(allocation[0] if allocation else self.config.inner_steps)
        return self._counter if self.outer_step_complete and self._counter else sum(allocation)

    @property
    def nfe(self) -> int:
        """Network evaluations in this run so far."""
        return self._counter - self._begin

    @property
    def total_nfe(self) -> int:
        """Network evaluations of the whole run."""
        return len(self._plan.calls) - self._begin

    @property
    def outer_steps_done(self) -> int:
        """Completed outer steps of this run."""
        return sum(call.last for call in self._plan.calls[self._begin : self._counter])

    @property
    def total_outer_steps(self) -> int:
        """Outer steps of this run."""
        return sum(call.last for call in self._plan.calls[self._begin :])

    @property
    def outer_step_complete(self) -> bool:
        """Whether the last call ended an inner run."""
        return self._counter > self._begin and self._plan.calls[self._counter - 1].last

    def forget(self) -> None:
        """Back to the start of the run, holding no tensor."""
        self._begin = self._counter = 0
        self.last_estimate: Tensor | None = None
        self._x: Tensor | None = None  # where the outer step started, float32
        self._noise: Tensor | None = None  # of the newest outer update
        self._variance: Tensor | None = None
        self._dtype = torch.float32
        self._own: torch.Generator | None = None
        self._inner = make_inner(self.config, self._ddpm, self.final_alpha_cumprod)

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[int] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> None:
        """Plan a run of ``num_inference_steps`` outer steps; ``self.timesteps`` has one entry a network call.

        ``timesteps``, ``sigmas`` and ``mu`` are what other pipelines pass: they are refused.
        """
        if sigmas is not None or mu is not None:
            raise ValueError(
                "NestedScheduler takes no sigmas and no mu: they belong to flow-matching pipelines, whose straight "
                "paths have no DDIM step; leave them out, or keep that pipeline's own scheduler"
            )
        if timesteps is not None:
            raise ValueError(
                "NestedScheduler takes no timesteps: it plans them; use inner_steps, allocation or timestep_spacing"
            )
        config = self.config
        N = num_inference_steps
        if not isinstance(N, int) or N < 1:
            raise ValueError(f"num_inference_steps must be a whole number of outer steps, at least 1: got {N}")
        if config.allocation and len(config.allocation) != N:
            raise ValueError(
                f"num_inference_steps must be {len(config.allocation)}, the outer steps of allocation "
                f"{list(config.allocation)}: got {N}"
            )
        allocation = config.allocation or (config.inner_steps,) * N
        final = 0 if config.set_alpha_to_one or config.inner == "ddpm" else 1
        K = config.num_train_timesteps
        self._plan = plan(allocation, K, config.timestep_spacing, config.steps_offset, final)
        self.num_inference_steps = N
        self.timesteps = torch.tensor([call.t for call in self._plan.calls], device=device)
        self.seed = secrets.randbits(63) if config.seed is None else config.seed
        self.forget()

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Start at an entry of ``timesteps`` where an outer step starts, as image-to-image pipelines do."""
        calls = self._plan.calls
        if not 0 <= begin_index < max(len(calls), 1) or (calls and calls[begin_index].inner):
            raise ValueError(
                f"a run starts where an outer step starts: got call {begin_index} of {len(calls)}; image-to-image "
                "strength needs equal inner steps and at least one outer step, and denoising_start is not offered"
            )
        self._begin = self._counter = begin_index

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """The sample itself."""
        return sample

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """q(x_t | x₀), as diffusers' DDPMScheduler."""
        noisy: Tensor = self._ddpm.add_noise(original_samples, noise, timesteps)
        return noisy

    def take_variance_from(self, network: nn.Module) -> RemovableHandle:
        """Keep the learned variance that a pipeline splits off before ``step`` (DiT): a hook on its network.

        ``handle = pipe.scheduler.take_variance_from(pipe.transformer)``, once, for ``inner="ddpm"`` and a learned
        ``variance_type``; ``handle.remove()`` undoes it. Under guidance the conditional half's is what counts.
        """

        def keep(module: nn.Module, arguments: Any, output: Any) -> None:
            prediction = output[0]
            self._variance = prediction[:, prediction.shape[1] // 2 :]

        return network.register_forward_hook(keep)

    @torch.no_grad()
    def step(
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor,
        eta: float | None = 0.0,
        use_clipped_model_output: bool | None = None,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> Any:
        """x for the next network call: one inner step, and at the end of an inner run the outer one.

        Args:
            model_output: (B, C, H, W), or (B, 2C, H, W) with a variance, which only ``inner="ddpm"`` uses.
            timestep: checked at the first call only (on a GPU that waits for it).
            sample: (B, C, H, W), what the network was called with.
            eta: pipelines' η; 0 and ``inner_eta`` are accepted, ``inner_eta`` counts.
            use_clipped_model_output: ignored.
            generator: one, or one an image; None: ``self.generator``, or the scheduler's own. A list half as long
                as the batch means that the pipeline doubles it under guidance (DiT).

        Returns:
            ``prev_sample`` in the sample's dtype and ``pred_original_sample``, this call's x̂₀, as DDIMScheduler.
        """
        call = self._next_call(timestep, eta)
        generator = generator or self.generator or self._own_generator(sample)
        doubled = isinstance(generator, list) and len(sample) == 2 * len(generator)
        output, variance = self._split(model_output, sample)
        if doubled:
            half = len(sample) // 2
            output, sample = output[:half], sample[:half]
            variance = None if variance is None else variance[:half]
        x = sample.to(torch.promote_types(sample.dtype, torch.float32))
        if call.inner == 0:
            self._x, self._dtype, self._noise = x, sample.dtype, None
            self._inner.begin(self._plan.runs[call.outer])
        x, x0 = self._inner.step(call.inner, output.to(x.dtype), variance, x, generator)
        self._counter += 1
        if call.last:
            x = self._outer(x, generator)
        elif self.outer_steps_done == 0:
            self.last_estimate = x0
        x = x.to(sample.dtype)
        if doubled:
            x, x0 = torch.cat([x, x]), torch.cat([x0, x0])
        if self.on_step is not None:
            self.on_step(self)
        return DDIMSchedulerOutput(prev_sample=x, pred_original_sample=x0) if return_dict else (x, x0)

    def outer_update(self, x0: Tensor) -> Tensor:
        """Replace the x̂₀ that an inner run has just made, e.g. by an edited one: the new latents, in their dtype.

        In ``callback_on_step_end``, where ``scheduler.outer_step_complete``: ``return {"latents":
        pipe.scheduler.outer_update(edit(pipe.scheduler.last_estimate))}``. Noise of the outer step is drawn once.

        Raises:
            ValueError: the last call did not end an inner run, or x0 has another shape.
        """
        if not self.outer_step_complete or self._x is None:
            raise ValueError("outer_update replaces a completed estimate: no inner run has just ended")
        if x0.shape != self._x.shape:
            raise ValueError(f"x0 must be {tuple(self._x.shape)}, as last_estimate: got {tuple(x0.shape)}")
        return self._outer(x0.to(self._x), None).to(self._dtype)

    def _outer(self, x0: Tensor, generator: Generators) -> Tensor:
        self.last_estimate = x0
        t, t_next = self._plan.outer_step(self._plan.calls[self._counter - 1].outer)
        if t_next is None:
            return x0
        x = self._x
        assert x is not None
        a, a_next = self.alphas_cumprod[t], self.alphas_cumprod[t_next]
        eta = self.config.outer_eta
        if eta is None:
            eta = float((1 - a) ** 0.5) if self.config.inner == "dpmsolver++2s" else 0.0
        spread = ddim_spread(a, a_next, eta)
        moved = ddim_mean(x0, (x - a**0.5 * x0) / (1 - a) ** 0.5, a_next, spread)
        if spread > 0:
            if self._noise is None:
                self._noise = normal(x, generator)
            moved = moved + spread * self._noise
        return moved

    def _next_call(self, timestep: int | Tensor, eta: float | None) -> Call:
        if self._counter >= len(self._plan.calls):
            raise ValueError("no call is left in the plan: set_timesteps starts a run")
        if eta not in (None, 0, self.config.inner_eta):
            raise ValueError(f"eta is set by the scheduler's inner_eta, {self.config.inner_eta}: the pipeline got {eta}")
        call = self._plan.calls[self._counter]
        if self._counter == self._begin and int(timestep) != call.t:
            raise ValueError(f"this run starts at timestep {call.t}: got {int(timestep)}; call set_begin_index first")
        return call

    def _split(self, model_output: Tensor, sample: Tensor) -> tuple[Tensor, Tensor | None]:
        """The prediction, and the variance in float32 where it was learned and is used."""
        channels = sample.shape[1]
        variance, self._variance = self._variance, None
        if model_output.shape[1] == 2 * channels:
            model_output, variance = model_output.split(channels, dim=1)
        if self.config.inner != "ddpm" or self.config.variance_type not in LEARNED:
            return model_output, None
        if variance is not None and variance.shape != sample.shape:
            raise ValueError(
                f"the learned variance must have the sample's shape {tuple(sample.shape)}: got {tuple(variance.shape)}"
            )
        return model_output, None if variance is None else variance.float()

    def _own_generator(self, sample: Tensor) -> torch.Generator:
        if self._own is None:
            assert self.seed is not None
            self._own = torch.Generator(sample.device).manual_seed(self.seed)
        return self._own
