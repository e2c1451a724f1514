"""Candidates that a client chooses from: where a run waits for a choice, and what is asked for with it."""

from __future__ import annotations

from collections.abc import Sequence

from nested import NestedState
from nested.record import Choice
from restoration.service.schema import Options

MOST_CANDIDATES = 64


def check_candidates(options: Options) -> None:
    """ValueError for candidates with options that do not go with them."""
    if options.candidates is None:
        return
    if not 1 <= options.candidates <= MOST_CANDIDATES:
        raise ValueError(f"candidates must be from 1 to {MOST_CANDIDATES}: got {options.candidates}")
    if options.samples > 1 or options.deadline is not None or options.max_nfe is not None:
        raise ValueError(
            "candidates goes without samples, deadline, max_nfe and wait: it waits for a choice at every preview"
        )
    if options.effort_settings().tolerance is not None:
        raise ValueError("effort adaptive decides for one picture at a time: leave candidates away")


def next_choice(state: NestedState | None, allocation: Sequence[int]) -> int:
    """Evaluations after which a run waits for a choice.

    Args:
        state: where it stands; None is its begin.
        allocation: inner steps of every outer step.
    """
    if state is None:
        return allocation[0]
    if waits(state):
        return state.spent
    return sum(allocation[: state.outer_step + 1])


def waits(state: NestedState) -> bool:
    """Whether a run stands at a completed preview from which nothing is chosen yet."""
    chosen = any(isinstance(act, Choice) and act.nfe == state.spent for act in state.record)
    return state.inner is None and state.x0 is not None and not chosen


def check_kept(kept: Sequence[int], count: int, *, last: bool) -> None:
    """ValueError for numbers that are none of so many candidates', or several of the last preview's."""
    if len(set(kept)) < len(kept) or not all(1 <= one <= count for one in kept):
        raise ValueError(f"keep must name candidates from 1 to {count}, each once: got {list(kept)}")
    if last and len(kept) > 1:
        raise ValueError(f"the last choice must be of one candidate: got {list(kept)}")
