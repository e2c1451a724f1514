"""Text to image that you steer: choose among candidates after every outer step, and change the prompt on the way.

    python examples/steered_text_to_image.py "a house in the snow" --candidates 4 --out steered/
    python examples/steered_text_to_image.py "a house in the snow" --choose 3,1,2,2 \\
        --prompt-at 2 "a house in the snow, at night" --out steered/

Without ``--choose`` it asks; the candidates of each outer step are written first. 4 outer × 25 inner steps, as in
the paper's section 4.2. Any folder or hub id of a Stable Diffusion pipeline does: ``--pipeline``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline

from restoration import NestedScheduler
from restoration.plugins.diffusers import PipelinePreview, SteeringCallback, Wish


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Text to image that you steer.")
    parser.add_argument("prompt")
    parser.add_argument(
        "--pipeline", default="stable-diffusion-v1-5/stable-diffusion-v1-5", help="folder or hub id"
    )
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--choose", help="which is kept after every outer step, from 1, as 3,1,2,2; else it asks")
    parser.add_argument(
        "--prompt-at", nargs=2, action="append", default=[], metavar=("STEP", "PROMPT"), help="after an outer step"
    )
    parser.add_argument("--outer", type=int, default=4, help="outer steps: choices")
    parser.add_argument("--inner", type=int, default=25, help="network evaluations per outer step")
    parser.add_argument("--eta", type=float, default=0.85)
    parser.add_argument("--guidance", type=float, default=7.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("steered"), help="folder for the candidates")
    options = parser.parse_args(arguments)
    told = [] if options.choose is None else [int(number) for number in options.choose.split(",")]
    prompts = {int(step): prompt for step, prompt in options.prompt_at}

    def decide(preview: PipelinePreview, pipeline: Any) -> Wish:
        for i, image in enumerate(preview.images, start=1):
            image.save(options.out / f"{preview.nfe:04d}-{i}.png")
        print(f"{preview.nfe} of {preview.total_nfe} evaluations: {options.out}/{preview.nfe:04d}-*.png")
        kept = told[preview.outer_step - 1] if told else int(input("which? "))
        return Wish(keep=kept - 1, prompt=prompts.get(preview.outer_step))

    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipe = StableDiffusionPipeline.from_pretrained(options.pipeline).to(device)
    pipe.scheduler = NestedScheduler.from_config(
        pipe.scheduler.config, inner_steps=options.inner, inner="ddim", inner_eta=options.eta
    )
    options.out.mkdir(parents=True, exist_ok=True)
    images = pipe(
        options.prompt,
        num_inference_steps=options.outer,
        num_images_per_prompt=options.candidates,
        guidance_scale=options.guidance,
        generator=[torch.Generator(device).manual_seed(options.seed + i) for i in range(options.candidates)],
        callback_on_step_end=SteeringCallback(decide),
        callback_on_step_end_tensor_inputs=list(SteeringCallback.inputs),
    ).images
    images[0].save(options.out / "result.png")
    print(f"the one you kept: {options.out}/result.png")


if __name__ == "__main__":
    main()
