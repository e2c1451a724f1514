"""Candidates, edits and strokes over the API."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from restoration.commands.settings import EffortSettings, SteeringSettings
from restoration.pictures import images
from restoration.service.jobs import Limits

from .conftest import Serve, ask, events_of, picture, pixels_of

STEERED = {"task": "sr2", "outer": 2, "inner": 2, "candidates": 3, "seed": 5}


def waiting(client: TestClient, id: str, nfe: int) -> dict[str, Any]:
    """What is known once it waits for a choice at a preview; the stream has ended with that."""
    told = events_of(client.get(f"/v1/restorations/{id}/events").text)
    assert told[-1][1] == "candidates"
    known: dict[str, Any] = client.get(f"/v1/restorations/{id}").json()
    assert (known["state"], known["nfe"]) == ("waiting", nfe)
    assert [one["name"] for one in told[-1][2]["candidates"]] == known["candidates"]
    return known


def shown(client: TestClient, id: str, name: str) -> np.ndarray[Any, Any]:
    return pixels_of(client.get(f"/v1/restorations/{id}/image?show={name}").content)


def test_choices_lead_to_the_picture_that_the_command_makes_of_them(
    client: TestClient, by_command: Callable[..., Path], tmp_path: Path
) -> None:
    out = by_command(EffortSettings((2, 2), seed=5), SteeringSettings(3, ((2,), (3,))))
    id = ask(client, picture(), **STEERED).json()["id"]
    at = f"/v1/restorations/{id}"
    known = waiting(client, id, 2)
    assert known["candidates"] == ["002-1", "002-2", "002-3"]
    assert known["seeds"] == [5, 6, 7]
    assert not np.array_equal(shown(client, id, "002-1"), shown(client, id, "002-2"))
    assert np.array_equal(shown(client, id, "best"), shown(client, id, "002-1"))
    assert client.post(f"{at}/more").status_code == 409
    late = client.post(f"{at}/choose", json={"keep": [1], "nfe": 4})
    assert (late.status_code, "of 2 evaluations" in late.json()["detail"]) == (409, True)
    wrong = client.post(f"{at}/choose", json={"keep": [4]})
    assert (wrong.status_code, "from 1 to 3" in wrong.json()["detail"]) == (422, True)
    assert client.post(f"{at}/choose", json={"keep": [2], "nfe": 2}).status_code == 202
    known = waiting(client, id, 4)
    assert known["chosen"] == [[2]]
    names = [one["name"] for one in known["pictures"]]
    assert names == ["degraded", "002-2", "004-1", "004-2", "004-3"]
    wrong = client.post(f"{at}/choose", json={"keep": [1, 2]})
    assert (wrong.status_code, "of one candidate" in wrong.json()["detail"]) == (422, True)
    third = shown(client, id, "004-3")
    assert client.post(f"{at}/choose", json={"keep": [3]}).status_code == 202
    told = events_of(client.get(f"{at}/events").text)
    assert [kind for _, kind, _ in told if kind in ("candidates", "result")] == ["result"]
    content = client.get(f"{at}/image").content
    assert np.array_equal(pixels_of(content), pixels_of(out.read_bytes()))
    assert np.array_equal(pixels_of(content), third)
    (tmp_path / "served.png").write_bytes(content)
    ours, theirs = images.read_record(tmp_path / "served.png"), images.read_record(out)
    assert ours is not None
    assert theirs is not None
    for name in ("chosen", "candidates", "seeds", "seed_of_result", "aim", "allocation", "input_sha256"):
        assert ours[name] == theirs[name], name
    assert client.post(f"{at}/choose", json={"keep": [1]}).status_code == 409


def painted(content: bytes) -> bytes:
    """A picture file with a square of it changed."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    image.paste((250, 20, 20), (4, 4, 14, 14))
    held = io.BytesIO()
    image.save(held, "PNG")
    return held.getvalue()


