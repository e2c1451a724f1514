"""One picture's restoration as a program drives it: no files, no terminal."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from nested import NestedState
from restoration.commands.job import sampler_of
from restoration.commands.settings import EffortSettings, SamplerSettings, TileSettings
from restoration.events import Advanced, Event, Previewed, Restored
from restoration.pictures import images
from restoration.pictures.picture import whole
from restoration.priors import DiffusionPrior, load_prior
from restoration.priors.tiled import TILE_BATCH
from restoration.recipe import Recipe
from restoration.restorer import DEFAULT, Restorer
from restoration.session import Session
from restoration.tasks import Task, pose
from solvers import DDRM, record_of

SMALL = whole(torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)))
QUICK = EffortSettings((2, 2, 1), seed=3)


@pytest.fixture(scope="module")
def prior() -> DiffusionPrior:
    return load_prior("photos-64", "cpu")


def told(session: Session) -> list[Event]:
    events: list[Event] = []
    session.run(events.append)
    return events


def result(session: Session) -> Restored:
    *_, last = told(session)
    assert isinstance(last, Restored)
    return last


def test_every_evaluation_every_preview_and_last_the_result_are_told(prior: DiffusionPrior) -> None:
    events = told(Session(Recipe(Task("sr4"), prior, effort=QUICK), "a", SMALL, "0" * 64))
    A, P = Advanced, Previewed
    assert [type(event) for event in events] == [A, A, P, A, A, P, A, P, Restored]
    assert [event.nfe for event in events if isinstance(event, Advanced)] == [1, 2, 3, 4, 5]
    assert {(event.input, event.total_nfe) for event in events if not isinstance(event, Restored)} == {("a", 5)}
    waits = [event.next_preview_s for event in events if isinstance(event, Advanced)]
    assert all(wait is not None and wait > 0 for wait in waits[:4])
    assert waits[4] is None
    assert all(event.path is None and not event.scores for event in events if not isinstance(event, Advanced))


def test_the_result_is_the_restorers_bit_for_bit(prior: DiffusionPrior) -> None:
    recipe = Recipe(Task("sr4"), prior, DDRM.Settings(eta=0.5), QUICK)
    done = result(Session(recipe, "a", SMALL, "0" * 64))
    problem = pose(Task("sr4"), SMALL.pixels, prior.image_shape)
    plain = Restorer(prior, eta=0.5).restore(problem.measurement, allocation=(2, 2, 1), seeds=[3])
    assert done.outputs[-1].image.equal(problem.crop(plain.image)[0])
    assert (done.stopped_by, done.seeds) == ("finished", (3,))


def test_bytes_are_restored_to_bytes_without_a_file(prior: DiffusionPrior, tmp_path) -> None:
    """A record can be stored as it is: plain JSON that holds what decides the result."""
    images.write(tmp_path / "in.png", SMALL, {})
    picture = images.read_bytes((tmp_path / "in.png").read_bytes(), "upload")
    recipe = Recipe(Task("sr4"), prior, effort=QUICK)
    done = result(Session(recipe, "upload", picture, "ab" * 32))
    record = json.loads(json.dumps(dict(done.outputs[-1].record)))
    assert recipe.identity("ab" * 32).items() <= record.items()
    assert record["input_sha256"] == "ab" * 32
    assert (record["nfe"], record["stopped_by"], record["seeds"]) == (5, "finished", [3])
    assert record_of(DEFAULT).items() <= record.items()
    assert record["allocation"] == [2, 2, 1]


def test_a_watcher_stops_the_run_and_keeps_the_best_preview(prior: DiffusionPrior) -> None:
    events: list[Event] = []

    def watch(event: Event) -> bool:
        events.append(event)
        return event.nfe == 3 if isinstance(event, Advanced) else False

    Session(Recipe(Task("sr4"), prior, effort=QUICK), "a", SMALL, "0" * 64).run(watch)
    preview = next(event for event in events if isinstance(event, Previewed))
    done = events[-1]
    assert isinstance(done, Restored)
    assert (done.nfe, done.outer_step, done.complete, done.stopped_by) == (3, 1, True, "interrupt")
    assert done.outputs[-1].image.equal(preview.output.image)


def test_what_a_watcher_raises_ends_the_run(prior: DiffusionPrior) -> None:
    def watch(event: Event) -> bool:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        Session(Recipe(Task("sr4"), prior, effort=QUICK), "a", SMALL, "0" * 64).run(watch)


@pytest.mark.parametrize("vanilla", [False, True])
def test_every_state_that_is_told_leads_to_the_same_result(prior: DiffusionPrior, vanilla: bool) -> None:
    recipe = Recipe(Task("sr4"), prior, effort=dataclasses.replace(QUICK, vanilla=vanilla))
    events = told(Session(recipe, "a", SMALL, "0" * 64))
    whole = events[-1]
    assert isinstance(whole, Restored)
    for event in events:
        if isinstance(event, Advanced):
            resumed = result(Session(recipe, "a", SMALL, "0" * 64, state=event.state))
            assert resumed.outputs[-1].image.equal(whole.outputs[-1].image), event.nfe
            assert (resumed.nfe, resumed.seeds) == (5, (3,))


def newest_state(session: Session) -> NestedState:
    return [event.state for event in told(session) if isinstance(event, Advanced)][-1]


def test_the_state_of_another_run_is_refused_by_name(prior: DiffusionPrior) -> None:
    state = newest_state(Session(Recipe(Task("sr4"), prior, effort=QUICK), "a", SMALL, "0" * 64))
    other = Recipe(Task("sr4"), prior, DDRM.Settings(eta=0.1), QUICK)
    with pytest.raises(ValueError, match=r"^run\.state: this is the state of another run"):
        told(Session(other, "a", SMALL, "0" * 64, state, "run.state"))
    reseeded = Recipe(Task("sr4"), prior, effort=dataclasses.replace(QUICK, seed=4))
    with pytest.raises(ValueError, match=r"run\.state was begun with --seed 3"):
        Session(reseeded, "a", SMALL, "0" * 64, state, "run.state")


def test_a_drawn_seed_is_told_and_repeats_the_run(prior: DiffusionPrior) -> None:
    unseeded = Recipe(Task("inpaint", simulate=True), prior, effort=EffortSettings((1,)))
    picture = whole(torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1)))
    first = result(Session(unseeded, "a", picture, "0" * 64))
    assert "seeds" not in unseeded.identity("0" * 64)
    seeded = dataclasses.replace(unseeded, effort=EffortSettings((1,), seed=first.seeds[0]))
    again = result(Session(seeded, "a", picture, "0" * 64))
    assert again.outputs[-1].image.equal(first.outputs[-1].image)


def test_samples_come_with_their_spread_and_the_mean_last(prior: DiffusionPrior) -> None:
    recipe = Recipe(Task("sr4"), prior, effort=EffortSettings((1, 1), samples=2, seed=5))
    done = result(Session(recipe, "a", SMALL, "0" * 64))
    assert [output.suffix for output in done.outputs] == ["sample-1", "sample-2", "std", ""]
    one, two, std, mean = (output.image for output in done.outputs)
    assert done.seeds == (5, 6)
    assert mean.equal(torch.stack([one, two]).mean(dim=0))
    assert std.shape == (1, 64, 64)
    assert float(std.max()) == 1  # it is shown with white at its largest
    assert done.outputs[2].record["white_is"] > 0


def test_a_large_picture_is_noted_and_comes_back_in_its_size_with_scores(prior: DiffusionPrior) -> None:
    picture = whole(torch.rand(3, 70, 90, generator=torch.Generator().manual_seed(1)))
    recipe = Recipe(Task("inpaint", simulate=True), prior, effort=EffortSettings((1,), seed=1))
    session = Session(recipe, "a", picture, "0" * 64)
    assert session.notes == ("90×70 in 4 tiles of 64×64",)
    done = result(session)
    assert done.outputs[-1].image.shape == (3, 70, 90)
    assert done.scores.keys() == {"psnr", "ssim"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"effort": EffortSettings((2000,))}, "at most 1000"),
        ({"effort": EffortSettings((600, 400, 400), vanilla=True)}, "at most 1000"),
        ({"tiles": TileSettings(overlap=64)}, "overlap must be from 0 to 63"),
        ({"task": Task("sr7", fit=True)}, "factor must divide"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_before_any_picture(
    prior: DiffusionPrior, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Recipe(Task("sr4"), prior), **changes)


def test_defaults_of_the_settings_are_those_of_what_they_set() -> None:
    """They are written again, since the command's help does not wait for torch."""
    assert sampler_of(SamplerSettings()) == DEFAULT
    assert SamplerSettings().changed == {}
    assert TileSettings().batch == TILE_BATCH
