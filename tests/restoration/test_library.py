"""Any checkpoint of the field loads by its path, and says what is open."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention
from safetensors.torch import save_file

from restoration.errors import PriorError
from restoration.priors import load_prior
from restoration.priors.formats.ddpm import DDPM
from restoration.priors.formats.guided import GUIDED
from restoration.priors.formats.settings import answer
from restoration.priors.library.catalogue import KNOWN

LISTINGS = json.loads(gzip.decompress((Path(__file__).parent / "foreign" / "listings.json.gz").read_bytes()))
GUIDED_NAME, CLASSES_NAME, DDPM_NAME = (
    "guided-variance-resblocks-legacy-channels",
    "guided-classes-four-heads-over-widths",
    "ddpm-grey-middle-only",
)


def weights(name: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = LISTINGS["tiny"][name]["shapes"]
    return {
        n: torch.randn(s, generator=generator) / math.sqrt(max(math.prod(s[1:]), 1)) for n, s in shapes.items()
    }


def stored(path: Path, name: str, **wrapper: Any) -> Path:
    torch.save({"state_dict": {f"module.{n}": t for n, t in weights(name).items()}, **wrapper}, path)
    return path


def settings(name: str) -> dict[str, Any]:
    return LISTINGS["tiny"][name]["settings"]


def test_a_wrapped_guided_checkpoint_loads_with_a_config_and_with_a_sidecar(tmp_path: Path) -> None:
    path = stored(tmp_path / "mine.pt", GUIDED_NAME, epoch=3)
    by_config = load_prior(path, "cpu", config=settings(GUIDED_NAME))
    (tmp_path / "mine.pt.json").write_text(json.dumps(settings(GUIDED_NAME)))
    by_sidecar = load_prior(path, "cpu")
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    assert by_config.denoise(x, 500).equal(by_sidecar.denoise(x, 500))
    assert by_config.fingerprint() == by_sidecar.fingerprint()
    assert by_config.image_shape == (3, 16, 16)
    other = load_prior(path, "cpu", config={"num_head_channels": 32})  # goes before the sidecar
    assert not other.denoise(x, 500).equal(by_sidecar.denoise(x, 500))
    assert other.fingerprint() != by_sidecar.fingerprint()


def test_the_fingerprint_is_of_what_was_understood_not_of_how_it_was_said(tmp_path: Path) -> None:
    path = stored(tmp_path / "mine.pt", GUIDED_NAME)
    text = {key: str(value) for key, value in settings(GUIDED_NAME).items()}
    assert (
        load_prior(path, "cpu", config=text | {"dropout": "0.1"}).fingerprint()
        == load_prior(path, "cpu", config=settings(GUIDED_NAME)).fingerprint()
    )


def test_a_head_count_goes_before_a_sidecars_head_width(tmp_path: Path) -> None:
    path = stored(tmp_path / "mine.pt", GUIDED_NAME)
    (tmp_path / "mine.pt.json").write_text(json.dumps(settings(GUIDED_NAME)))
    prior = load_prior(path, "cpu", config={"num_heads": 1})
    heads = {module.heads for module in prior.network.modules() if isinstance(module, Attention)}
    assert heads == {1}


def test_a_network_that_cannot_be_compiled_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler\nand a long story")

    monkeypatch.setattr("diffusers.UNet2DModel.compile", lambda self: setattr(self, "forward", broken))
    with pytest.raises(PriorError, match=r"cannot be compiled here .no compiler.") as caught:
        load_prior("faces-64", "cpu", compile=True)
    assert "\n" not in str(caught.value)


def test_a_ddpm_checkpoint_loads_as_safetensors_and_grey(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_file(weights(DDPM_NAME), path)
    prior = load_prior(path, "cpu", config={"image_size": 16})
    assert prior.image_shape == (1, 16, 16)
    assert prior.denoise(torch.zeros(2, 1, 16, 16), 10).shape == (2, 1, 16, 16)


def test_class_conditional_checkpoints_need_a_label(tmp_path: Path) -> None:
    path = stored(tmp_path / "mine.pt", CLASSES_NAME)
    config = settings(CLASSES_NAME)
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    first, second = (load_prior(path, "cpu", config=config, class_label=label) for label in (0, 1))
    assert not first.denoise(x, 500).equal(second.denoise(x, 500))
    for label in (None, -1, 10_000):
        with pytest.raises(ValueError, match="class_label must be from 0 to"):
            load_prior(path, "cpu", config=config, class_label=label)
    with pytest.raises(ValueError, match="class_label must be None"):
        load_prior("faces-64", "cpu", class_label=1)


def test_what_is_open_is_listed_in_one_line(tmp_path: Path) -> None:
    path = stored(tmp_path / "mine.pt", GUIDED_NAME)
    with pytest.raises(PriorError) as caught:
        load_prior(path, "cpu")
    message = str(caught.value)
    assert "\n" not in message
    for key in ("image_size", "num_heads", "num_head_channels", "use_new_attention_order", "noise_schedule"):
        assert key in message


def test_a_known_file_name_answers_what_is_open(tmp_path: Path) -> None:
    """The grey tiny network under a known DDPM name: its image size is the catalogue's."""
    path = stored(tmp_path / "celeba_hq.ckpt", DDPM_NAME)
    assert load_prior(path, "cpu").image_shape == (1, 256, 256)


