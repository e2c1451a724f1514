"""The page of a results folder made here: what it says, and that nothing in it can do harm."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from benchmarks.commands.cli import app
from benchmarks.engine import paper
from benchmarks.engine.chunk import Chunk
from benchmarks.engine.results import Results
from benchmarks.report import page
from benchmarks.report.markup import VOID
from benchmarks.report.reading import metrics_of, read
from benchmarks.report.tables import values
from restoration.commands import console
from restoration.errors import OutputError

Folder = Callable[..., Path]


class Reader(HTMLParser):
    """Checks that every element is closed in its turn, and collects what a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.words)


def rendered(folder: Path) -> Reader:
    return Reader(page.write(folder).read_text(encoding="utf-8"))


def test_page_is_well_formed_and_asks_nothing_of_a_network(folder: Folder) -> None:
    reader = rendered(folder())
    tags = {tag for tag, _ in reader.elements}
    assert tags.isdisjoint({"script", "link", "iframe", "object", "embed", "form", "base"})
    for _, attributes in reader.elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
    style = (Path(page.__file__).parent / "style.css").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|//", style)


def test_policy_forbids_everything_but_the_pages_own_pictures_and_style(folder: Folder) -> None:
    policy = next(a["content"] for _, a in rendered(folder()).elements if "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")


def test_names_from_files_stay_text(folder: Folder, hostile: str) -> None:
    path = folder(
        names=(hostile, "b.png"),
        data=[hostile],
        prior=hostile,
        runs=[[f"nested {hostile}", [5], [5], ["returned"]]],
    )
    text = page.write(path).read_text(encoding="utf-8")
    reader = Reader(text)
    assert "<script" not in text
    assert "<b>no</b>" not in text
    assert "<test>" not in text
    assert hostile in reader.text
    assert all("evil" not in (a.get("src") or "") for _, a in reader.elements)
    assert any(hostile in (a.get("alt") or "") for tag, a in reader.elements if tag == "img")


def test_every_mean_and_distance_is_in_the_tables(folder: Folder) -> None:
    path = folder()
    text, (summary,) = rendered(path).text, read(path).summaries
    assert len(summary.means) == 9
    for look, means in summary.means.items():
        assert f"{means['psnr'].mean:.2f}" in text
        assert f"{means['sharpness'].mean:#.4g}" in text
        assert f"{summary.distances[look].value:#.4g}" in text
    assert "FD-prior (unreliable: 3 pictures)" in text
    assert "0.833" in text  # two chunks of 1.25 s for 3 pictures


def test_best_of_a_row_is_marked_and_an_unknown_metric_has_none(folder: Folder) -> None:
    (summary,) = read(folder()).summaries
    by_key = {metric.key: metric for metric in metrics_of(summary)}
    told = values(summary, by_key["psnr"])
    assert told.count('class="best"') == 3  # one a row: 10, 20, 30
    best = re.search(r'class="best"><strong>([\d.]+)<', told)
    assert best is not None
    assert float(best[1]) == max(
        float(v) for v in re.findall(r">(?:<strong>)?(\d\d\.\d\d)<", told.split("</tr>")[2])
    )
    assert 'class="best"' not in values(summary, by_key["sharpness"])


def test_papers_numbers_stand_beside_table_2_alone(folder: Folder) -> None:
    text = rendered(folder()).text
    for number in (*paper.PSNR["sr16"], *paper.FID["sr16"]):
        assert f"{number:.2f}" in text
    assert "only the last column can be compared" in text


def test_ddrms_own_rows_stand_beside_its_paper_where_that_has_them(folder: Folder) -> None:
    assert "Beside DDRM's paper" not in rendered(folder(task="deblur-gaussian")).text
    text = rendered(folder(task="deblur-uniform")).text
    assert "Beside DDRM's paper" in text
    assert "35.64" in text
    assert "Beside the paper's Table 2" not in text


def test_other_commands_have_areas_in_place_of_the_paper(folder: Folder) -> None:
    text = rendered(folder(command="anytime")).text
    assert "Beside the paper" not in text
    assert "Area under the curve of the log distance" in text


def test_celebahq_at_256_is_compared_by_verdict(folder: Folder) -> None:
    text = rendered(folder(prior="celebahq-256", **{"image shape": [3, 256, 256]})).text
    assert re.search(r"[+−]\d+\.\d\d (equal|better|worse)", text)


