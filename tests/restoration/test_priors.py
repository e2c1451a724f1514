"""Priors: loading, prediction types, and the exact Gaussian."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file

from restoration.errors import PriorError
from restoration.priors import EMBEDDED, DiffusionPrior, GaussianPrior, load_prior
from restoration.priors.library.loading import WEIGHTS_FOLDER
from solvers import NoiseSchedule


def tiny() -> UNet2DModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UNet2DModel(
            sample_size=8,
            in_channels=1,
            out_channels=1,
            block_out_channels=(8, 8),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
        )


def folder(path: Path, **scheduler: object) -> Path:
    DDPMPipeline(tiny(), DDPMScheduler(**scheduler)).save_pretrained(path)
    return path


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_every_prediction_type_denoises_as_diffusers_own_scheduler(tmp_path: Path, prediction: str) -> None:
    prior = load_prior(folder(tmp_path / "p", prediction_type=prediction, clip_sample=False), "cpu")
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    for k in (1, 500, 1000):
        with torch.no_grad():
            output = prior.network(x, k - 1).sample
        scheduler = DDPMScheduler(prediction_type=prediction, clip_sample=False)
        theirs = scheduler.step(output, k - 1, x, generator=torch.Generator()).pred_original_sample
        # diffusers keeps its schedule in float32; at k = 1000, 1/√ᾱ = 157 magnifies that
        torch.testing.assert_close(prior.denoise(x, k), theirs, atol=2e-3, rtol=1e-4)


def test_the_schedule_comes_from_the_scheduler_configuration(tmp_path: Path) -> None:
    linear = load_prior(folder(tmp_path / "l", num_train_timesteps=100, beta_start=1e-3, beta_end=0.1), "cpu")
    assert linear.schedule.alpha_bars.equal(NoiseSchedule.linear(100, 1e-3, 0.1).alpha_bars)
    cosine = load_prior(folder(tmp_path / "c", beta_schedule="squaredcos_cap_v2"), "cpu")
    expected = NoiseSchedule.cosine().alpha_bars
    torch.testing.assert_close(cosine.schedule.alpha_bars, expected, atol=1e-6, rtol=1e-3)  # float32 cumprod


def test_weights_and_answers_survive_half_precision_storage(tmp_path: Path) -> None:
    path = folder(tmp_path / "p")
    weights = path / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(weights).items()}, weights)
    prior = load_prior(path, "cpu")
    assert prior.network.dtype == torch.float32
    half = load_prior(path, "cpu", torch.bfloat16)
    x = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    assert half.denoise(x, 1).dtype == torch.float32
    torch.testing.assert_close(half.denoise(x, 10), prior.denoise(x, 10), atol=0.02, rtol=0)  # bf16: 8 bits


def test_the_embedded_prior_is_there_documented_and_restores_what_it_was_trained_for() -> None:
    for name in EMBEDDED:
        prior = load_prior(name, "cpu")
        assert prior.name == name
        assert len(prior.weights_sha256) == 64
        files = [file for file in (WEIGHTS_FOLDER / name).rglob("*") if file.is_file()]
        assert sum(file.stat().st_size for file in files) <= 8e6
        card = (WEIGHTS_FOLDER / name / "README.md").read_text(encoding="utf-8")
        assert "research" in card.lower()
    prior = load_prior("faces-64", "cpu")
    grey = torch.zeros(1, 3, 64, 64)
    x = grey + 0.1 * torch.randn(grey.shape, generator=torch.Generator().manual_seed(0))
    k = int((prior.schedule.sigma(range(1001)) < 0.1).sum())
    alpha_bar = prior.schedule.alpha_bar(k)
    denoised = prior.denoise(math.sqrt(alpha_bar) * x, k)
    assert float((denoised - grey).pow(2).mean()) < 0.1 * 0.1**2  # at least 10 dB of the noise is gone


def test_the_fingerprint_follows_weights_and_configuration(tmp_path: Path) -> None:
    first = load_prior(folder(tmp_path / "a"), "cpu")
    same = load_prior(folder(tmp_path / "b"), "cpu")
    other = load_prior(folder(tmp_path / "c", prediction_type="sample"), "cpu")
    assert first.fingerprint() == same.fingerprint() != other.fingerprint()


def test_a_schedule_without_any_signal_at_its_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PriorError, match="stay above 0"):
        load_prior(folder(tmp_path / "p", rescale_betas_zero_snr=True), "cpu")


def test_priors_that_answer_differently_have_different_fingerprints() -> None:
    network, schedule = tiny(), NoiseSchedule.linear()
    priors = [DiffusionPrior(network, schedule, "epsilon"), DiffusionPrior(network, schedule, "sample")]
    priors.append(DiffusionPrior(tiny().to(torch.bfloat16), schedule, "epsilon"))
    other = tiny()
    with torch.no_grad():
        other.conv_in.bias += 1
    priors.append(DiffusionPrior(other, schedule, "epsilon"))
    assert len({prior.fingerprint() for prior in priors}) == 4
    assert DiffusionPrior(tiny(), schedule, "epsilon").fingerprint() == priors[0].fingerprint()


def edit(path: Path, **changes: object) -> None:
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | changes))


def instead(path: Path) -> Path:
    """The place of a file that is gone."""
    path.unlink()
    return path


def retyped(folder: Path, dtype: torch.dtype) -> None:
    """One tensor stored in another type."""
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_in.weight"] = weights["conv_in.weight"].to(dtype)
    save_file(weights, file, {"format": "pt"})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_tensor_of_another_precision_is_cast(tmp_path: Path, dtype: torch.dtype) -> None:
    path = folder(tmp_path / "p")
    retyped(path, dtype)
    prior = load_prior(path, "cpu")
    assert {parameter.dtype for parameter in prior.network.parameters()} == {torch.float32}
    assert bool(prior.denoise(torch.zeros(1, *prior.image_shape), 5).isfinite().all())


class Payload:
    """What a hostile checkpoint would run."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return (Path.touch, (self.proof,))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: shutil.rmtree(p / "unet"), "config.json is missing"),
        (lambda p: shutil.rmtree(p / "scheduler"), "scheduler_config.json is missing"),
        (lambda p: (p / "unet" / "config.json").write_text("{"), "cannot be read as JSON"),
        (lambda p: (p / "unet" / "config.json").write_text("[]"), "must hold a JSON object"),
        (lambda p: edit(p / "unet" / "config.json", _class_name="UNet2DConditionModel"), "UNet2DConditionModel"),
        (
            lambda p: edit(p / "unet" / "config.json", block_out_channels=[8, 16]),
            "network cannot be loaded|weights do",
        ),
        (
            lambda p: edit(p / "scheduler" / "scheduler_config.json", prediction_type="flow"),
            "prediction_type 'flow'",
        ),
        (lambda p: edit(p / "scheduler" / "scheduler_config.json", beta_schedule="odd"), "noise schedule is not"),
        (lambda p: edit(p / "scheduler" / "scheduler_config.json", num_train_timesteps=10**9), "from 1 to"),
        (lambda p: edit(p / "unet" / "config.json", _class_name=["a"]), "only UNet2DModel"),
        (lambda p: edit(p / "unet" / "config.json", sample_size="8"), "sample_size must be"),
        (lambda p: edit(p / "unet" / "config.json", sample_size=[8]), "sample_size must be"),
        (lambda p: edit(p / "unet" / "config.json", sample_size=7), "multiple of 2"),
        (lambda p: edit(p / "scheduler" / "scheduler_config.json", beta_end="x"), "noise schedule is not"),
        (
            lambda p: edit(p / "unet" / "config.json", layers_per_block=1_000_000),
            "layers_per_block must be at most",
        ),
        (lambda p: edit(p / "unet" / "config.json", block_out_channels=[8] * 40), "has a list of 40"),
        (
            lambda p: edit(p / "unet" / "config.json", mid_block_scale_factor=[]),
            "mid_block_scale_factor must be like 1",
        ),
        (lambda p: edit(p / "unet" / "config.json", num_class_embeds=10**12), "num_class_embeds must be at most"),
        (lambda p: instead(p / "unet" / "config.json").symlink_to("/dev/zero"), "not a regular file"),
        (lambda p: os.mkfifo(instead(p / "unet" / "config.json")), "not a regular file"),
        (lambda p: (p / "unet" / "config.json").write_text("[" * 100_000), "cannot be read as JSON"),
        (lambda p: retyped(p, torch.complex64), r"conv_in.weight is C64; weights must be F64"),
        (lambda p: retyped(p, torch.int32), r"conv_in.weight is I32"),
        (lambda p: (p / "unet" / "diffusion_pytorch_model.safetensors").unlink(), "safetensors is missing"),
        (
            lambda p: (p / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\x10" + bytes(99)),
            "cannot be loaded",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_folders_that_cannot_be_used_are_told_in_one_line(tmp_path: Path, spoil, message: str) -> None:
    path = folder(tmp_path / "p")
    spoil(path)
    with pytest.raises(PriorError, match=message) as caught:
        load_prior(path, "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("change", ["missing", "extra", "nan"])
def test_weights_that_do_not_fit_are_never_loaded_silently(tmp_path: Path, change: str) -> None:
    path = folder(tmp_path / "p")
    file = path / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    if change == "missing":
        del weights["conv_in.weight"]
    elif change == "extra":
        weights["conv_in.other"] = torch.zeros(1)
    else:
        weights["conv_in.weight"] = weights["conv_in.weight"] * float("nan")
    save_file(weights, file)
    with pytest.raises(PriorError, match=r"weights do not fit|NaN"):
        load_prior(path, "cpu")


def test_a_pickle_in_a_folder_does_not_run(tmp_path: Path) -> None:
    path, proof = folder(tmp_path / "p"), tmp_path / "proof"
    (path / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (path / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Payload(proof)))
    with pytest.raises(PriorError, match="network cannot be loaded") as caught:
        load_prior(path, "cpu")
    assert "\n" not in str(caught.value)
    assert not proof.exists()


def test_flat_folders_and_bin_weights_load_as_the_first_ones_on_the_hub(tmp_path: Path) -> None:
    path, flat = folder(tmp_path / "p"), tmp_path / "flat"
    flat.mkdir()
    shutil.copy(path / "unet" / "config.json", flat)
    shutil.copy(path / "scheduler" / "scheduler_config.json", flat)
    weights = load_file(path / "unet" / "diffusion_pytorch_model.safetensors")
    torch.save(weights, flat / "diffusion_pytorch_model.bin")
    x = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    assert load_prior(flat, "cpu").denoise(x, 9).equal(load_prior(path, "cpu").denoise(x, 9))


def test_latent_pipelines_are_refused_by_name(tmp_path: Path) -> None:
    path = folder(tmp_path / "p")
    index = {"_class_name": "LDMPipeline", "vqvae": ["diffusers", "VQModel"], "unet": ["diffusers", "UNet2DModel"]}
    (path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(PriorError, match="LDMPipeline works on latents"):
        load_prior(path, "cpu")


def test_unknown_names_are_told_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(PriorError, match="faces-64"):
        load_prior("faces-65")
    with pytest.raises(PriorError, match="is no file or folder"):
        load_prior(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="device must be one this machine has"):
        load_prior("faces-64", "abacus")


def test_prediction_types_are_checked() -> None:
    with pytest.raises(ValueError, match="prediction must be one of"):
        DiffusionPrior(tiny(), NoiseSchedule.linear(), "flow")  # type: ignore[arg-type]


def test_the_gaussian_posterior_mean_is_exact() -> None:
    a = torch.randn(8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    covariance, mean = a @ a.T / 8, torch.linspace(-1, 1, 8, dtype=torch.float64).reshape(2, 2, 2)
    prior = GaussianPrior(mean, covariance)
    x = torch.randn(3, 2, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for k in (1, 300, 1000):
        ab = prior.schedule.alpha_bar(k)
        gain = (
            math.sqrt(ab)
            * covariance
            @ torch.linalg.inv(ab * covariance + (1 - ab) * torch.eye(8, dtype=torch.float64))
        )
        expected = mean.flatten() + (x.flatten(1) - math.sqrt(ab) * mean.flatten()) @ gain.T
        torch.testing.assert_close(prior.denoise(x, k).flatten(1), expected, atol=1e-9, rtol=0)
    assert prior.denoise(x.float(), 5).dtype == torch.float32


@pytest.mark.parametrize(
    ("mean", "covariance", "message"),
    [
        (torch.zeros(4), torch.eye(4), r"mean must be \(C, H, W\)"),
        (torch.zeros(1, 2, 2), torch.eye(3), r"covariance must be \(4, 4\)"),
        (
            torch.zeros(1, 2, 2),
            torch.tensor([[1.0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
            "symmetric",
        ),
        (torch.zeros(1, 2, 2), -torch.eye(4), "semi-definite"),
    ],
)
def test_a_matrix_that_is_no_covariance_is_refused(mean, covariance, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GaussianPrior(mean, covariance)


def test_a_prior_knows_its_error_by_level(tmp_path: Path) -> None:
    """Twice what ``restore-train`` tells in [0, 1] units, geometric between levels; None where nothing is told."""
    path = folder(tmp_path)
    assert DiffusionPrior.from_folder(path, "x").rmse(10) is None
    (path / "training.json").write_text(json.dumps({"by_level": {"100": [0.1, 0.04], "1": [0.9, 0.01]}}))
    prior = DiffusionPrior.from_folder(path, "x")
    found = [prior.rmse(k) for k in (1, 10, 100, 1000)]
    assert found == pytest.approx([0.02, 0.04, 0.08, 0.08])  # float64


@pytest.mark.parametrize(
    "table", [[1, 2], {"1": 0.5}, {"one": [0.1, 0.2]}, {"1": [0.1, 0.0]}, {"0": [0.1, 0.2]}, {"1": [0.1, "x"]}]
)
def test_a_damaged_table_of_errors_is_refused_in_one_line(tmp_path: Path, table: object) -> None:
    path = folder(tmp_path)
    (path / "training.json").write_text(json.dumps({"by_level": table}))
    with pytest.raises(PriorError, match=r"training\.json: by_level (is no table|must have levels)") as told:
        DiffusionPrior.from_folder(path, "x")
    assert "\n" not in str(told.value)


def test_the_embedded_priors_know_their_error() -> None:
    for name in EMBEDDED:
        prior = load_prior(name, device="cpu")
        errors = [prior.rmse(k) for k in (1, 100, 500, 1000)]
        assert all(error is not None and 0 < error < 1 for error in errors)
        assert errors == sorted(errors, key=float)  # type: ignore[arg-type]  # it grows with the noise
