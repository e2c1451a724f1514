"""Where a session's pictures and state are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nested import NestedState
from restoration.commands import delivery
from restoration.commands.delivery import Delivery, StateFile
from restoration.commands.settings import EffortSettings
from restoration.events import Advanced, Output, Previewed, Restored
from restoration.pictures import images
from restoration.pictures.picture import whole
from solvers import InnerRun

IMAGE = torch.zeros(1, 1, 2, 2)
PREVIEW = Previewed(
    input="in.png", nfe=4, total_nfe=6, outer_step=1, complete=True, elapsed=1.0,
    output=Output("004", whole(torch.full((3, 2, 2), 0.5)), {"nfe": 4}),
)  # fmt: skip


def state(spent: int) -> NestedState:
    """A run of 4 and 2 evaluations after so many of them."""
    outer = (spent >= 4) + (spent >= 6)
    begun, left = (0, 4, 6)[outer], (4, 6, 6)[outer] - spent
    inner = InnerRun(IMAGE, tuple(range(left, 0, -1))) if spent > begun else None
    return NestedState(
        x_k=IMAGE, outer_step=outer, nfe=begun, allocation=(4, 2), seeds=(1,), inner=inner,
        noise=(torch.Generator().get_state(),), device="cpu", identities=("c",), levels=(1000, 500, 0),
        x0=IMAGE if outer else None,
    )  # fmt: skip


def advanced(nfe: int, complete: bool = False) -> Advanced:
    return Advanced("in.png", nfe, 6, None, complete, state(nfe))


def restored(*suffixes: str) -> Restored:
    outputs = tuple(Output(suffix, whole(torch.full((3, 2, 2), 0.5)), {"suffix": suffix}) for suffix in suffixes)
    return Restored(
        input="in.png", nfe=6, total_nfe=6, outer_step=2, complete=True, elapsed=2.0, outputs=outputs,
        stopped_by="finished", seeds=(1,),
    )  # fmt: skip


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that a state file sees; its one number can be changed."""
    now = [100.0]
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now[0])
    return now


def test_pictures_are_written_where_they_were_announced(tmp_path: Path) -> None:
    files = Delivery(tmp_path / "in.png", tmp_path / "new" / "out.tif", tmp_path / "p")
    told = files.deliver(PREVIEW, pytest.fail)
    assert isinstance(told, Previewed)
    assert told.path == str(tmp_path / "p" / "in-004.tif")
    done = files.deliver(restored("sample-1", "sample-2", "std", ""), pytest.fail)
    assert isinstance(done, Restored)
    assert done.path == str(tmp_path / "new" / "out.tif")
    announced = files.written(EffortSettings((4, 2), samples=2))
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {*announced} - {tmp_path / "p/in-006.tif"}
    assert images.read_record(tmp_path / "new" / "out-std.tif") == {"suffix": "std"}


def test_a_preview_that_cannot_be_written_is_told_and_has_no_path(tmp_path: Path) -> None:
    warned: list[str] = []
    (tmp_path / "no").touch()
    told = Delivery(Path("in.png"), Path("out.png"), tmp_path / "no" / "p").deliver(PREVIEW, warned.append)
    assert told is PREVIEW
    assert len(warned) == 1
    assert "the preview is not stored" in warned[0]


def test_a_state_is_written_twice_a_second_at_most_but_always_at_the_end_of_an_inner_run(
    tmp_path: Path, clock: list[float]
) -> None:
    stored = StateFile(tmp_path / "s", pytest.fail)

    def holds() -> int:
        return NestedState.load(tmp_path / "s").spent

    stored.follow(advanced(1))
    assert holds() == 1
    clock[0] += 0.4
    stored.follow(advanced(2))
    assert holds() == 1
    clock[0] += 0.2
    stored.follow(advanced(3))
    assert holds() == 3
    stored.follow(advanced(4, complete=True))
    assert holds() == 4
    stored.follow(advanced(5))
    assert holds() == 4
    stored.follow(restored(""))  # stopped here: the newest is kept
    assert holds() == 5


def test_a_state_that_max_nfe_leaves_nothing_to_show_of_is_not_kept(tmp_path: Path, clock: list[float]) -> None:
    stored = StateFile(tmp_path / "s", pytest.fail, max_nfe=3)
    for nfe in (1, 2, 3):
        stored.follow(advanced(nfe))
    stored.follow(restored(""))
    assert NestedState.load(tmp_path / "s").spent == 2
    stored = StateFile(tmp_path / "s", pytest.fail, max_nfe=5)  # of the first inner run's end there is a picture
    stored.follow(advanced(5))
    assert NestedState.load(tmp_path / "s").spent == 5


def test_a_state_that_is_slow_to_write_is_written_less_often(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def slow(self: NestedState, path: Path) -> None:
        written.append(self.spent)
        clock[0] += 2

    monkeypatch.setattr(NestedState, "save", slow)
    stored = StateFile(tmp_path / "s", pytest.fail)
    for nfe, pause in ((1, 19.0), (2, 2.0), (3, 0.0)):
        stored.follow(advanced(nfe))
        clock[0] += pause
    assert written == [1, 3]  # 2 s of writing are a tenth of 20 s


def test_a_state_that_is_stored_already_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "s"
    state(4).save(path)
    stored = StateFile(path, pytest.fail)
    assert stored.load(torch.device("cpu"), redo=True) is not None  # not finished: it goes on all the same
    before = path.stat().st_ino
    stored.follow(advanced(4, complete=True))
    stored.follow(restored(""))
    assert path.stat().st_ino == before


def test_a_finished_run_is_begun_again_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "s"
    state(6).save(path)
    assert StateFile(tmp_path / "none", pytest.fail).load(torch.device("cpu"), redo=False) is None
    assert StateFile(path, pytest.fail).load(torch.device("cpu"), redo=False) is not None
    stored = StateFile(path, pytest.fail)
    assert stored.load(torch.device("cpu"), redo=True) is None
    before = path.stat().st_ino
    stored.follow(advanced(6, complete=True))  # another run's, although as long
    assert path.stat().st_ino != before


def test_a_state_that_cannot_be_written_is_told_once_an_inner_run(tmp_path: Path) -> None:
    warned: list[str] = []
    stored = StateFile(tmp_path / "no" / "s", warned.append)
    for event in (advanced(1), advanced(4, complete=True), advanced(5), advanced(6, complete=True), restored("")):
        stored.follow(event)
    assert len(warned) == 2
    assert all("the state is not stored" in line for line in warned)