def test_kept_pictures_are_shown_with_the_psnr_of_their_rows(folder: Folder) -> None:
    path = folder()
    images = [a for tag, a in rendered(path).elements if tag == "img"]
    assert len(images) == 2 * (6 + 2)  # two pictures: two runs at 10, 20, 30, degraded, original
    rows = [row for chunk in Results.open(path).chunks("sr16") for row in chunk.rows]
    row = next(
        r for r in rows if (r["image"], r["run"], r["kind"], r["nfe"]) == ("b.png", "plain 30", "returned", 20)
    )
    alts = [image["alt"] for image in images]
    assert f"b.png, sr16: plain 30 after 20 evaluations, {row['psnr']:.2f} dB" in alts
    assert "a.png, sr16: degraded" in alts


def test_failed_pictures_are_listed_with_their_reason(folder: Folder) -> None:
    text = rendered(folder()).text
    assert "broken.png" in text
    assert "is <b>no</b> picture" in text


def test_conditions_tell_every_entry(folder: Folder) -> None:
    path = folder()
    text = rendered(path).text
    report = read(path)
    for name in report.config:
        assert name in text
    assert "a <test> machine" in text


def test_the_stored_command_line_is_shown_word_for_word(folder: Folder, hostile: str) -> None:
    argv = ["restore-bench", "table2", "--data", "faces tar", "--data", hostile, "--eta=-1", "-o", "r/$HOME"]
    path = folder()
    Results.open(path).ask(2, argv)
    assert read(path).argv == tuple(argv)
    (shown,) = [words for words in rendered(path).words if words.startswith("restore-bench table2")]
    assert shlex.split(shown.replace("\\\n", "")) == argv
    assert len(shown.splitlines()) == 5  # one option a line


def test_results_without_a_command_line_say_so_and_are_read(folder: Folder) -> None:
    path = folder()
    assert read(path).argv == ()
    Results.open(path).ask(2)
    assert "argv" not in json.loads((path / "asked.json").read_text())
    text = rendered(path).text
    assert "The command line was not stored with these results." in text
    assert "restore-bench table2" not in text


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        ("restore-bench table2", "must be a list of strings"),
        (None, "must be a list of strings"),
        (["restore-bench", 2], "must be a list of strings"),
        ([], "must begin with restore-bench"),
        (["rm", "-r", "/"], "must begin with restore-bench"),
        (["restore-bench"] * 10_001, "at most 10,000 words"),
        (["restore-bench", "x" * 200_000], "and 200,000 characters"),
    ],
)
def test_a_stored_command_line_is_checked_before_it_is_believed(folder: Folder, argv: object, why: str) -> None:
    path = folder()
    (path / "asked.json").write_text(json.dumps({"chunks": 2, "argv": argv}))
    with pytest.raises(OutputError, match=why) as caught:
        page.write(path)
    assert str(path / "asked.json") in str(caught.value)
    assert not (path / page.FILE).exists()


def test_same_results_give_the_same_page(folder: Folder, tmp_path: Path) -> None:
    path = folder()
    first = page.write(path).read_bytes()
    assert page.write(path, tmp_path / "other.html").read_bytes() == first


def test_a_page_that_cannot_be_written_leaves_the_old_one(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder()
    before = page.write(path).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page, "atomic_write", full)
    with pytest.raises(OutputError, match="No space left"):
        page.write(path)
    assert (path / page.FILE).read_bytes() == before
    assert list(path.glob(".*")) == []


@pytest.mark.parametrize("damage", ["none", "empty", "rows", "features"])
def test_what_is_no_results_folder_is_one_line(
    damage: str,
    folder: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "nothing"
    if damage == "empty":
        Results(path, {"command": "table2"})
    elif damage == "rows":
        path = folder()
        (path / "sr16" / "00001.json").write_text('{"names": ["a"], "rows": [{"psnr": 1.5}]}')
    elif damage == "features":
        path = folder()
        (path / "sr16" / "00001.safetensors").write_bytes(b"no tensors")
    monkeypatch.setattr(sys, "argv", ["restore-bench", "report", str(path)])
    with pytest.raises(SystemExit) as stop:
        console.main("restore-bench", app)
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert str(path) in told
    assert not (path / page.FILE).exists()


def test_little_is_enough(tmp_path: Path) -> None:
    """One grey picture, a perfect restoration, no features, and a configuration that says nothing."""
    results = Results(tmp_path / "little", {})
    grey = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    told = {"image": "a.png", "run": "nested 1", "kind": "returned", "nfe": 1, "psnr": math.inf}
    results.write(
        "sr2", 0, Chunk(["a.png"], [told], pictures={"original": grey, "nested 1|returned|1": grey.clone()})
    )
    reader = rendered(results.folder)
    assert "∞" in reader.text
    assert "a.png, sr2: nested 1 after 1 evaluations, inf dB" in {a.get("alt") for _, a in reader.elements}
    assert "no Fréchet distance" in reader.text
