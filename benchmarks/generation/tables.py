"""What ``restore-bench generate`` tells: the paper's Tables 3 and 1, CLIP scores, and under which conditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.engine.curve import area
from benchmarks.engine.markdown import markdown
from benchmarks.engine.setup import Finished
from benchmarks.engine.summary import TaskSummary
from benchmarks.engine.trials import Look
from benchmarks.generation.drawing import SHARES, shared

Planned = tuple[str, int, int, list[int]]
"""A run as it is stored: its name, outer steps, evaluations in all, points."""


def tables(finished: Finished, summary: TaskSummary) -> list[str]:
    """Markdown lines: previews by share of the run, areas, CLIP scores, DPM-Solver++, conditions."""
    told = finished.results.config["runs"]
    planned = [(str(name), len(steps), sum(steps), list(points)) for name, steps, points, _ in told]
    main = [run for run in planned if not run[0].startswith("dpm++ ")]
    high = [run for run in planned if run[0].startswith("dpm++ ")]
    distance = finished.space.frechet_name

    def far(look: Look) -> float:
        return summary.distances[look].value

    lines = [f"{distance} ↓ of what would be returned, by share of the run (less vanilla's)", ""]
    lines += [*_shares(main, distance, far, "{:#.3g}"), ""]
    lines += [f"Area under the curve of log {distance}", "", *_areas(main, distance, far), ""]
    if any("clip" in means for means in summary.means.values()):

        def fits(look: Look) -> float:
            return summary.means[look]["clip"].mean

        lines += ["CLIP score ↑, by share of the run (less vanilla's)", ""]
        lines += [*_shares(planned, "CLIP score", fits, "{:.2f}"), ""]
    if high:
        lines += [f"{distance} ↓ with DPM-Solver++(2S)", "", *_shares(high, distance, far, "{:#.3g}"), ""]
    return lines + _conditions(finished, summary)


def _shares(planned: Sequence[Planned], metric: str, value: Callable[[Look], float], form: str) -> list[str]:
    """The paper's Table 3, a row a run: after 20, 40, 60, 80 and 100 %."""
    rows, vanilla = [], dict[int, list[float]]()
    for name, outer, total, _ in planned:
        found = [value(Look(name, "returned", shared(total, share))) for share in SHARES]
        cells = [form.format(number) for number in found]
        if outer == 1:
            vanilla[total] = found
        else:
            differences = [a - b for a, b in zip(found, vanilla[total], strict=True)]
            cells = [
                f"{cell} ({form.replace(':', ':+').format(d)})" for cell, d in zip(cells, differences, strict=True)
            ]
        rows.append([str(total), name, *cells])
    return markdown(["evaluations", metric, *(f"{share} %" for share in SHARES)], rows)


def _areas(planned: Sequence[Planned], distance: str, value: Callable[[Look], float]) -> list[str]:
    """The paper's Table 1; of each total the best is bold."""
    found = []
    for name, outer, total, points in planned:
        curve = [value(Look(name, "returned", nfe)) for nfe in points]
        found.append((total, outer, area(points, curve), curve[-1]))
    best = {total: min(row[2] for row in found if row[0] == total) for total, *_ in found}
    rows = [
        [
            str(total),
            str(outer),
            str(total // outer),
            f"**{enclosed:.2f}**" if enclosed == best[total] else f"{enclosed:.2f}",
            f"{end:#.3g}",
        ]
        for total, outer, enclosed, end in found
    ]
    return markdown(["evaluations", "outer", "inner", "area ↓", f"{distance} at the end"], rows)


def _conditions(finished: Finished, summary: TaskSummary) -> list[str]:
    config = finished.results.config
    height, width = config["image shape"][1:]
    inner = config["inner"] + (f" with η {config['eta']}" if config["inner"] == "ddim" else "")
    asked = [
        f"guidance {config['guidance']}" if config.get("guidance") is not None else "",
        _classes(config["classes"]) if config.get("classes") else "",
        f"prompts {config['prompts'][:12]}" if config.get("prompts") else "",
    ]
    whose = config["data"] or [config["reference statistics"]]
    real = f"{config['reference pictures']:,} pictures of {', '.join(whose)}"
    lines = [
        f"{summary.images} samples of {config['prior']} {config['prior fingerprint'][:12]} at {width}×{height}, "
        f"against {real}; inner {inner}, "
        + "".join(f"{part}, " for part in asked if part)
        + f"seed {config['seed']} with names; {', '.join(sorted(summary.hardware))}, torch {config['torch']}."
    ]
    some = next(iter(summary.distances.values()), None)
    if some is not None and not some.reliable:
        lines.append(f"{some.name} of fewer than 2,048 pictures is unreliable: compare within a table only.")
    return lines + [f"{note}." for note in finished.notes]


def _classes(labels: Sequence[object], told: int = 8) -> str:
    """The first few, and how many there are where there are more."""
    more = f", … ({len(labels)})" if len(labels) > told else ""
    return f"classes {', '.join(map(str, labels[:told]))}{more}"
