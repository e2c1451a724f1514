"""``restore-bench generate`` with pipelines: what is measured is what they return."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.pipeline_loading_utils import _get_ignore_patterns

from benchmarks.engine.results import Results
from benchmarks.engine.trials import Look
from benchmarks.generation import pipelines
from benchmarks.generation.drawing import ImageRequest, SolverTrial, follow
from benchmarks.generation.pipelines import Conditions, PipelineModel, open_model
from benchmarks.generation.tables import _classes
from restoration.errors import PriorError

Generate = Callable[..., tuple[int, str, str]]
QUICK = ("--samples", "2", "--batch", "2", "--totals", "4", "--splits", "2", "--feature-prior", "tiny")
# one batch of the same network and decoder: only clamping and the way to 8 bits and back differ, if anything
SAME = 1e-6


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, stable_diffusion: Any, dit: Any) -> Path:
    """``sd`` and ``dit`` in diffusers format."""
    folder = tmp_path_factory.mktemp("pipelines")
    stable_diffusion.save_pretrained(folder / "sd")
    dit.save_pretrained(folder / "dit")
    return folder


@pytest.fixture
def here(folders: Path, generate: Generate) -> Path:
    for name in ("sd", "dit"):
        Path(name).symlink_to(folders / name)
    Path("prompts.txt").write_text("a cat\n\na dog\n")
    return Path()


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in (1, 2)]


def drawn(model: PipelineModel, trial: SolverTrial) -> dict[Look, torch.Tensor]:
    samples = [ImageRequest("a", "a cat", 1), ImageRequest("b", "a dog", 2)]
    return follow(model, trial, samples, generators())


@pytest.mark.parametrize("inner", ["ddim", "ddpm"])
@pytest.mark.parametrize("name", ["sd", "dit"])
def test_the_last_look_is_what_the_pipeline_returns(here: Path, name: str, inner: str) -> None:
    conditions = Conditions(prompts=("a cat",)) if name == "sd" else Conditions()
    model = open_model(name, conditions, "cpu", "fp32")
    assert isinstance(model, PipelineModel)
    trial = SolverTrial("nested 2x3", (3, 3), (2, 3, 6), inner=inner)
    looks = drawn(model, trial)
    ours = model.decode(looks[Look("nested 2x3", "returned", 6)])

    given = {"prompt": ["a cat", "a dog"]} if name == "sd" else {"class_labels": [1, 2]}
    scheduler = model.scheduler(trial)
    model.pipeline.scheduler, scheduler.generator = scheduler, generators()
    handle = scheduler.take_variance_from(model.network)
    returned = model.pipeline(
        **given,
        guidance_scale=7.5 if name == "sd" else 1.5,
        num_inference_steps=2,
        generator=scheduler.generator,
        output_type="np",
    )[0]
    handle.remove()
    assert np.abs(ours.permute(0, 2, 3, 1).numpy() - returned).max() < SAME
    assert [look.nfe for look in looks] == [2, 3, 6]
    assert all(len(x0) == 2 for x0 in looks.values())


def test_prompts_go_round_and_a_table_is_left(here: Path, generate: Generate) -> None:
    code, out, err = generate("--prior", "sd", "--prompts", "prompts.txt", *QUICK, "--samples", "3", "-o", "r")
    assert code == 0, err
    assert "3 samples of sd" in out
    assert "guidance 7.5, prompts " in out
    assert "CLIP score: not available: CLIP's weights (openai/clip-vit-large-patch14) are not here" in out
    assert "FD-prior on the features of tiny." in out
    config = json.loads(Path("r/config.json").read_text())
    assert (config["image shape"], config["clip"], config["prior"]) == ([3, 16, 16], None, "sd")
    pictures = Results.open(Path("r")).pictures("generate")[1]["vanilla 4|returned|4"]
    assert pictures.shape == (3, 3, 16, 16)


def test_classes_are_asked_for_with_their_guidance(here: Path, generate: Generate) -> None:
    given = ("--prior", "dit", "--classes", "5,7", "--inner", "ddpm", *QUICK)
    code, out, err = generate(*given, "-o", "r")
    assert code == 0, err
    assert "inner ddpm, guidance 1.5, classes 5, 7, seed 0" in out
    assert json.loads(Path("r/config.json").read_text())["feature prior"] == "tiny"
    assert generate(*given, "--guidance", "4", "-o", "s")[0] == 0
    first, second = (Results.open(Path(name)).pictures("generate")[1] for name in ("r", "s"))
    assert not torch.equal(first["vanilla 4|returned|4"], second["vanilla 4|returned|4"])


def changed(folder: Path, name: str, file: str, **values: Any) -> None:
    """A pipeline like another, but for a setting."""
    source = folder / name
    target = Path("other")
    target.mkdir()
    for part in source.resolve().iterdir():
        (target / part.name).symlink_to(part)
    path = target / file
    told = json.loads(path.read_text()) | values
    if "/" in file:
        path.parent.unlink()
        path.parent.mkdir()
    else:
        path.unlink()
    path.write_text(json.dumps(told))


SCHEDULER = "scheduler/scheduler_config.json"


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("model_index.json", {"scheduler": None}, "its pipeline has no scheduler"),
        (
            "model_index.json",
            {"_class_name": "StableDiffusionImg2ImgPipeline"},
            "draws from text or classes alone",
        ),
        ("model_index.json", {"_class_name": "os"}, "a os is no pipeline of diffusers"),
        ("model_index.json", {"unet": ["diffusers", "Nothing"]}, "its pipeline cannot be loaded"),
        (SCHEDULER, {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "cannot be nested: flow matching"),
        (SCHEDULER, {"_class_name": "LCMScheduler"}, "cannot be nested: a consistency-distilled network"),
    ],
)
def test_pipelines_that_cannot_be_nested_are_one_line(
    here: Path, generate: Generate, file: str, values: dict[str, Any], message: str
) -> None:
    changed(here, "sd", file, **values)
    code, out, err = generate("--prior", "other", "--prompts", "prompts.txt", *QUICK, "-o", "r")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert message in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--prior", "sd"), "sd draws from text: give --prompts FILE, one a line"),
        (("--prior", "sd", "--prompts", "prompts.txt", "--classes", "1"), "--prompts FILE, not --classes"),
        (("--prior", "sd", "--prompts", "absent.txt"), "absent.txt: No such file"),
        (("--prior", "sd", "--prompts", "empty.txt"), "empty.txt: holds no prompt, one a line"),
        (
            ("--prior", "sd", "--prompts", "prompts.txt", "--clip", "absent"),
            "CLIP's weights (absent) are not here",
        ),
        (
            ("--prior", "sd", "--prompts", "prompts.txt", "--inner", "dpmsolver++2s", "--totals", "6"),
            "dpmsolver++2s takes its steps in pairs",
        ),
        (
            ("--prior", "sd", "--prompts", "prompts.txt", "--feature-prior", "faces-64"),
            "--feature-prior does not fit: images must have 3 channels and at least 64×64 pixels",
        ),
        (("--prior", "dit", "--prompts", "prompts.txt"), "dit draws from classes: --classes 207,360"),
        (("--prior", "dit", "--classes", "1000"), "--classes must be from 0 to 999: got 1000"),
        (("--prior", "dit", "--classes", "cat"), "--classes must be whole numbers, as 1,2,3: got 'cat'"),
        (
            ("--prior", "dit", "--guidance", "nan"),
            "--guidance must be a number of at least 1, which is none: got nan",
        ),
        (
            ("--prior", "dit", "--guidance", "0.5"),
            "--guidance must be a number of at least 1, which is none: got 0.5",
        ),
        (("--prior", "dit", "--clip", "absent"), "--clip is of text pipelines, and dit is none"),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    here: Path, generate: Generate, arguments: tuple[str, ...], message: str
) -> None:
    Path("empty.txt").write_text("\n")
    code, out, err = generate(*QUICK, *arguments, "-o", "r")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert message in err
    assert not Path("r").exists()


def test_a_hub_pipeline_without_safetensors_is_not_called_offline(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "model_index.json").write_text(
        '{"_class_name": "DiTPipeline", "vae": ["diffusers", "AutoencoderKL"]}'
    )
    monkeypatch.setattr(pipelines, "snapshot_download", lambda *_, **__: str(tmp_path))

    def bins_only(*_: object, **__: object) -> str:  # diffusers itself, of a repository of .bin files
        names = {"vae/diffusion_pytorch_model.bin"}
        _get_ignore_patterns([], ["vae"], names, True, False, False, False, False)  # type: ignore[arg-type]
        raise AssertionError("accepted")

    monkeypatch.setattr(pipelines.DiffusionPipeline, "download", bins_only)
    with pytest.raises(PriorError, match="a/b has no safetensors on the hub"):
        open_model("a/b", Conditions(), "cpu", "fp32")


def test_a_few_of_many_classes_are_told_with_their_number() -> None:
    assert _classes([1, 2]) == "classes 1, 2"
    assert _classes(range(20)) == "classes 0, 1, 2, 3, 4, 5, 6, 7, … (20)"
