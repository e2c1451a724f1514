"""``restore-bench generate`` with a prior: tables, samples, resuming, and what the user can mend."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline, UNet2DModel

from benchmarks.commands import cli
from benchmarks.commands.generate import trials
from benchmarks.engine import campaign
from benchmarks.engine.curve import area
from benchmarks.engine.results import Results
from benchmarks.engine.trials import Look
from benchmarks.generation.drawing import ImageRequest, PriorModel, SolverTrial, follow
from benchmarks.generation.reference import FILE, measure_reference
from benchmarks.metrics.frechet import frechet_distance
from benchmarks.metrics.prior_features import PriorFeatures
from benchmarks.metrics.statistics import Statistics
from benchmarks.report.reading import read
from benchmarks.report.tables import areas
from benchmarks.studies.kills import write_pictures
from restoration.commands import console
from restoration.errors import OutputError
from restoration.priors import DiffusionPrior, load_prior
from restoration.tasks import derived_seed
from solvers import NoiseSchedule

Generate = Callable[..., tuple[int, str, str]]
QUICK = ("--prior", "tiny", "--samples", "4", "--batch", "2", "--totals", "10", "--splits", "5")
# float32 of a network in another batch, on images in [0, 1]
ROUNDING = 1e-5


def generators(names: list[str], seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(derived_seed(seed, name)) for name in names]


@pytest.fixture
def model(generate: Generate) -> PriorModel:
    return PriorModel(load_prior("tiny", "cpu"))


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_tables_curves_and_samples_are_left(generate: Generate, monkeypatch, capsys) -> None:
    code, out, err = generate(*QUICK, "--dpm", "10", "-o", "r")
    assert code == 0, err
    assert out == Path("r/generate.md").read_text()
    assert "| evaluations | FD-prior | 20 % | 40 % | 60 % | 80 % | 100 % |" in out
    assert out.count("| 10 | nested 5x2 |") == 1
    assert out.count("| 10 | dpm++ nested 5x2 |") == 1
    assert "| evaluations | outer | inner | area ↓ | FD-prior at the end |" in out
    assert "4 samples of tiny" in out
    assert "against 4 pictures of pictures; inner ddim with η 0.85, seed 0 with names" in out
    assert "FD-prior of fewer than 2,048 pictures is unreliable" in out
    assert "FID: not available: Inception's weights cannot be downloaded here" in out
    monkeypatch.setattr(sys, "argv", ["restore-bench", "report", "r"])
    with pytest.raises(SystemExit) as stop:
        console.main("restore-bench", cli.app)
    assert stop.value.code == 0
    page = Path("r/report.html").read_text()
    assert page.count("<img") == 4 * 4 * 5  # all four samples of four runs at five shares
    assert 'alt="sample-00003: nested 5x2 after 8 evaluations"' in page
    shared = ["generate", "--device", "cpu", "--data", "pictures"]
    argv = json.loads(Path("r/asked.json").read_text())["argv"]
    assert argv == ["restore-bench", *shared, *QUICK, "--dpm", "10", "-o", "r"]
    assert "restore-bench generate \\\n    --device cpu" in page
    assert "--dpm 10 \\\n    -o r" in page


def test_numbers_are_the_distances_of_the_stored_features_to_the_real_pictures(
    generate: Generate, model: PriorModel
) -> None:
    out = generate(*QUICK, "-o", "r")[1]
    results = Results.open(Path("r"))
    real, _ = measure_reference(
        [Path("pictures")], PriorFeatures(model.prior), model.image_shape, limit=None, fit=False, batch=2
    )
    assert torch.equal(Statistics.load(Path("r") / FILE).mean, real.mean)

    def distance(run: str, nfe: int) -> float:
        found = Statistics(real.space)
        key = Look(run, "returned", nfe).key
        found.update(torch.cat([results.features("generate", index, key) for index in (0, 1)]))
        return frechet_distance(found, real).value

    rows = {line.split(" | ")[1]: line.split(" | ")[2:] for line in out.splitlines() if line.startswith("| 10 | ")}
    for i, nfe in enumerate((2, 4, 6, 8, 10)):
        vanilla, nested = distance("vanilla 10", nfe), distance("nested 5x2", nfe)
        # three digits are told
        assert float(rows["vanilla 10"][i].rstrip(" |")) == pytest.approx(vanilla, rel=5e-3)
        number, _, difference = rows["nested 5x2"][i].rstrip(" |").partition(" ")
        assert float(number) == pytest.approx(nested, rel=5e-3)
        assert float(difference.strip("()")) == pytest.approx(nested - vanilla, rel=6e-3)
    points = list(range(1, 11))
    curve = [distance("nested 5x2", nfe) for nfe in points]
    # two digits after the point are told
    assert float(rows["5"][1].strip("*")) == pytest.approx(area(points, curve), abs=6e-3)


def test_stopping_returns_the_newest_end_of_an_inner_run(model: PriorModel) -> None:
    trial = trials((10,), (5,), "ddim", 0.85)[1]
    looks = list(follow(model, trial, [ImageRequest("a")], generators(["a"])).values())
    assert len(looks) == 10
    for before, after in ((2, 3), (4, 5), (6, 7), (8, 9)):  # evaluations
        assert looks[before - 1] is looks[after - 1]
        assert not looks[before - 2].equal(looks[before - 1])


def test_vanilla_is_diffusers_pipeline_with_the_same_scheduler(model: PriorModel) -> None:
    trial = SolverTrial("vanilla 6", (6,), (6,), eta=0.85)
    names = ["a", "b"]
    x0 = follow(model, trial, [ImageRequest(name) for name in names], generators(names))[
        Look("vanilla 6", "returned", 6)
    ]
    pipeline = DDPMPipeline(model.prior.network, model.scheduler(trial))
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(2, generators(names), num_inference_steps=1, output_type="np").images
    ours = model.decode(x0).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    # one batch of the same network: only (x + 1) / 2 and x / 2 + 0.5 round apart
    assert abs(ours - expected).max() < 1e-6


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("inner", ["ddim", "ddpm"])
def test_estimates_are_the_priors_whatever_its_network_predicts(prediction, inner: str) -> None:
    torch.manual_seed(0)
    learned = 2 if inner == "ddpm" else 1  # twice the channels: a variance, too
    network = UNet2DModel(
        sample_size=8,
        out_channels=3 * learned,
        block_out_channels=(8,),
        layers_per_block=1,
        norm_num_groups=2,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        attention_head_dim=8,
    )
    prior = DiffusionPrior(network.eval(), NoiseSchedule.cosine(100), prediction)
    trial = SolverTrial("vanilla 3", (3,), (1, 3), inner=inner)
    looks = follow(PriorModel(prior), trial, [ImageRequest("a")], generators(["a"]))
    x = torch.randn(1, 3, 8, 8, generator=generators(["a"])[0])
    expected = prior.denoise(x, 100)
    # the cosine schedule ends with 1 − β = 0.001: the scheduler's float32 has it to 6e-5, and divides by its root
    scale = float(expected.abs().max())
    assert (looks[Look("vanilla 3", "returned", 1)] - expected).abs().max() < 1e-3 * scale
    assert bool(looks[Look("vanilla 3", "returned", 3)].isfinite().all())


def test_a_sample_is_the_same_in_any_batch(generate: Generate) -> None:
    assert generate(*QUICK, "-o", "two")[0] == 0
    assert generate(*QUICK, "--batch", "3", "-o", "three")[0] == 0
    two, three = (Results.open(Path(name)).pictures("generate")[1] for name in ("two", "three"))
    assert two.keys() == three.keys()
    for key, pictures in two.items():
        # a value between two of the 256 may round either way
        assert (pictures.int() - three[key].int()).abs().max() <= 1
    assert not torch.equal(two["vanilla 10|returned|10"][0], two["vanilla 10|returned|10"][1])


def test_a_killed_command_goes_on_to_what_an_undisturbed_one_finds(generate: Generate, monkeypatch) -> None:
    whole = generate(*QUICK, "-o", "whole")[1]
    store = Results.write

    def die(self: Results, task: str, index: int, chunk: object) -> None:
        if index:
            raise OutputError("the disk is full")
        store(self, task, index, chunk)  # type: ignore[arg-type]

    monkeypatch.setattr(campaign.Results, "write", die)
    assert generate(*QUICK, "-o", "killed")[0] == 2
    first = Path("killed/generate/00000.json").read_bytes()
    monkeypatch.setattr(campaign.Results, "write", store)
    code, out, err = generate(*QUICK, "-o", "killed")
    assert (code, out) == (0, whole)
    assert "2 of 4 samples are there already" in err
    assert Path("killed/generate/00000.json").read_bytes() == first
    code, out, _ = generate(*QUICK, "--samples", "6", "-o", "killed")
    assert (code, "6 samples of tiny" in out) == (0, True)


def test_reference_statistics_stand_for_the_pictures(generate: Generate, monkeypatch) -> None:
    given = ("--reference-stats", "real.safetensors")
    assert generate(*QUICK, *given, "-o", "a")[0] == 0
    before = Path("a/generate.md").read_text()
    shutil.rmtree("pictures")
    code, out, err = generate(*QUICK, *given, "-o", "a")  # the same command goes on, whatever it has written
    assert (code, "4 of 4 samples are there already" in err) == (0, True)
    note = "the real pictures' statistics are those of real.safetensors.\n"
    assert out.replace(note, "") == before
    shutil.copy("real.safetensors", "faces.safetensors")
    monkeypatch.setattr(sys, "argv", ["restore-bench", "generate", *QUICK, "--device", "cpu", "-o", "b"])
    sys.argv += ["--reference-stats", "faces.safetensors"]
    with pytest.raises(SystemExit) as stop:
        console.main("restore-bench", cli.app)
    assert stop.value.code == 0
    out = Path("b/generate.md").read_text()
    assert "against 4 pictures of faces.safetensors" in out
    assert out.splitlines()[:9] == before.splitlines()[:9]  # both tables
    assert Results.open(Path("b")).argv()[-2:] == ("--reference-stats", "faces.safetensors")


def test_unreadable_pictures_are_left_out_and_said(generate: Generate) -> None:
    Path("pictures/bad.png").write_bytes(b"nothing")
    _, out, _ = generate(*QUICK, "-o", "r")
    assert "against 4 pictures of pictures" in out
    assert "left out of the reference: bad.png" in out


def test_smaller_pictures_are_enlarged_and_not_left_out(generate: Generate) -> None:
    shutil.rmtree("pictures")
    write_pictures(Path("pictures"), 3, 12)
    for i in range(12):
        Path(f"pictures/bad{i:02d}.png").write_bytes(b"nothing")
    code, out, err = generate(*QUICK, "--fit", "-o", "r")
    assert code == 0, err
    assert "against 3 pictures of pictures" in out
    assert "3 of the reference were smaller and were enlarged, first 00.png." in out
    assert out.count("left out of the reference: bad") == 8
    assert "left out of the reference: 4 more." in out


def test_statistics_of_too_few_are_refused_before_anything_is_drawn(generate: Generate, model: PriorModel) -> None:
    space = PriorFeatures(model.prior).space
    few = Statistics(space)
    few.update(torch.zeros(1, space.dim))
    few.save(Path("few.safetensors"))
    code, out, err = generate(*QUICK, "--reference-stats", "few.safetensors", "-o", "r")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "few.safetensors: a covariance needs 2 images or more" in err
    assert not Path("r").exists()


def test_areas_of_other_totals_are_not_compared(generate: Generate) -> None:
    assert generate(*QUICK, "--totals", "4,6", "--splits", "2", "-o", "r")[0] == 0
    lines = [line.split(" | ") for line in Path("r/generate.md").read_text().splitlines()]
    for total in ("4", "6"):
        cells = [line[3] for line in lines if line[0] == f"| {total}" and line[1] in ("1", "2")]
        best = min(cells, key=lambda cell: float(cell.strip("*")))
        assert [cell for cell in cells if "**" in cell] == [best]
    table = areas(read(Path("r")).summaries)
    assert "generate, FD-prior, 4 evaluations" in table
    assert table.count('class="best"') == 2


def test_one_outer_step_and_vanilla_are_the_same_run() -> None:
    assert [trial.name for trial in trials((12,), (1, 3), "ddim", 0.85, (6,))] == [
        "vanilla 12", "nested 3x4", "dpm++ vanilla 6", "dpm++ nested 3x2",
    ]  # fmt: skip
    (only,) = trials((60,), (1,), "ddim", 0.85)
    assert only.stops == (5, 10, 12, 15, 20, 24, 25, 30, 35, 36, 40, 45, 48, 50, 55, 60)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--splits", "3"), "--splits must divide every total: got 3 for 10"),
        (("--dpm", "12"), "--splits must divide every total: got 5 for 12"),
        (("--splits", "0"), "--totals, --splits and --dpm must be at least 1"),
        (("--totals", "x"), "--totals must be whole numbers, as 1,2,3: got 'x'"),
        (("--totals", "5000"), "at most 1000 steps"),
        (("--inner", "euler"), "--inner must be one of ddim, ddpm, dpmsolver++2s: got 'euler'"),
        (("--eta", "2"), "inner_eta must be from 0 to 1"),
        (("--samples", "1"), "--samples must be at least 2, for a distance: got 1"),
        (("--batch", "0"), "--batch must be at least 1 and --limit 2"),
        (("--limit", "1"), "--batch must be at least 1 and --limit 2"),
        (("--prior", "absent"), "'absent' is no file or folder"),
        (("--prior", "no/where"), "no/where is no file or folder here, and cannot be fetched from the hub"),
        (("--prompts", "pictures/00.png"), "pictures/00.png: is no text in UTF-8"),
        (("--prompts", "absent.txt"), "absent.txt: No such file"),
        (("--classes", "1"), "--prompts, --classes and --guidance are of pipelines, and tiny is a prior"),
        (("--clip", "absent"), "--clip is of text pipelines, and tiny is none"),
        (("--fid-weights", "absent.pth"), "absent.pth: no such file"),
        (("--reference-stats", "pictures/00.png"), "00.png: is damaged or no safetensors file"),
        (("--data", "nowhere"), "nowhere"),
        (("--precision", "fp8"), "fp8"),
    ],
)
def test_what_the_user_can_mend_is_one_line(generate: Generate, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = generate(*QUICK, "-o", "r", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert message in err
    assert not Path("r").exists()


def test_other_configurations_other_sizes_and_no_reference_are_one_line(generate: Generate, capsys) -> None:
    assert generate(*QUICK, "-o", "r")[0] == 0
    code, _, err = generate(*QUICK, "--seed", "1", "-o", "r")
    assert (code, err.count("\n"), "another configuration (seed: 0 there, 1 asked for)" in err) == (2, 1, True)
    assert json.loads(Path("r/config.json").read_text())["seed"] == 0
    code, _, err = generate("--prior", "faces-64", "-o", "s")
    assert (code, err.count("\n"), "this prior makes 64×64; --fit" in err) == (2, 1, True)
    with pytest.raises(ValueError, match=r"--data FOLDER.TAR of real pictures is needed"):
        cli.app(["generate", "--prior", "tiny", "-o", "t"], standalone_mode=False)
