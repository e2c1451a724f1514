"""Class-conditional ImageNet with previews: DiT-XL/2 made anytime.

    python examples/class_conditional.py "golden retriever" umbrella --out previews/

5 outer × 50 inner steps of DDPM with the network's learned variance, guidance 1.5: the paper's section 4.1. The
pipeline drops that variance before it calls the scheduler, so the scheduler takes it from the network itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import DiTPipeline
from huggingface_hub.constants import HF_HUB_CACHE

from restoration import NestedScheduler, anytime_previews


def load(name: str) -> DiTPipeline:
    """From a folder, the cache or the hub; one line that says where the weights go if they are nowhere."""
    try:
        return DiTPipeline.from_pretrained(name)
    except OSError:
        cached = Path(HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
        sys.exit(
            f"no weights for {name}: with a connection they go to {cached}; without one, fetch them elsewhere "
            f"with 'hf download {name} --local-dir FOLDER' and give --pipeline FOLDER"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Class-conditional ImageNet with previews.")
    parser.add_argument("labels", nargs="+", help="ImageNet labels, e.g. 'golden retriever'")
    parser.add_argument("--pipeline", default="facebook/DiT-XL-2-256", help="folder or hub id")
    parser.add_argument("--outer", type=int, default=5, help="outer steps: previews")
    parser.add_argument("--inner", type=int, default=50, help="network evaluations per outer step")
    parser.add_argument("--guidance", type=float, default=1.5)
    parser.add_argument("--seed", type=int, default=0, help="of the first image; the others count on")
    parser.add_argument("--out", type=Path, default=Path("previews"), help="folder for the previews")
    options = parser.parse_args(arguments)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipe = load(options.pipeline).to(device)
    pipe.scheduler = NestedScheduler.from_config(
        pipe.scheduler.config, inner_steps=options.inner, inner="ddpm", variance_type="learned_range"
    )
    pipe.scheduler.take_variance_from(pipe.transformer)
    options.out.mkdir(parents=True, exist_ok=True)
    for preview in anytime_previews(
        pipe,
        class_labels=pipe.get_label_ids(options.labels),
        num_inference_steps=options.outer,
        guidance_scale=options.guidance,
        generator=[torch.Generator(device).manual_seed(options.seed + i) for i in range(len(options.labels))],
    ):
        for label, image in zip(options.labels, preview.images, strict=True):
            image.save(options.out / f"{label.replace(' ', '-')}-{preview.nfe:04d}.png")
        print(f"{preview.nfe} of {preview.total_nfe} evaluations: {options.out}")


if __name__ == "__main__":
    main()
