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

from restoration.plugins.diffusers.inner import LEARNED, Generators, ddim, make_inner, normal
from restoration.plugins.diffusers.plan import Plan, Progress, plan
from restoration.plugins.diffusers.scheduler_config import check, refuse_foreign, refuse_steps, taken_over


class NestedScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]  # diffusers is untyped
    """Outer DDIM steps whose x̂₀ is made by a complete inner run; ``num_inference_steps`` counts the outer ones.

    ``pipe.scheduler = NestedScheduler.from_config(pipe.scheduler.config, inner_steps=25, inner="ddim",
    inner_eta=0.85)``, then ``pipe(prompt, num_inference_steps=4)``: 100 network evaluations. One outer step is
    diffusers' own inner solver; one inner step per outer step, landing on ᾱ = 1, is plain DDIM. In float32.

    Args:
        inner_steps: network evaluations of each outer step.
        inner: ``"ddim"``, ``"ddpm"`` (``variance_type`` fixed or learned) or ``"dpmsolver++2s"``.
        inner_eta: η of an inner ``"ddim"``; wins over the η = 0 that pipelines pass to ``step``.
        outer_eta: η of the outer DDIM. None: √(1−ᾱ_t) around dpmsolver++2s and 0 otherwise, as in the paper.
        allocation: inner steps of every outer step, e.g. [16, 8, 6], in place of ``inner_steps``.
        seed: for noise where the pipeline passes no generator (DiT). None: drawn anew for every run.
        timestep_spacing: ``"nested"`` (this project's: every run ends at the lowest noise), or diffusers'
            ``"leading"``, ``"trailing"``, ``"linspace"`` for each inner run.
        set_alpha_to_one: the last step lands on ᾱ = 1, else on the network's lowest noise (Stable Diffusion, paper
            appendix C.2; ``"sigma_min"`` for dpmsolver++2s). ``"ddpm"`` always lands on ᾱ = 1.
        clip_sample, clip_sample_range: clip x̂₀ in the inner run. A True in the config of another scheduler is not
            taken over: ask for it.
        thresholding, dynamic_thresholding_ratio, sample_max_value: of x̂₀ in the inner run, as in diffusers and in
            place of clipping; taken over from another scheduler's config.
        lower_order_final: as in ``DPMSolverSinglestepScheduler``; without it the number of steps is even.
        num_train_timesteps, beta_start, beta_end, beta_schedule, trained_betas, steps_offset, prediction_type,
            variance_type, rescale_betas_zero_snr: as in diffusers.

    Attributes:
        last_estimate: x̂₀ to show, float32: of the newest completed inner run, before the first one of the newest
            call (DiT under guidance: its first half). Callbacks' latents are the next x already: decode this.
        betas, alphas, alphas_cumprod: the network's noise levels, as in diffusers, on the CPU.
        progress: calls and outer steps done, and of how many.
        generator: used where the pipeline passes none to ``step``: one, or a list with one an image.
        seed: what the scheduler's own generator is seeded with.
        on_step: called with the scheduler after every ``step``, also in pipelines without callbacks.

    Raises:
        ValueError: a value out of range, steps more than levels, the config of a flow-matching, consistency or EDM
            scheduler, custom ``timesteps`` or ``sigmas``.
    Source: Elata et al., *Nested Diffusion Processes for Anytime Image Generation*, 2024, Algorithm 2, appendix C.
    """

    _compatibles = [kind.name for kind in KarrasDiffusionSchedulers]  # noqa: RUF012  # diffusers' own name and type

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
        thresholding: bool = False,
        dynamic_thresholding_ratio: float = 0.995,
        sample_max_value: float = 1.0,
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
            thresholding=thresholding,
            dynamic_thresholding_ratio=dynamic_thresholding_ratio,
            sample_max_value=sample_max_value,
            prediction_type=prediction_type,
            rescale_betas_zero_snr=rescale_betas_zero_snr,
        )
        self.alphas_cumprod: Tensor = (
            self._ddpm.alphas_cumprod
        )  # stays on the CPU, where reading it waits for nothing
        self.alphas: Tensor = self._ddpm.alphas
        self.betas: Tensor = self._ddpm.betas
        self.final_alpha_cumprod = torch.tensor(1.0) if set_alpha_to_one else self.alphas_cumprod[0]
        self.init_noise_sigma = 1.0
        self.num_inference_steps: int | None = None
        self.timesteps = torch.arange(num_train_timesteps - 1, -1, -1)
        self.generator: Generators = None
        self.seed: int | None = seed
        self.on_step: Callable[[NestedScheduler], object] | None = None
        self.progress = Progress(Plan(()))
        self.forget()

    @classmethod
    def from_config(cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """As diffusers', from any DDPM-like scheduler's config; ValueError for those that nesting does not fit."""
        if isinstance(config, dict):
            refuse_foreign(config, kwargs)
            ours = config.get("_class_name", cls.__name__) == cls.__name__ and "inner_steps" in config
            config = config if ours else taken_over(config)
        return super().from_config(config, return_unused_kwargs=return_unused_kwargs, **kwargs)

    def __len__(self) -> int:
        return int(self.config.num_train_timesteps)

    @property
    def order(self) -> int:
        """Calls per outer step: pipelines tick progress, and slice for image-to-image, at its multiples.

        With unequal steps no one number fits: then it makes the ticks right (after an outer step it divides the
        calls so far, else it is more than they), and ``set_begin_index`` refuses the slices.
        """
        allocation = self.config.allocation
        if not allocation or len(set(allocation)) == 1:
            return int(allocation[0] if allocation else self.config.inner_steps)
        return self.progress.done if self.progress.outer_step_complete else sum(allocation)

    def forget(self) -> None:
        """Hold no tensor of the run, which is over."""
        self.last_estimate: Tensor | None = None
        self._x: Tensor | None = None  # where the outer step started, float32
        self._noise: Tensor | None = None  # of the newest outer update
        self._variance: Tensor | None = None
        self._dtype = torch.float32
        self._own: torch.Generator | None = None
        self._inner = make_inner(self.config, self._ddpm, self.alphas_cumprod, self.final_alpha_cumprod)

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
        config = self.config
        refuse_steps(config, num_inference_steps, timesteps, sigmas, mu)
        assert num_inference_steps is not None
        allocation = config.allocation or (config.inner_steps,) * num_inference_steps
        final = 0 if config.set_alpha_to_one or config.inner == "ddpm" else 1
        K = config.num_train_timesteps
        self.progress = Progress(plan(allocation, K, config.timestep_spacing, config.steps_offset, final))
        self.num_inference_steps = num_inference_steps
        self.timesteps = torch.tensor([call.t for call in self.progress.plan.calls], device=device)
        self.seed = secrets.randbits(63) if config.seed is None else config.seed
        self.forget()

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Start at an entry of ``timesteps`` where an outer step starts, as image-to-image pipelines do."""
        self.progress = self.progress.start_at(begin_index)

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """The sample itself."""
        return sample

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """q(x_t | x₀), as diffusers' DDPMScheduler."""
        noisy: Tensor = self._ddpm.add_noise(original_samples, noise, timesteps)
        return noisy

    def get_velocity(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """v = √ᾱ ε − √(1−ᾱ) x₀, what a ``"v_prediction"`` network is trained on, as diffusers' DDPMScheduler."""
        velocity: Tensor = self._ddpm.get_velocity(sample, noise, timesteps)
        return velocity

    def take_variance_from(self, network: nn.Module) -> RemovableHandle:
        """Keep the learned variance that a pipeline splits off before ``step`` (DiT): a hook on its network.

        ``handle = pipe.scheduler.take_variance_from(pipe.transformer)``, once, for ``inner="ddpm"`` and a learned
        ``variance_type``; ``handle.remove()`` undoes it.
        """

        def keep(module: nn.Module, arguments: Any, output: Any) -> None:
            prediction = output if isinstance(output, Tensor) else output[0]
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
            timestep: read at the first call only (on a GPU that waits for it): a run may start at any outer step,
                also without ``set_begin_index`` (AnimateDiff's video-to-video).
            sample: (B, C, H, W), what the network was called with.
            eta: pipelines' η; 0 and ``inner_eta`` are accepted, ``inner_eta`` counts. The next one is ignored.
            generator: one, or one an image; None: ``self.generator``, or the scheduler's own. A list half as long
                as the batch means that the pipeline doubles it under guidance (DiT).

        Returns:
            ``prev_sample`` in the sample's dtype and ``pred_original_sample``, this call's x̂₀, as DDIMScheduler.
            With ``return_dict=False`` a tuple of both; in a run of one outer step of the first twice, since there
            PixArt-α's pipeline goes on from the second, as is right for one network call only.
        """
        if not self.progress.nfe:
            self.progress = self.progress.start_from(int(timestep))
        call = self.progress.next
        if eta not in (None, 0, self.config.inner_eta):
            raise ValueError(f"eta is the scheduler's inner_eta, {self.config.inner_eta}, or 0 for it: got {eta}")
        generator = generator or self.generator or self._own_generator(sample)
        output, variance = self._split(model_output, sample)
        images = len(generator) if isinstance(generator, list) else len(sample)
        doubled = len(sample) == 2 * images
        if doubled:  # the pipeline drops the second half: the first, with its generators, makes both
            output, sample = output[:images], sample[:images]
            variance = None if variance is None else variance[:images]
        x = sample.to(torch.promote_types(sample.dtype, torch.float32))
        if call.inner == 0:
            self._x, self._dtype, self._noise = x, sample.dtype, None
            self._inner.begin(self.progress.plan.runs[call.outer])
        x, x0 = self._inner.step(call.inner, output.to(x.dtype), variance, x, generator)
        self.progress = self.progress.after()
        if call.last:
            x = self._outer(x, generator)
        elif self.progress.outer_steps == 0:
            self.last_estimate = x0
        x = x.to(sample.dtype)
        if doubled:
            x, x0 = torch.cat([x, x]), torch.cat([x0, x0])
        if self.on_step is not None:
            self.on_step(self)
        if return_dict:
            return DDIMSchedulerOutput(prev_sample=x, pred_original_sample=x0)
        return x, x if self.num_inference_steps == 1 else x0

    def outer_update(self, x0: Tensor) -> Tensor:
        """Replace the x̂₀ that an inner run has just made, e.g. by an edited one: the new latents, in their dtype.

        In ``callback_on_step_end``, where ``scheduler.progress.outer_step_complete``: ``return {"latents":
        scheduler.outer_update(edit(scheduler.last_estimate))}``. Noise of an outer step is drawn once.

        Raises:
            ValueError: the last call did not end an inner run, or x0 has another shape.
        """
        if not self.progress.outer_step_complete or self._x is None:
            raise ValueError("outer_update replaces a completed estimate: no inner run has just ended")
        if x0.shape != self._x.shape:
            raise ValueError(f"x0 must be {tuple(self._x.shape)}, as last_estimate: got {tuple(x0.shape)}")
        return self._outer(x0.to(self._x), None).to(self._dtype)

    def _outer(self, x0: Tensor, generator: Generators) -> Tensor:
        self.last_estimate = x0
        t, t_next = self.progress.plan.outer_step(self.progress.plan.calls[self.progress.done - 1].outer)
        x = self._x
        if t_next is None or x is None:
            return x0
        a, a_next = self.alphas_cumprod[t], self.alphas_cumprod[t_next]
        eta = self.config.outer_eta
        if eta is None:
            eta = float((1 - a) ** 0.5) if self.config.inner == "dpmsolver++2s" else 0.0

        def draw() -> Tensor:
            if self._noise is None:
                self._noise = normal(x, generator)
            return self._noise

        return ddim(x0, (x - a**0.5 * x0) / (1 - a) ** 0.5, a, a_next, eta, draw)

    def _split(self, model_output: Tensor, sample: Tensor) -> tuple[Tensor, Tensor | None]:
        """The prediction, and the variance in float32 where it was learned and is used."""
        variance, self._variance = self._variance, None
        if model_output.shape[1] == 2 * sample.shape[1]:
            model_output, variance = model_output.chunk(2, dim=1)
        if variance is None or self.config.inner != "ddpm" or self.config.variance_type not in LEARNED:
            return model_output, None
        if variance.shape != sample.shape:
            raise ValueError(f"the variance must be {tuple(sample.shape)}, as sample: got {tuple(variance.shape)}")
        return model_output, variance.float()

    def _own_generator(self, sample: Tensor) -> torch.Generator:
        if self._own is None:
            self._own = torch.Generator(sample.device).manual_seed(self.seed or 0)
        return self._own
