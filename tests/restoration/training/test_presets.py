"""Networks to train."""

from __future__ import annotations

import copy

import pytest
import torch

from restoration.errors import PriorError
from restoration.priors import DiffusionPrior
from restoration.training import presets
from solvers import NoiseSchedule

SIZES = {"tiny": (3e6, 4e6), "small": (7e6, 8e6), "base": (34e6, 37e6)}


@pytest.mark.parametrize(("name", "limits"), SIZES.items())
def test_a_preset_has_the_parameters_it_is_described_with(
    name: str, limits: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the small network of the other tests
    with torch.device("meta"):
        network = presets.from_preset(name, 64, 3)
    assert limits[0] < sum(weights.numel() for weights in network.parameters()) <= limits[1]


@pytest.mark.parametrize("size", [0, 12, 20])
def test_a_size_it_cannot_halve_three_times_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"--size must be a multiple of 8: got {size}"):
        presets.from_preset("tiny", size, 3)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="--preset must be one of tiny, small, base: got 'huge'"):
        presets.from_preset("huge", 64, 3)


def _prior(channels: int = 3, class_label: int | None = None, **config: object) -> DiffusionPrior:
    torch.manual_seed(0)
    network = presets.from_preset("tiny", 16, channels)
    if config:
        network = type(network)(**{**network.config, **config})
    return DiffusionPrior(network.eval(), NoiseSchedule.linear(), "v_prediction", "test", class_label=class_label)


def test_a_prior_goes_on_at_another_size_with_the_same_answers() -> None:
    prior = _prior()
    network = presets.from_prior(prior, 24, 3)
    x = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    assert network.config.sample_size == 24
    assert network.training
    assert all(weights.requires_grad for weights in network.parameters())
    assert torch.equal(network.eval()(x, 5).sample, prior.network(x, 5).sample)


def test_between_colour_and_grey_a_grey_picture_is_seen_as_before() -> None:
    colour = _prior(3)
    grey = presets.from_prior(colour, 16, 1).eval()
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    wanted = colour.network(x.expand(-1, 3, -1, -1), 5).sample.mean(1, keepdim=True)
    torch.testing.assert_close(grey(x, 5).sample, wanted, atol=1e-5, rtol=0)  # float32, other order of sums

    back = presets.from_prior(DiffusionPrior(grey, NoiseSchedule.linear(), "v_prediction"), 16, 3).eval()
    torch.testing.assert_close(
        back(x.expand(-1, 3, -1, -1), 5).sample, wanted.expand(-1, 3, -1, -1), atol=1e-5, rtol=0
    )


def test_the_prior_it_started_from_is_not_touched() -> None:
    prior = _prior()
    before = copy.deepcopy(prior.network.state_dict())
    network = presets.from_prior(prior, 24, 3)
    for weights in network.parameters():
        weights.data.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in prior.network.state_dict().items())


def test_what_cannot_be_gone_on_with_is_refused() -> None:
    with pytest.raises(PriorError, match="learned variance"):
        presets.from_prior(_prior(out_channels=6), 16, 3)
    with pytest.raises(PriorError, match="class-conditional"):
        presets.from_prior(_prior(num_class_embeds=4, class_label=0), 16, 3)
    with pytest.raises(ValueError, match="--size must be a multiple of 8: got 20"):
        presets.from_prior(_prior(), 20, 3)
