"""``restore-train``, as a user types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from restoration.commands.interrupt import Interrupt
from restoration.priors import load_prior
from restoration.training import command, trainer
from restoration.training.recipe import Progress, Recipe

Train = Callable[..., tuple[int, str]]
QUICK = ("--size", 16, "--crop", "--batch", 4, "--device", "cpu", "--precision", "fp32")


def test_it_trains_a_prior_that_loads_with_a_card_that_tells_how(photographs: Path, train: Train) -> None:
    (photographs / "00.png").write_bytes(b"damaged")
    code, told = train(photographs, *QUICK, "-o", "mine", "--steps", 12, "--data-licence", "My own.")
    assert code == 0
    assert "1 pictures are skipped, the first: 00.png: " in told
    assert "warning: 11 pictures are few" in told
    assert "images/s, loss" in told

    prior = load_prior("mine", "cpu")
    assert (prior.image_shape, prior.prediction, prior.schedule.K) == ((3, 16, 16), "v_prediction", 1000)
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert prior.denoise(x, 1000).isfinite().all()

    card, facts = Path("mine/README.md").read_text(), json.loads(Path("mine/training.json").read_text())
    assert "restore-train photographs --size 16 --crop --batch 4" in card
    assert str(photographs.parent) not in card + json.dumps(facts)  # names, never paths
    assert "My own." in card
    assert card.startswith("---\nlibrary_name: diffusers\nlicense: other\nlicense_name: My own.\n")
    assert "11 pictures (2 of them held out, 1 more skipped), as random 16 x 16 crops" in card
    assert "| 1000 | " in card
    assert (facts["steps"], facts["images"], facts["finished"]) == (12, 48, True)
    assert sorted(path.name for path in Path("mine/training").glob("step-*")) == ["step-00000012"]
    assert Path("mine/training/samples-00000012.png").is_file()

    code, told = train(photographs, *QUICK, "-o", "mine", "--steps", 12)
    assert (code, "is trained already" in told) == (0, True)


def test_training_lowers_the_loss(photographs: Path, train: Train) -> None:
    assert train(photographs, *QUICK, "-o", "mine", "--steps", 80, "--rate", 2e-3)[0] == 0
    losses = json.loads(Path("mine/training/step-00000080/progress.json").read_text())["losses"]
    assert len(losses) == 40
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])  # measured 0.38 to 0.52 for seeds 0 to 3


@pytest.mark.parametrize("when", ["after a checkpoint", "while one is written"])
def test_killed_it_goes_on_from_the_last_checkpoint(
    when: str, photographs: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    write = trainer.Trainer._write

    def die(self: trainer.Trainer, folder: Path) -> None:
        if self.progress.step == 4:
            if when == "while one is written":
                (folder / trainer.PROGRESS).write_text('{"step": ')
            raise Killed
        write(self, folder)

    ask = (photographs, *QUICK, "-o", "mine", "--steps", 6, "--checkpoint-minutes", 1e-6)
    monkeypatch.setattr(trainer.Trainer, "_write", die)
    with pytest.raises(Killed):
        train(*ask)
    assert [path.name for path in Path("mine/training").glob("step-*")] == ["step-00000002"]
    assert load_prior("mine", "cpu").image_shape == (3, 16, 16)  # usable from the first checkpoint on

    monkeypatch.setattr(trainer.Trainer, "_write", write)
    code, told = train(*ask)
    assert (code, "going on from step 2 " in told) == (0, True)
    assert [path.name for path in Path("mine/training").iterdir() if path.is_dir()] == ["step-00000006"]


def test_a_run_resumes_with_the_weights_the_average_and_the_optimizer_it_had(
    photographs: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[trainer.Trainer] = []
    initialise = trainer.Trainer.__init__

    def remember(self: trainer.Trainer, *args: object, **options: object) -> None:
        initialise(self, *args, **options)  # type: ignore[arg-type]
        made.append(self)

    monkeypatch.setattr(trainer.Trainer, "__init__", remember)
    train(photographs, *QUICK, "-o", "mine", "--steps", 4)
    monkeypatch.setattr(trainer.Trainer, "run", lambda *_: False)  # loaded, and nothing more
    assert train(photographs, *QUICK, "-o", "mine", "--steps", 20)[0] == 130
    before, after = made
    assert before.progress == after.progress
    for a, b in zip(before._network.parameters(), after._network.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(before.ema.shadow_params, after.ema.shadow_params, strict=True):
        assert torch.equal(a, b)
    moments = [run._optimizer.state_dict()["state"] for run in made]
    assert moments[0].keys() == moments[1].keys()
    assert all(torch.equal(moments[0][i]["exp_avg"], moments[1][i]["exp_avg"]) for i in moments[0])
    assert after.ema.optimization_step == before.ema.optimization_step == 4


def test_ctrl_c_keeps_a_checkpoint(photographs: Path, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    look = command.Display.advance

    def ask(self: command.Display, run: trainer.Trainer) -> None:
        look(self, run)
        interrupts[0].asked = True

    interrupts = [Interrupt()]
    monkeypatch.setattr(command, "Interrupt", lambda: interrupts[0])
    monkeypatch.setattr(command.Display, "advance", ask)
    code, told = train(photographs, *QUICK, "-o", "mine", "--steps", 500)
    assert code == 130
    assert "restore-train: interrupted" in told
    assert json.loads(Path("mine/training.json").read_text())["finished"] is False
    assert "Not finished" in Path("mine/README.md").read_text()
    assert list(Path("mine/training").glob("step-*"))


def test_it_starts_from_another_prior_of_another_size(photographs: Path, train: Train) -> None:
    train(photographs, *QUICK, "-o", "first", "--steps", 3)
    options = ("--size", 24, "--grey", "--batch", 4, "--device", "cpu", "--precision", "fp32")
    code, told = train(photographs, *options, "--init", "first", "-o", "second", "--steps", 3)
    assert code == 2
    assert "none of 12 pictures can be used: 00.png: 24 x 20 is smaller than --size 24" in told
    options = ("--size", 8, *options[2:])
    code, told = train(photographs, *options, "--init", "first", "-o", "second", "--steps", 3)
    assert code == 0
    assert load_prior("second", "cpu").image_shape == (1, 8, 8)
    card = Path("second/README.md").read_text()
    assert "From `first`" in card
    assert "before: `first`" in card


def test_another_runs_folder_is_left_as_it_is(photographs: Path, train: Train) -> None:
    train(photographs, *QUICK, "-o", "mine", "--steps", 3)
    kept = Path("mine/README.md").read_text()
    for changed, said in {
        ("--size", 8): "was begun with --size 16, not 8",
        ("--grey",): "was begun with --grey False, not True",
    }.items():
        code, told = train(photographs, *QUICK, *changed, "-o", "mine", "--steps", 9)
        assert (code, said in told) == (2, True), told
    (photographs / "00.png").unlink()
    code, told = train(photographs, *QUICK, "-o", "mine", "--steps", 9)
    assert (code, "was begun with pictures" in told) == (2, True), told
    assert Path("mine/README.md").read_text() == kept


def test_a_folder_that_is_no_run_is_not_written_over(photographs: Path, train: Train) -> None:
    Path("thesis/unet").mkdir(parents=True)
    Path("thesis/README.md").write_text("mine")
    code, told = train(photographs, *QUICK, "-o", "thesis", "--steps", 3)
    assert code == 2
    assert "thesis holds something else already; choose another -o" in told
    assert Path("thesis/README.md").read_text() == "mine"


def test_a_folder_with_a_training_of_its_own_is_not_written_over(photographs: Path, train: Train) -> None:
    Path("thesis/training").mkdir(parents=True)
    Path("thesis/README.md").write_text("mine")
    code, told = train(photographs, *QUICK, "-o", "thesis", "--steps", 3)
    assert (code, "holds something else already" in told) == (2, True)
    assert Path("thesis/README.md").read_text() == "mine"


def test_lengthened_and_killed_before_it_was_published_it_is_published_later(
    photographs: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(photographs, *QUICK, "-o", "mine", "--steps", 2)

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    publish = command.publish
    monkeypatch.setattr(command, "publish", die)
    with pytest.raises(Killed):
        train(photographs, *QUICK, "-o", "mine", "--steps", 4)
    monkeypatch.setattr(command, "publish", publish)
    assert train(photographs, *QUICK, "-o", "mine", "--steps", 4)[0] == 0
    assert json.loads(Path("mine/training.json").read_text())["steps"] == 4


def test_weights_that_are_no_numbers_never_replace_a_checkpoint(
    photographs: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(photographs, *QUICK, "-o", "mine", "--steps", 2)
    step = trainer.Trainer._step

    def spoil(self: trainer.Trainer, *arguments: object) -> object:
        loss = step(self, *arguments)  # type: ignore[arg-type]
        next(iter(self._network.parameters())).data.fill_(float("nan"))
        return loss

    monkeypatch.setattr(trainer.Trainer, "_step", spoil)
    code, told = train(photographs, *QUICK, "-o", "mine", "--steps", 3)
    assert (code, "repeat the command with a lower --rate" in told) == (2, True)
    assert [path.name for path in Path("mine/training").glob("step-*")] == ["step-00000002"]


@pytest.mark.parametrize("form", ["{}/", "--output={}"])
def test_a_card_has_names_however_paths_were_typed(form: str, photographs: Path, train: Train) -> None:
    target = photographs.parent / "mine"
    output = ("-o", form.format(target)) if "=" not in form else (form.format(target),)
    assert train(f"{photographs}/", *QUICK, *output, "--steps", 2)[0] == 0
    told = Path("mine/README.md").read_text() + Path("mine/training.json").read_text()
    assert str(photographs.parent) not in told
    assert "restore-train photographs " in told


def test_where_it_cannot_be_compiled_it_says_so(
    photographs: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no compiler\nand 100 lines more")

    monkeypatch.setattr(trainer.Trainer, "warm_up", fail)
    code, told = train(photographs, *QUICK, "-o", "mine", "--steps", 2, "--compile")
    assert (code, told.splitlines()[-1]) == (2, "restore-train: the network cannot be compiled here (no compiler)")


def test_a_damaged_checkpoint_is_told_in_one_line(photographs: Path, train: Train) -> None:
    train(photographs, *QUICK, "-o", "mine", "--steps", 3)
    file = Path("mine/training/step-00000003/average.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    code, told = train(photographs, *QUICK, "-o", "mine", "--steps", 9)
    assert code == 2
    assert "step-00000003 is damaged (" in told.splitlines()[-1]


def test_a_loss_that_is_no_number_ends_it_with_the_checkpoint_kept(photographs: Path, train: Train) -> None:
    train(photographs, *QUICK, "-o", "mine", "--steps", 3)
    code, told = train(photographs, *QUICK, "-o", "mine", "--steps", 2000, "--rate", 1e30)
    assert code == 2
    assert "repeat the command with a lower --rate" in told.splitlines()[-1]
    assert load_prior("mine", "cpu").denoise(torch.zeros(1, 3, 16, 16), 500).isfinite().all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--minutes", "1", "--steps", "5"), "--minutes and --steps are two ways"),
        (("--preset", "tiny", "--init", "faces-64"), "--init brings its network"),
        (("--preset", "huge"), "--preset must be one of tiny, small, base: got 'huge'"),
        (("--minutes", "0"), "--minutes must be above 0 and finite: got 0.0"),
        (("--minutes", "nan"), "--minutes must be above 0 and finite: got nan"),
        (("--rate", "inf"), "--rate must be above 0 and finite: got inf"),
        (("--batch", "0"), "--batch must be at least 1: got 0"),
        (("--workers", "-1"), "--workers must be at least 0: got -1"),
        (("--size", "20"), "--size must be a multiple of 8: got 20"),
        (("--precision", "int4"), "--precision must be one of auto, bf16, fp16, fp32: got 'int4'"),
        (("--seed", "99999999999999999999"), "--seed must be below"),
        (("--device", "gpu"), "device must be one this machine has: got 'gpu'"),
        (("--init", "nobody"), "prior 'nobody' is no file or folder"),
    ],
)
def test_bad_values_are_told_in_one_line(
    options: tuple[str, ...], said: str, photographs: Path, train: Train
) -> None:
    code, told = train(photographs, "-o", "mine", *options)
    assert code == 2
    assert said in told
    assert len(told.strip().splitlines()) == 1
    assert not Path("mine").exists()


def test_paths_that_are_missing_are_told_in_one_line(train: Train) -> None:
    code, told = train("nowhere", "-o", "mine")
    assert (code, told) == (2, "restore-train: nowhere: No such file or directory\n")
    code, told = train("-o", "mine")
    assert (code, "Missing argument 'DATA...'" in told) == (2, True)


def test_the_rate_rises_then_falls_along_a_cosine() -> None:
    recipe = Recipe(seconds=100.0, steps=None, batch=1, rate=1.0)
    at = [recipe.rate_at(Progress(seconds=seconds)) for seconds in (0, 1, 2, 50, 100)]
    assert at == pytest.approx([1e-3, 0.5, 0.999, 0.5, 1e-3], abs=1e-3)
    by_steps = Recipe(seconds=100.0, steps=10, batch=1, rate=1.0)
    assert by_steps.share(Progress(step=5, seconds=99.0)) == 0.5


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    photographs: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(photographs, *QUICK, "-o", "mine", "--steps", 3)

    def full(self: trainer.Trainer, folder: Path) -> None:
        raise SafetensorError("I/O error: No space left on device")  # as safetensors says it

    monkeypatch.setattr(trainer.Trainer, "_write", full)
    code, told = train(photographs, *QUICK, "-o", "mine", "--steps", 9)
    assert code == 2
    assert "step-00000009 cannot be written" in told
    assert [path.name for path in Path("mine/training").glob("step-*")] == ["step-00000003"]
