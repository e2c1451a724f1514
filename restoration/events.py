"""What happens to one input while it is restored, as frozen values that a command and a service share.

Events are named as what has happened, ``Previewed`` and not ``Preview``: a ``Preview`` is what ``Restorer.stream``
yields, a ``Restoration`` what ``Restorer.restore`` returns, and one name has one meaning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch and its second wait for whoever makes events
    from torch import Tensor

    from nested import NestedState
    from restoration.medical.volume import Volume
    from restoration.pictures.picture import Picture
    from restoration.planned import Plan
    from restoration.priors.coverage import Certainty
    from restoration.restorer import Preview


@dataclass(frozen=True, eq=False)
class Output:
    """A picture to keep, with what is to be recorded in it.

    Args:
        suffix: what its name ends with: "" for the result, "sample-1" or "std" beside it, "010" for a preview.
        picture: what is to be written, with all that the input had.
        record: how it was made; JSON.
        exact: it is a map of float numbers, which a format of whole ones would round.
    """

    suffix: str
    picture: Picture | Volume
    record: Mapping[str, Any]
    exact: bool = False

    @property
    def single(self) -> Picture:
        """The picture; TypeError where it is a scan of several slices."""
        from restoration.pictures.picture import Picture

        if not isinstance(self.picture, Picture):
            raise TypeError(f"a scan of {len(self.picture)} slices is no picture")
        return self.picture

    @property
    def image(self) -> Tensor:
        """Its pixels (C, H, W) in [0, 1], of a scan's slices (D, 1, H, W)."""
        from restoration.pictures.picture import Picture

        return self.picture.pixels if isinstance(self.picture, Picture) else self.picture.images


@dataclass(frozen=True, eq=False)
class Advanced:
    """A network evaluation was made. There are many of these, so that they have no JSON line.

    Args:
        input: what the input is called.
        nfe, total_nfe: evaluations spent, and in the whole run.
        next_preview_s: seconds to the next completed preview at the pace so far; None after the last one.
        complete: an inner run has ended; a ``Previewed`` follows.
        state: where the run can go on from.
    """

    input: str
    nfe: int
    total_nfe: int
    next_preview_s: float | None
    complete: bool
    state: NestedState


def standing(reached: _Reached | Preview) -> dict[str, Any]:
    """Where in its run something was reached, as JSON and records tell it."""
    return {
        "nfe": reached.nfe,
        "total_nfe": reached.total_nfe,
        "outer_step": reached.outer_step,
        "complete": reached.complete,
    }


def expected(change: float | None) -> dict[str, float]:
    """The RMSE by which a run's end is expected to differ, as JSON tells it, where that was measured."""
    return {} if change is None else {"expected_change": round(change, 5)}


@dataclass(frozen=True, eq=False, kw_only=True)
class _Reached:
    """What a preview and a result have in common; see ``Restored``."""

    input: str
    nfe: int
    total_nfe: int
    outer_step: int
    complete: bool
    elapsed: float
    scores: Mapping[str, float] = field(default_factory=dict)
    expected_change: float | None = None
    path: str | None = None

    def _facts(self) -> dict[str, Any]:
        return {
            "input": self.input,
            **standing(self),
            "elapsed_s": round(self.elapsed, 4),
            **({} if self.path is None else {"path": self.path}),
            **self.scores,
            **expected(self.expected_change),
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class Previewed(_Reached):
    """An inner run has ended, and its estimate could be the result.

    Args:
        output: the picture; of several samples their mean.
        The rest as in ``Restored``.
    """

    output: Output

    def json(self) -> str:
        """One line, without its end."""
        return json.dumps({"event": "preview", **self._facts()})


@dataclass(frozen=True, eq=False, kw_only=True)
class Restored(_Reached):
    """A run has ended, finished or stopped, and this is its result.

    Args:
        input: what the input is called.
        nfe, total_nfe: evaluations spent, and in the whole run.
        outer_step: the outer step that the result belongs to, counted from 1.
        complete: its inner run has ended: it is a sample, not a blurred mean.
        elapsed: seconds since the run began.
        outputs: the pictures to keep; the result itself is the last, so that it is there only when all are.
        stopped_by: "finished", "deadline", "max_nfe", "interrupt" or "settled".
        seeds: one a sample; with them the run can be repeated.
        scores: PSNR and SSIM, where the clean picture is known, and what the task can tell of a picture by itself.
        expected_change: RMSE by which the run's end is expected to differ, where that was measured.
        path: where the result was written, if it was.
        certainty: what is known of the samples' interval, where one was asked for.
    """

    outputs: tuple[Output, ...]
    stopped_by: str
    seeds: tuple[int, ...]
    certainty: Certainty | None = None

    def json(self) -> str:
        """One line, without its end."""
        more: dict[str, Any] = {"stopped_by": self.stopped_by, "seeds": list(self.seeds)}
        if self.certainty is not None:
            more["interval"] = self.certainty.json()
        return json.dumps({"event": "result", **self._facts(), **more})


@dataclass(frozen=True)
class Offered:
    """Several candidates wait for a choice, numbered on the sheet at ``path``."""

    input: str
    nfe: int
    total_nfe: int
    candidates: int
    path: str
    expected_change: float | None = None

    def json(self) -> str:
        """One line, without its end."""
        facts = {"input": self.input, "nfe": self.nfe, "total_nfe": self.total_nfe}
        more = expected(self.expected_change)
        return json.dumps(
            {"event": "candidates", **facts, "candidates": self.candidates, "path": self.path, **more}
        )


@dataclass(frozen=True)
class Planned:
    """What could be had of an input by a given time."""

    input: str
    plan: Plan

    def json(self) -> str:
        """One line, without its end."""
        plan = self.plan
        times = {"first_s": round(plan.first, 4), "evaluation_s": round(plan.evaluation, 4)}
        previews = [
            {
                "nfe": seen.nfe,
                "complete": seen.complete,
                "elapsed_s": round(seen.elapsed, 4),
                **expected(seen.expected_change),
            }
            for seen in plan.previews
        ]
        told = {"nfe": plan.nfe, "allocation": list(plan.allocation), "previews": previews}
        return json.dumps({"event": "plan", "input": self.input, "seconds": plan.seconds, **times, **told})


@dataclass(frozen=True)
class Skipped:
    """An input's result was there already, at ``path``."""

    input: str
    path: str

    def json(self) -> str:
        """One line, without its end."""
        return json.dumps({"event": "skipped", "input": self.input, "path": self.path})


@dataclass(frozen=True)
class Noted:
    """Something to know about an input and its result: what was changed on the way, or cannot be kept."""

    input: str
    message: str

    def json(self) -> str:
        """One line, without its end."""
        return json.dumps({"event": "note", "input": self.input, "message": self.message})


@dataclass(frozen=True)
class LeftOut:
    """A file beside the inputs that is not restored, and why."""

    input: str
    message: str

    def json(self) -> str:
        """One line, without its end."""
        return json.dumps({"event": "left_out", "input": self.input, "message": self.message})


@dataclass(frozen=True)
class Failed:
    """An input could not be restored; the message is one line that says why."""

    input: str
    message: str

    def json(self) -> str:
        """One line, without its end."""
        return json.dumps({"event": "error", "input": self.input, "message": self.message})


Told = Previewed | Restored | Offered | Planned | Skipped | Noted | LeftOut | Failed
"""Events with a JSON line."""

Event = Advanced | Told
