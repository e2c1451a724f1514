"""What the API says of itself is true: requests made from it are answered so, and never by a server's error."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from starlette.testclient import TestClient

from .conftest import Serve, ask, ended

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")


def test_description_names_every_option_and_no_other_error(client: TestClient) -> None:
    told = client.get("/openapi.json").json()
    submit = told["paths"]["/v1/restorations"]["post"]
    names = {parameter["name"] for parameter in submit["parameters"]}
    assert {"task", "sigma", "deadline", "samples", "wait"} <= names
    assert set(submit["requestBody"]["content"]) == {"multipart/form-data", "application/json"}
    assert "HTTPValidationError" not in json.dumps(told)
    for path in told["paths"].values():
        for operation in path.values():
            assert operation["summary"]


@pytest.fixture(scope="module")
def described(serve: Serve) -> Any:
    """The API's description, with a restoration in it that there is."""
    with serve() as client:
        id = ask(client, task="sr2", outer=1, inner=2).json()["id"]
        ended(client, id)
        schema = schemathesis.openapi.from_asgi("/openapi.json", client.app)
        yield schema, client, id


def test_nothing_that_follows_the_description_is_the_server_s_error(described: Any) -> None:
    schema, client, id = described
    tried = 0

    def check(operation: Any, case: Any) -> None:
        nonlocal tried
        tried += 1
        if "id" in (case.path_parameters or {}) and tried % 2:
            case.path_parameters["id"] = id
        case.headers = {**(case.headers or {}), "Host": "localhost"}
        answer = case.call(session=client)
        assert answer.status_code < 500 or answer.status_code in (503, 504), case.as_curl_command()
        documented = operation.definition.raw["responses"]
        assert str(answer.status_code) in documented, (answer.status_code, answer.text[:300])
        kinds = documented[str(answer.status_code)].get("content", {})
        assert answer.headers.get("content-type", "").partition(";")[0] in kinds or not answer.content

    bounded = settings(
        max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    for operation in (found.ok() for found in schema.get_all_operations()):
        if operation.method.upper() != "DELETE":
            bounded(given(case=operation.as_strategy())(partial(check, operation)))()
    assert tried > 100
