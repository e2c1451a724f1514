"""Checkpoints of the field by name: where they are, whose they are, and what their tensors do not tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from restoration.priors.formats.settings import Setting

_OPENAI = "https://openaipublic.blob.core.windows.net/diffusion/jul-2021/"
_HEIDELBERG = "https://heibox.uni-heidelberg.de/f/"
_ADM_PAGE = "https://github.com/openai/guided-diffusion"
_DDPM_PAGE = "https://github.com/pesser/pytorch_diffusion"


@dataclass(frozen=True)
class Known:
    """A published checkpoint.

    Args:
        name: what users call it.
        file: its file name, by which a copy of it is recognised anywhere; of a hub repository, empty.
        url: where it is offered; of a hub repository, its id.
        source: the page that says what it is.
        licence: of the weights, and what their training data adds.
        settings: what the tensors do not tell (``formats.foreign``).
        sha256, md5: of the file, where they have been published.
    """

    name: str
    file: str
    url: str
    source: str
    licence: str
    settings: Mapping[str, Setting] = field(default_factory=dict)
    sha256: str = ""
    md5: str = ""


def _adm(name: str, file: str, size: int, data: str, sha256: str = "", **settings: Setting) -> Known:
    """Of OpenAI's guided-diffusion (ADM); its README and model card give flags and licence."""
    told: dict[str, Setting] = {"noise_schedule": "linear", "use_new_attention_order": False, **settings}
    if "num_heads" not in told:
        told["num_head_channels"] = 64
    licence = f"MIT; {data} is for non-commercial research"
    return Known(name, file, _OPENAI + file, _ADM_PAGE, licence, {"image_size": size, **told}, sha256)


def _ddpm(name: str, original: str, key: str, size: int, md5: str, data: str) -> Known:
    """Of Ho et al.'s DDPM, converted and averaged (EMA) by P. Esser, who published the MD5 sums."""
    file, url = f"ema_{original}.ckpt", f"{_HEIDELBERG}{key}/?dl=1"
    return Known(name, file, url, _DDPM_PAGE, f"MIT; {data} is for research", {"image_size": size}, md5=md5)


def _hub(name: str, repository: str, data: str) -> Known:
    page = f"https://huggingface.co/{repository}"
    return Known(name, "", repository, page, f"Apache-2.0; {data} is for non-commercial research")


KNOWN: dict[str, Known] = {
    known.name: known
    for known in (
        Known(
            "celebahq-256",
            "celeba_hq.ckpt",
            "https://image-editing-test-12345.s3-us-west-2.amazonaws.com/checkpoints/celeba_hq.ckpt",
            "https://github.com/ermongroup/SDEdit",
            "MIT; CelebA-HQ is for non-commercial research",
            {"image_size": 256},
        ),
        _hub("celebahq-256-google", "google/ddpm-ema-celebahq-256", "CelebA-HQ"),
        Known(
            "ffhq-256",
            "diffusion_ffhq_10m.pt",
            "https://huggingface.co/deepinv/diffunet/resolve/main/diffusion_ffhq_10m.pt?download=true",
            "https://github.com/DPS2022/diffusion-posterior-sampling",
            "not stated; FFHQ is CC BY-NC-SA 4.0",
            {
                "image_size": 256,
                "noise_schedule": "linear",
                "num_head_channels": 64,
                "use_new_attention_order": False,
            },
        ),
        _adm(
            "imagenet-64-cond",
            "64x64_diffusion.pt",
            64,
            "ImageNet",
            noise_schedule="cosine",
            use_new_attention_order=True,
        ),
        _adm("imagenet-128-cond", "128x128_diffusion.pt", 128, "ImageNet", num_heads=4),
        _adm(
            "imagenet-256",
            "256x256_diffusion_uncond.pt",
            256,
            "ImageNet",
            "a37c32fffd316cd494cf3f35b339936debdc1576dad13fe57c42399a5dbc78b1",
        ),
        _adm("imagenet-256-cond", "256x256_diffusion.pt", 256, "ImageNet"),
        _adm("imagenet-512-cond", "512x512_diffusion.pt", 512, "ImageNet"),
        _adm("lsun-bedroom-256", "lsun_bedroom.pt", 256, "LSUN"),
        _adm("lsun-cat-256", "lsun_cat.pt", 256, "LSUN"),
        _adm("lsun-horse-256", "lsun_horse.pt", 256, "LSUN"),
        _ddpm(
            "lsun-church-256",
            "lsun_church",
            "44ccb50ef3c6436db52e",
            256,
            "fdc68a23938c2397caba4a260bc2445f",
            "LSUN",
        ),
        _ddpm(
            "lsun-bedroom-256-ddpm",
            "lsun_bedroom",
            "b95206528f384185889b",
            256,
            "1921fa46b66a3665e450e42f36c2720f",
            "LSUN",
        ),
        _ddpm(
            "lsun-cat-256-ddpm",
            "lsun_cat",
            "0701aac3aa69457bbe34",
            256,
            "646f23f4821f2459b8bafc57fd824558",
            "LSUN",
        ),
        _ddpm(
            "cifar10-32",
            "cifar10",
            "2e4f01e2d9ee49bab1d5",
            32,
            "1fa350b952534ae442b1d5235cce5cd3",
            "CIFAR-10",
        ),
    )
}
"""Known checkpoints by name."""

_ALIASES = {"ffhq_10m.pt": "diffusion_ffhq_10m.pt", "diffusion_celeba_hq.ckpt": "celeba_hq.ckpt"}


def recognise(file_name: str, sha256: str) -> Known | None:
    """The known checkpoint that a file is, by its SHA-256 or else by its name.

    A name whose published SHA-256 is another than the file's is no match: it may be anything.
    """
    for known in KNOWN.values():
        if known.sha256 and known.sha256 == sha256:
            return known
    name = _ALIASES.get(file_name, file_name)
    by_name = next((known for known in KNOWN.values() if known.file == name), None)
    return None if by_name is None or (by_name.sha256 and by_name.sha256 != sha256) else by_name
