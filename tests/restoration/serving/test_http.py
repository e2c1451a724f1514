"""The API as clients see it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from restoration.commands.settings import EffortSettings
from restoration.pictures import images

from .conftest import Serve, ask, ended, events_of, picture, pixels_of

SHORT = {"task": "sr2", "outer": 2, "inner": 2}


def test_restoration_goes_from_acceptance_by_previews_to_a_result(client: TestClient) -> None:
    answer = ask(client, **SHORT, seed=3)
    assert answer.status_code == 202
    id = answer.json()["id"]
    assert answer.headers["location"] == f"/v1/restorations/{id}"
    stream = client.get(f"/v1/restorations/{id}/events")
    assert stream.headers["content-type"].startswith("text/event-stream")
    told = events_of(stream.text)
    assert [kind for _, kind, _ in told if kind != "preview"] == ["queued", "planned", "result"]
    complete = [data["nfe"] for _, kind, data in told if kind == "preview" and data["complete"]]
    assert complete == [2, 4]
    known = ended(client, id)
    assert (known["state"], known["stopped_by"], known["nfe"], known["seeds"]) == ("done", "finished", 4, [3])
    assert (known["width"], known["height"]) == (32, 32)
    image = client.get(f"/v1/restorations/{id}/image")
    assert image.headers["content-type"] == "image/png"
    assert pixels_of(image.content).shape == (32, 32, 3)


def test_result_is_the_picture_that_the_command_makes(
    client: TestClient, by_command: Callable[..., Path], tmp_path: Path
) -> None:
    out = by_command(EffortSettings((2, 2), seed=5))
    id = ask(client, picture(), **SHORT, seed=5).json()["id"]
    ended(client, id)
    content = client.get(f"/v1/restorations/{id}/image").content
    assert np.array_equal(pixels_of(content), pixels_of(out.read_bytes()))
    kept = tmp_path / "served.png"
    kept.write_bytes(content)
    assert images.read_record(kept) == images.read_record(out)


def test_waiting_answers_with_a_picture(client: TestClient) -> None:
    files = {"image": ("a.png", picture())}
    answer = client.post("/v1/restorations?task=sr2&wait=20&seed=1&outer=1&inner=3", files=files)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["restoration-nfe"] == "3/3"
    assert pixels_of(answer.content).shape == (32, 32, 3)


def test_effort_is_planned_where_only_a_deadline_is_given(client: TestClient, tmp_path: Path) -> None:
    id = ask(client, task="sr2", deadline=20).json()["id"]
    known = ended(client, id)
    assert known["stopped_by"] == "finished"
    assert known["nfe"] == sum(known["plan"]) > 0
    file = tmp_path / "a.png"
    file.write_bytes(client.get(f"/v1/restorations/{id}/image").content)
    record = images.read_record(file)
    assert record is not None
    assert record["allocation"] == known["plan"]


def test_json_brings_a_picture_in_base64(client: TestClient) -> None:
    body = {**SHORT, "image": base64.b64encode(picture()).decode()}
    answer = client.post("/v1/restorations", json=body)
    assert answer.status_code == 202
    assert ended(client, answer.json()["id"])["state"] == "done"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("image/webp", "WEBP"), ("image/jpeg;q=0.9, image/png;q=0.1", "JPEG"), ("image/tiff", "TIFF")],
)
def test_picture_comes_in_the_format_that_is_accepted(client: TestClient, accept: str, kind: str) -> None:
    id = ask(client, **SHORT).json()["id"]
    ended(client, id)
    answer = client.get(f"/v1/restorations/{id}/image", headers={"Accept": accept})
    assert Image.open(io.BytesIO(answer.content)).format == kind
    refused = client.get(f"/v1/restorations/{id}/image", headers={"Accept": "text/html"})
    assert (refused.status_code, refused.headers["content-type"]) == (406, "application/problem+json")


def test_deep_pictures_stay_deep(client: TestClient) -> None:
    deep = np.random.default_rng(0).integers(0, 65535, (16, 16), np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(deep).save(buffer, "PNG")
    id = ask(client, buffer.getvalue(), **SHORT).json()["id"]
    assert ended(client, id)["state"] == "done"
    made = Image.open(io.BytesIO(client.get(f"/v1/restorations/{id}/image").content))
    assert made.mode.startswith("I;16")


def test_events_resume_after_the_last_that_was_had(client: TestClient) -> None:
    id = ask(client, **SHORT).json()["id"]
    ended(client, id)
    everything = events_of(client.get(f"/v1/restorations/{id}/events").text)
    assert [seq for seq, _, _ in everything] == list(range(1, len(everything) + 1))
    rest = events_of(client.get(f"/v1/restorations/{id}/events", headers={"Last-Event-ID": "3"}).text)
    assert rest == everything[3:]


def test_websocket_tells_the_same_events(client: TestClient) -> None:
    id = ask(client, **SHORT).json()["id"]
    ended(client, id)
    with client.websocket_connect(
        f"/v1/restorations/{id}/events?pictures=jpg", headers={"Host": "localhost"}
    ) as socket:
        told = []
        while not told or told[-1]["event"] != "result":
            told.append(socket.receive_json())
    assert told[0]["event"] == "queued"
    sent = base64.b64decode(told[-1]["data"]["picture"])
    assert Image.open(io.BytesIO(sent)).format == "JPEG"


def test_stopped_run_keeps_its_best_and_goes_on_when_asked(client: TestClient) -> None:
    id = ask(client, task="sr2", allocation="2," + ",".join(["20"] * 40)).json()["id"]
    while client.get(f"/v1/restorations/{id}").json()["nfe"] < 2:
        pass
    assert client.post(f"/v1/restorations/{id}/stop").status_code == 202
    known = ended(client, id)
    assert known["stopped_by"] == "interrupt"
    assert 2 <= known["nfe"] < 802
    assert client.post(f"/v1/restorations/{id}/more", json={"nfe": 6}).status_code == 202
    further = ended(client, id)
    assert further["nfe"] >= known["nfe"] + 6
    assert further["stopped_by"] == "finished"
    assert further["complete"]


def test_finished_run_goes_on(client: TestClient) -> None:
    id = ask(client, **SHORT).json()["id"]
    ended(client, id)
    first = client.get(f"/v1/restorations/{id}/image").content
    assert client.post(f"/v1/restorations/{id}/more", json={"nfe": 5}).status_code == 202
    assert ended(client, id)["nfe"] == 9
    assert client.get(f"/v1/restorations/{id}/image").content != first


def test_samples_come_with_their_spread(client: TestClient) -> None:
    id = ask(client, **SHORT, samples=2).json()["id"]
    shown = {one["name"] for one in ended(client, id)["pictures"]}
    assert {"result", "sample-1", "sample-2", "std"} <= shown
    spread = pixels_of(client.get(f"/v1/restorations/{id}/image?show=std").content)
    assert spread.shape == (32, 32)
    assert spread.max() == 255


def test_mask_is_filled_and_the_rest_is_kept(client: TestClient) -> None:
    hole = np.zeros((16, 16), np.uint8)
    hole[4:8, 4:8] = 255
    buffer = io.BytesIO()
    Image.fromarray(hole).save(buffer, "PNG")
    id = ask(client, picture(), buffer.getvalue(), task="inpaint", outer=1, inner=3).json()["id"]
    assert ended(client, id)["state"] == "done"
    made = pixels_of(client.get(f"/v1/restorations/{id}/image").content)
    assert np.array_equal(made[hole == 0], pixels_of(picture())[hole == 0])


def test_forgotten_restoration_is_gone(client: TestClient) -> None:
    id = ask(client, **SHORT).json()["id"]
    assert client.delete(f"/v1/restorations/{id}").status_code == 204
    assert client.get(f"/v1/restorations/{id}").status_code == 404
    assert not (client.jobs.store.folder / id).exists()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"task": "paint"}, "task must be one of denoise"),
        ({}, "missing task"),
        ({"task": "denoise"}, "denoise needs sigma > 0"),
        ({"task": "denoise", "sigma": "much"}, "sigma must be a number or auto: got 'much'"),
        ({"task": "sr2", "colour": 1}, "there is no option 'colour'"),
        ({"task": "sr2", "seed": -1}, "--seed must be from 0"),
        ({"task": "sr2", "outer": 2, "allocation": "3,3"}, "--allocation takes the place"),
        ({"task": "deblur", "kernel": "/etc/passwd"}, "kernel must be gaussian:SIGMA"),
        ({"task": "deblur", "kernel": "disk:1000"}, "at most 129 pixels a side here: got 2000 of disk:1000"),
        ({"task": "deblur", "kernel": "motion:1000,30"}, "at most 129 pixels a side here"),
        ({"task": "deblur", "kernel": "gaussian:1,40"}, "at most 129 pixels a side here"),
        ({"task": "deblur-disk-1000"}, "at most 129 pixels a side here: got 2000 of deblur-disk-1000"),
        ({"task": "sr2", "prior": "/etc/passwd"}, "prior must be one of tiny here"),
        ({"task": "inpaint"}, "inpaint needs --mask"),
        ({"task": "sr2", "samples": 65}, "samples must be at most 64"),
        ({"task": "sr2", "outer": 100, "inner": 100}, "at most 1000 evaluations"),
        ({"task": "sr9999"}, "may have at most"),
        ({"task": "jpeg"}, "a.png"),
    ],
)
def test_wrong_options_are_one_sentence(client: TestClient, options: dict[str, Any], words: str) -> None:
    answer = ask(client, **options)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]
    assert str(client.jobs.store.folder) not in answer.text  # type: ignore[attr-defined]


def test_picture_that_is_none_is_told_by_its_own_name(client: TestClient) -> None:
    answer = ask(client, b"no picture", **SHORT)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("a.png: is not a PNG, JPEG")


def test_lists_tell_what_may_be_asked_for(client: TestClient) -> None:
    tasks = {task["name"]: task for task in client.get("/v1/tasks").json()}
    assert tasks["denoise"]["needs_sigma"]
    assert tasks["inpaint"]["takes_mask"]
    (prior,) = client.get("/v1/priors").json()
    assert (prior["name"], prior["default"], prior["width"]) == ("tiny", True, 16)


def test_metrics_count_what_has_happened(serve: Serve) -> None:
    with serve() as client:
        ended(client, ask(client, **SHORT, deadline=30).json()["id"])
        ask(client, task="paint")
        text = client.get("/metrics").text
    assert "restoration_accepted_total 1.0" in text
    assert 'restoration_ended_total{how="finished"} 1.0' in text
    assert 'restoration_deadlines_total{kept="yes"} 1.0' in text
    assert 'restoration_calls_total{prior="tiny"}' in text


def test_options_may_stand_in_the_address_the_form_or_json(client: TestClient) -> None:
    files = {"image": ("a.png", picture())}
    answer = client.post(
        "/v1/restorations?task=sr2",
        files=files,
        data={"outer": "1", "options": json.dumps({"inner": 2, "max-nfe": 9})},
    )
    assert answer.status_code == 202
    options = answer.json()["options"]
    assert (options["outer"], options["inner"], options["max_nfe"]) == (1, 2, 9)
    twice = client.post("/v1/restorations?task=sr2", files=files, data={"task": "sr4"})
    assert (twice.status_code, twice.json()["detail"]) == (422, "task is given twice")
