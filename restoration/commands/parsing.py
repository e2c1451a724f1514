"""What options of ``restore`` say, or one line of what is wrong with them."""

from __future__ import annotations

AUTO = "auto"
MOST_STEPS = 100_000  # far beyond any prior's, and little enough to be counted out


def steps(outer: int | None, inner: int | None, allocation: str | None) -> tuple[int, ...]:
    """The allocation that --outer and --inner, or --allocation, ask for."""
    if allocation is None:
        if outer is not None and outer > MOST_STEPS:
            raise ValueError(f"--outer must be at most the prior's noise levels, usually 1000: got {outer}")
        steps = (10 if inner is None else inner,) * (3 if outer is None else max(outer, 0))
        if not steps or steps[0] < 1:
            raise ValueError(f"--outer and --inner must be at least 1: got {outer} and {inner}")
        return steps
    if outer is not None or inner is not None:
        raise ValueError("--allocation takes the place of --outer and --inner: give one or the other")
    try:
        steps = tuple(int(part) for part in allocation.split(","))
    except ValueError:
        steps = ()
    if not steps or min(steps) < 1:
        raise ValueError(f"--allocation must be whole numbers of at least 1, as 16,8,6: got {allocation!r}")
    return steps


def number(option: str, text: str) -> float:
    """A number."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{option} must be a number or {AUTO}: got {text!r}") from None


def demand(**given: object) -> None:
    """ValueError that names what is missing."""
    missing = [name for name, value in given.items() if not value]
    if missing:
        raise ValueError(f"missing {', '.join(missing)} (restore --help)")


def pairs(texts: list[str]) -> dict[str, str]:
    """``KEY=VALUE`` texts."""
    for text in texts:
        if not text.partition("=")[2]:
            raise ValueError(f"--prior-config must be KEY=VALUE: got {text!r}")
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def choices(text: str | None) -> tuple[tuple[int, ...], ...]:
    """``3,1+4,2``: which candidates are kept, preview by preview."""
    if text is None:
        return ()
    try:
        chosen = tuple(tuple(int(number) for number in part.split("+")) for part in text.split(","))
    except ValueError:
        chosen = ()
    if not chosen or any(number < 1 for choice in chosen for number in choice):
        raise ValueError(f"--choose must be numbers of candidates, as 3,1,2 or 3,1+4,2: got {text!r}")
    return chosen
