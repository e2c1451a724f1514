"""What costs colour: the study's table, its blend of priors, and the objective of the twin that predicts ε."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.studies import colour, epsilon_twin
from benchmarks.studies.kills import write_pictures
from restoration.priors import load_prior
from solvers import NoiseSchedule


def test_the_table_has_a_line_a_setting_and_repeats(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pictures(workplace / "pictures", 2)
    monkeypatch.setattr(colour, "SETTINGS", (colour.Setting((3,)), colour.Setting((2, 1), 1.0)))
    told = []
    for _ in range(2):
        colour.main([Path("pictures")], "tiny", limit=2, share=1.0, other="tiny", precision="fp32", device="cpu")
        told.append(capsys.readouterr().out.splitlines())
    assert told[0][:-1] == told[1][:-1]  # the last one tells seconds
    assert [line.split("|")[1].strip() for line in told[0][2:-1]] == ["3", "2, 1"]
    assert 0 <= abs(float(told[0][3].split("|")[5])) <= 1


def test_a_blend_stands_between_its_priors(tiny_prior: Path) -> None:
    prior = load_prior(tiny_prior, "cpu")
    black = SimpleNamespace(name="black", denoise=lambda x_k, k: torch.full_like(x_k, -1.0))
    x: Any = torch.randn(1, *prior.image_shape, generator=torch.Generator().manual_seed(0))
    mixed = colour.Blend(prior, black, 0.25).denoise(x, 500)  # type: ignore[arg-type]
    assert torch.allclose(mixed, 0.25 * prior.denoise(x, 500) - 0.75)


def test_errors_of_one_hue_are_alike_and_opposite_ones_are_not() -> None:
    clean = torch.full((2, 3, 4, 4), 0.5)
    reddish = clean + torch.tensor([0.1, -0.05, -0.05]).view(1, 3, 1, 1)
    error = colour.mean_error(reddish, clean)
    assert error[0].tolist() == pytest.approx([0.1, -0.05, -0.05], abs=1e-6)  # float32 of 0.6
    assert colour.alike(error, 3 * error) == pytest.approx(1)
    assert colour.alike(error, -error) == pytest.approx(-1)


def test_the_twins_objective_is_the_error_of_the_noise() -> None:
    objective = epsilon_twin.EpsilonObjective(NoiseSchedule.linear(), 5.0, torch.device("cpu"))
    noise = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0, 999])

    def network(x: torch.Tensor, t: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=noise + 0.5)

    errors = objective.errors(network, torch.zeros_like(noise), t, noise)  # type: ignore[arg-type]
    assert errors.tolist() == pytest.approx([0.25, 0.25])
    assert objective.weight[0] < 0.01 < objective.weight[-1] == 1  # min-SNR-5: clean levels hardly count