@pytest.mark.parametrize("known", [known for known in KNOWN.values() if known.file])
def test_the_catalogue_answers_all_that_is_open_of_the_published_checkpoints(known) -> None:
    stem = known.file.rsplit(".", 1)[0].removeprefix("diffusion_")
    made = LISTINGS["published"][stem]
    made = LISTINGS["published"][made["as"]] if "as" in made else made
    shapes = {key: tuple(shape) for key, shape in made["shapes"].items()}
    form = GUIDED if "out.2.weight" in shapes else DDPM
    layout = form.read(shapes)
    told = answer(layout, form, known.settings)
    wanted = answer(layout, form, LISTINGS["published"][stem]["settings"])
    assert (told.image_size, told.head_dim, told.heads_first) == (
        wanted.image_size,
        wanted.head_dim,
        wanted.heads_first,
    )
    assert told.schedule.alpha_bars.equal(wanted.schedule.alpha_bars)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "must hold a JSON object"),
        ("{", "cannot be read as JSON"),
        ('{"heads": 4}', "heads"),
        (json.dumps({**settings(GUIDED_NAME), "beta_start": [1]}), "beta_start must be a number"),
        ("[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_a_wrong_sidecar_is_told(tmp_path: Path, content: str, message: str) -> None:
    path = stored(tmp_path / "mine.pt", GUIDED_NAME)
    (tmp_path / "mine.pt.json").write_text(content)
    with pytest.raises(PriorError, match=message) as caught:
        load_prior(path, "cpu")
    assert "\n" not in str(caught.value)


def test_a_config_for_a_folder_is_refused() -> None:
    with pytest.raises(PriorError, match="has its configuration"):
        load_prior("faces-64", "cpu", config={"num_heads": 4})


def test_offline_a_known_name_says_which_file_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NESTED_RESTORATION_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: (_ for _ in ()).throw(OSError("no route")))
    with pytest.raises(PriorError, match=r"no route.*celeba_hq.ckpt.*put it into") as caught:
        load_prior("celebahq-256", "cpu")
    assert str(tmp_path) in str(caught.value)
    stored(tmp_path / "celeba_hq.ckpt", DDPM_NAME)
    assert load_prior("celebahq-256", "cpu").name == "celebahq-256"


def test_offline_a_hub_id_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def offline(*_: object, **__: object) -> str:
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(PriorError, match="google/ddpm-cat-256 is no file or folder here") as caught:
        load_prior("google/ddpm-cat-256", "cpu")
    assert "\n" not in str(caught.value)