def test_a_painted_candidate_goes_on_and_a_result_can_be_painted_too(client: TestClient) -> None:
    id = ask(client, picture(), **STEERED).json()["id"]
    at = f"/v1/restorations/{id}"
    waiting(client, id, 2)
    content = client.get(f"{at}/image?show=002-2").content
    same = client.post(f"{at}/edit", files={"image": ("a.png", content)}, data={"candidate": "2"})
    assert (same.status_code, same.json()["detail"]) == (
        409,
        "the edit is the preview itself: nothing in it was changed",
    )
    waiting(client, id, 2)  # as before
    sent = {"image": ("a.png", painted(content))}
    answer = client.post(f"{at}/edit", files=sent, data={"candidate": "2", "trust_edit": "true"})
    assert answer.status_code == 202
    known = waiting(client, id, 4)
    assert known["chosen"] == [[2]]
    assert "of the edit contradicts the measurement and is trusted" in known["notes"][-1]
    for bad in ({"candidate": "9"}, {"candidate": "x"}, {"nonsense": "1"}):
        assert client.post(f"{at}/edit", files=sent, data=bad).status_code == 422
    assert client.post(f"{at}/edit", files={"image": ("a.png", b"no picture")}).status_code in (409, 422)
    assert client.post(f"{at}/edit", data={"candidate": "1"}).status_code in (415, 422)
    single = ask(client, picture(), task="sr2", outer=2, inner=2, seed=5).json()["id"]
    at = f"/v1/restorations/{single}"
    events_of(client.get(f"{at}/events").text)
    before = client.get(f"{at}/image").content
    answer = client.post(f"{at}/edit", files={"image": ("a.png", painted(before))}, data={"trust_edit": "true"})
    assert answer.status_code == 202, answer.text
    assert events_of(client.get(f"{at}/events").text)[-1][1] == "result"
    known = client.get(at).json()
    assert (known["nfe"], known["state"]) == (9, "done")  # five more, the fewest of an inner run that is worth it
    after = pixels_of(client.get(f"{at}/image").content).astype(int)
    square = after[6:12, 6:12].mean(axis=(0, 1))
    assert square[0] > square[1] + 60  # the edit was trusted: it is what counts as measured


def test_strokes_come_with_the_picture_and_are_measured(client: TestClient) -> None:
    strokes = np.zeros((16, 16, 4), np.uint8)
    strokes[4:12, 4:12] = (200, 60, 60, 255)
    held = io.BytesIO()
    Image.fromarray(strokes).save(held, "PNG")
    files = {
        "image": ("a.png", picture()),
        "strokes": ("s.png", held.getvalue()),
    }
    options = {"task": "colorize", "outer": 1, "inner": 2, "strokes_sigma": 0, "seed": 1}
    answer = client.post("/v1/restorations", files=files, params=options)
    assert answer.status_code == 202, answer.text
    at = f"/v1/restorations/{answer.json()['id']}"
    assert events_of(client.get(f"{at}/events").text)[-1][1] == "result"
    found = pixels_of(client.get(f"{at}/image").content).astype(int)[5:11, 5:11]
    assert (found[..., 0] - found[..., 1]).min() >= 0
    assert (found[..., 0] - found[..., 1]).mean() > 30
    for task, sent, said in (
        ("sr2", files, "strokes is for colorize"),
        ("colorize", {**files, "strokes": ("s.png", picture())}, "has no transparency"),
        ("colorize", {**files, "other": ("s.png", b"")}, "a file must be called image or mask or strokes"),
    ):
        refused = client.post("/v1/restorations", files=sent, params={"task": task})
        assert refused.status_code in (400, 422)
        assert said in refused.json()["detail"] or refused.status_code == 400
    for options in ({"samples": 2}, {"deadline": 3}, {"max_nfe": 4}, {"candidates": 65}):
        assert ask(client, picture(), **{**STEERED, **options}).status_code == 422


def test_who_does_not_choose_is_forgotten_and_holds_no_place(serve: Serve) -> None:
    with serve(Limits(runs=1, per_client=1, keep_s=0.3)) as client:
        id = ask(client, picture(), **STEERED).json()["id"]
        waiting(client, id, 2)
        other = ask(client, picture(), **STEERED)
        assert other.status_code == 202
        waiting(client, other.json()["id"], 2)
        end = time.monotonic() + 20
        while client.get(f"/v1/restorations/{id}").status_code != 404:
            assert time.monotonic() < end
            time.sleep(0.05)
