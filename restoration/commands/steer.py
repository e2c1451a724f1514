"""``restore --candidates``: several candidates at every preview, and somebody who chooses."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nested import NestedDiffusion, NestedState
from nested.record import Choice
from restoration.commands.delivery import Delivery, StateFile
from restoration.commands.settings import SteeringSettings
from restoration.editing import EditFile
from restoration.errors import ImageError, OutputError, RestorationError
from restoration.events import Advanced, Noted, Offered, Restored
from restoration.pictures import images, outputs
from restoration.pictures.names import stem_of
from restoration.pictures.picture import whole
from restoration.pictures.sheet import numbered
from restoration.restorer import Preview, Restoration, StoppedBy
from restoration.session import Session, Watch
from restoration.steering import Steered, begun

ASKED = "which? 2, or several: 1,3; 2 edit FILE, 2 trust FILE; back; stop"

Choices = tuple[tuple[int, ...], ...]


class Steering:
    """One picture's restoration between its candidates and who chooses; runs as a ``Session`` does.

    Args:
        session: of one sample; its problem, record and events are used.
        settings: with ``candidates``.
        delivery: where sheets go.
        state: where a stored run stands; None begins.
        stored: the file it is in.
        ask: shows a question and gives the answer, None where there is nobody.
        overwrite: sheets that are not ours may be replaced.

    Raises:
        ValueError: the state is another run's.
    """

    def __init__(
        self,
        session: Session,
        settings: SteeringSettings,
        delivery: Delivery,
        state: NestedState | None,
        stored: StateFile | None,
        ask: Callable[[str], str | None],
        *,
        overwrite: bool = False,
    ) -> None:
        assert settings.candidates is not None
        self.session, self.settings, self.delivery = session, settings, delivery
        self.stored, self.ask, self.overwrite = stored, ask, overwrite
        self.candidates = settings.candidates
        self.name = "the state" if stored is None else str(stored.path)
        self.node = self._begun() if state is None else _stored_node(session, state, self.name)
        self.begun = 0.0

    def run(self, watch: Watch, stop: Callable[[], bool]) -> None:
        """Choose until the run has ended or there is nobody to ask.

        Args:
            watch: called with every event.
            stop: asked between any two calls of the network.

        Raises:
            ValueError, RestorationError: a choice that cannot be made, a sheet that cannot be written.
            InterruptedError: it was stopped, and nothing is chosen yet from what was reached.
        """
        self.begun = time.perf_counter()
        node, told, made = self.node, list(self.settings.choices), chosen_in(self.node)
        if tuple(told[: len(made)]) != made and (told or not self.settings.interactive):
            raise ValueError(f"{self.name} was steered by --choose {in_words(made)}: repeat that, then go on")
        del told[: len(made)]
        while not (node.finished and _is_chosen(node)):
            if node.run.inner is not None or node.run.x0 is None or _is_chosen(node):
                node = self._advanced(node, watch, stop)
                continue
            path = self._offer(node, watch)
            after = self._chosen(node, told.pop(0)) if told else self._answer(node, watch)
            if after is None:
                so_far = in_words(chosen_in(node))
                more = f"{so_far}," if so_far else ""
                note = f"choose from {path}: repeat the command with --choose {more}NUMBER"
                watch(Noted(self.session.name, note))
                return
            node = after
        watch(self._restored(node))

    def _begun(self) -> Steered:
        session = self.session
        seeds = range(session.seeds[0], session.seeds[0] + self.candidates)
        steps = session.recipe.effort.steps
        return begun(session.restorer, session.problem.measurement, self.candidates, steps, seeds)

    def _advanced(self, node: Steered, watch: Watch, stop: Callable[[], bool]) -> Steered:
        def tell(preview: Preview) -> bool:
            name, spent = self.session.name, preview.state.spent
            advanced = Advanced(name, spent, preview.total_nfe, None, preview.complete, preview.state)
            return bool(watch(advanced))

        after = node.advance(tell, stop)
        if stop():
            kept = "" if self.stored is None else f"; the same command goes on from {self.stored.path}"
            raise InterruptedError(f"stopped at {after.run.spent} of {after.run.total_nfe} evaluations{kept}")
        return after

    def _chosen(self, node: Steered, numbers: Sequence[int]) -> Steered:
        """After a choice of candidates, counted from 1."""
        count = len(node.run)
        if not numbers or len(set(numbers)) < len(numbers) or not all(1 <= one <= count for one in numbers):
            given = "+".join(map(str, numbers))
            raise ValueError(f"--choose must name candidates from 1 to {count}, each once: got {given}")
        if node.finished and len(numbers) > 1:
            raise ValueError(f"the last choice must be of one candidate: got {'+'.join(map(str, numbers))}")
        kept = [one - 1 for one in numbers]
        return node.choose(kept, 1 if node.finished else max(self.candidates // len(kept), 1))

    def _answer(self, node: Steered, watch: Watch) -> Steered | None:
        """After what somebody answers; None where nobody does, or to stop."""
        question = ASKED
        while self.settings.interactive:
            answer = self.ask(question)
            words = (answer or "stop").split(maxsplit=2)
            try:
                if words[:1] == ["stop"]:
                    return None
                if words == ["back"]:
                    node = _before(node)
                    if self.stored is not None:
                        self.stored.forget()
                    return node
                if words:
                    after = self._chosen(node, _numbers(words[0]))
                    return self._edited(after, words[1:], watch) if words[1:] else after
                question = ASKED
            except (ValueError, RestorationError, OSError) as error:
                question = f"{' '.join(str(error).split())}\n{ASKED}"
        return None

    def _edited(self, node: Steered, words: list[str], watch: Watch) -> Steered:
        if len(words) < 2 or words[0] not in ("edit", "trust"):
            raise ValueError(f"not understood: {' '.join(words)}")
        file = EditFile.read(Path(words[1].strip()), words[0] == "trust")
        session = self.session
        given, problem = session.single
        if given.scan is not None:
            raise ImageError("an edit is of a picture, not of a scan")
        run, said = file.put_in(node.run, node.loop(), session.restorer, problem, given.depth)
        watch(Noted(session.name, said))
        return Steered(node.restorer, node.measurement, run, node)

    def _offer(self, node: Steered, watch: Watch) -> Path:
        """Write the sheet of candidates, and with ``--previews`` each of them; where the sheet is."""
        session, run = self.session, node.run
        pictures = session.problem.finished(node.candidates)
        target = self.delivery.target
        path = target.with_name(f"{stem_of(target)}-candidates-{run.spent:03d}.png")
        outputs.make_folder(path.parent)
        if path.exists() and images.read_record(path) is None and not self.overwrite:
            raise OutputError(f"{path} exists and holds no record of this program; --overwrite replaces it")
        record = {**session.record, "seeds": list(run.seeds), "shows": "candidates", "nfe": run.spent}
        images.write(path, whole(numbered(pictures)), record, None)
        self.delivery.candidates(session.single[0], pictures, run.spent, record)
        change = None if node.preview is None else node.preview.expected_change
        watch(Offered(session.name, run.spent, run.total_nfe, len(run), str(path), change))
        return path

    def _restored(self, node: Steered) -> Restored:
        session, run = self.session, node.run
        image = node.candidates
        preview = Preview(image, run.spent, run.total_nfe, run.outer_step, True, 0.0, run, None)
        told = session.chosen_record(run, self.candidates)
        took = time.perf_counter() - self.begun
        seeds = (session.seeds[0],)
        done = Restoration(image, run.spent, run.total_nfe, took, seeds, StoppedBy.FINISHED, preview)
        return session.restored(done, told)


def _stored_node(session: Session, state: NestedState, name: str) -> Steered:
    """Where a stored run that is steered stands.

    Raises:
        ValueError: it is another run's.
    """
    first = next((act.candidates for act in state.record if isinstance(act, Choice)), state.seeds)
    asked = session.recipe.asked_seeds()
    if asked is not None and asked[0] != first[0]:
        raise ValueError(f"{name} was begun with --seed {first[0]}: repeat it, or leave --seed away")
    node = Steered(session.restorer, session.problem.measurement, state)
    loop = NestedDiffusion(node.loop().inner, session.recipe.effort.steps)
    try:
        loop.refuse_other(state)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return node


def chosen_in(node: Steered) -> Choices:
    """What was chosen so far, counted from 1."""
    acts = (act for act in node.run.record if isinstance(act, Choice))
    return tuple(tuple(one + 1 for one in act.kept) for act in acts)


def in_words(choices: Choices) -> str:
    """As ``--choose`` takes it: ``3,1+2,4``."""
    return ",".join("+".join(map(str, choice)) for choice in choices)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.replace("+", ",").split(","))
    except ValueError:
        raise ValueError(f"not understood: {text}") from None


def _is_chosen(node: Steered) -> bool:
    """Whether a choice was made at the preview where it stands."""
    run = node.run
    return run.inner is None and any(isinstance(act, Choice) and act.nfe == run.spent for act in run.record)


def _before(node: Steered) -> Steered:
    """The preview before this one, not yet chosen from."""
    while True:
        node = node.back()
        if node.run.x0 is not None and node.run.inner is None and not _is_chosen(node):
            return node
