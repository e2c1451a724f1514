"""Two runs on one folder of checkpoints would destroy each other's part."""

from __future__ import annotations

from pathlib import Path

import pytest
from accelerate import Accelerator

from restoration.errors import OutputError
from restoration.training.checkpoint import alone


def test_a_second_run_is_refused_at_its_start_and_a_later_one_is_not(tmp_path: Path) -> None:
    accelerator, place = Accelerator(cpu=True), tmp_path / "prior" / "training"
    with alone(place, accelerator):
        (place / "run.json").touch()
        with (
            pytest.raises(OutputError, match=r"another restore-train is at work in .*prior: wait for it"),
            alone(place, accelerator),
        ):
            pass
    with alone(place, accelerator):
        assert (place / "run.json").exists()


def test_a_folder_in_which_nothing_was_begun_goes_again(tmp_path: Path) -> None:
    with pytest.raises(KeyError), alone(tmp_path / "prior" / "training", Accelerator(cpu=True)):
        raise KeyError
    assert not list(tmp_path.iterdir())
