"""What could be had by a given time, from a measured time of one evaluation and the prior's calibration."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise

from degradations import Measurement
from degradations.arguments import number
from restoration.restorer import Restorer
from restoration.service.planning import Policy, split

TIMED = 3
"""Evaluations that are made to learn what one takes: the first also warms up."""


@dataclass(frozen=True)
class Foreseen:
    """A preview that will be there by then.

    Args:
        nfe: evaluations it takes, per image.
        elapsed: seconds until it is there.
        complete: its inner run will have ended.
        expected_change: RMSE, in [0, 1] units, by which the end of the planned run is expected to differ from it;
            None where that was not measured.
    """

    nfe: int
    elapsed: float
    complete: bool
    expected_change: float | None


@dataclass(frozen=True)
class Plan:
    """What could be had by then.

    Args:
        seconds: from when the prior is loaded until then.
        first, evaluation: seconds that the first evaluation takes, and each one after it, as measured.
        nfe: evaluations that there is time for.
        allocation: inner steps of every outer step, as the service plans them: at most 30 evaluations.
        previews: at the end of every inner run; or the single one of a run for which there is no time to end.
    """

    seconds: float
    first: float
    evaluation: float
    nfe: int
    allocation: tuple[int, ...]
    previews: tuple[Foreseen, ...]


def plan(restorer: Restorer, measurement: Measurement, seconds: float, policy: Policy | None = None) -> Plan:
    """What a restorer could make of a measurement by a given time. Makes up to three evaluations to learn that.

    Args:
        measurement: in [0, 1] units, of images in the shape of the restorer's prior.
        seconds: above 0, from the first request on.
        policy: how the service splits evaluations; None is its default.

    Raises:
        ValueError: seconds that are not above 0; a measurement that does not fit.
    """
    if not number("seconds", seconds) > 0:
        raise ValueError(f"seconds must be above 0: got {seconds}")
    policy = policy or Policy()
    first, evaluation = _timed(restorer, measurement, seconds, policy)
    nfe = 1 + max(int((seconds - first) / evaluation), 0) if first <= seconds else 0
    steps = split(nfe, 0, policy)
    whole = bool(steps)
    steps = steps or (policy.least,)
    ends = list(accumulate(steps)) if whole else [nfe] * bool(nfe)
    change = restorer.expects(measurement)
    previews = tuple(
        Foreseen(
            end,
            first + (end - 1) * evaluation,
            whole,
            None if change is None else change.at(end, sum(steps), steps[0], whole),
        )
        for end in ends
    )
    return Plan(float(seconds), first, evaluation, nfe, steps, previews)


def _timed(restorer: Restorer, measurement: Measurement, seconds: float, policy: Policy) -> tuple[float, float]:
    """Seconds that the first evaluation takes, with what it warms up, and the fastest after it."""
    stream = restorer.stream(
        measurement,
        allocation=(policy.least,),
        seeds=range(len(measurement)),
        max_nfe=min(TIMED, policy.least),
        deadline=seconds,
    )
    ends = [preview.elapsed for preview in stream]
    paces = [after - before for before, after in pairwise(ends)]
    return ends[0], min(paces, default=ends[0])
