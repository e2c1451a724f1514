"""What the API says of itself is true: requests made from it are answered so, and never by a server's error."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from starlette.testclient import TestClient

from restoration.client import Client

from .conftest import Serve, picture

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


def test_nothing_that_follows_the_description_is_the_server_s_error(listen: Serve) -> None:
    tried: Counter[int] = Counter()

    def checked(operation: Any, id: str) -> Any:
        def check(case: Any) -> None:
            if "id" in (case.path_parameters or {}) and tried.total() % 2:
                case.path_parameters["id"] = id
            answer = case.call()
            status = answer.status_code
            tried[status] += 1
            assert status < 500 or status in (503, 504), case.as_curl_command()
            documented = operation.definition.raw["responses"]
            assert str(status) in documented, (status, answer.text[:300])
            kinds = documented[str(status)].get("content", {})
            assert answer.headers.get("content-type", [""])[0].partition(";")[0] in kinds or not answer.content

        return given(case=operation.as_strategy())(check)

    bounded = settings(
        max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    with listen() as address:
        with Client(address) as client:
            job = client.submit(picture(), task="sr2", outer=1, inner=2)
            job.result()
        schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
        for operation in (found.ok() for found in schema.get_all_operations()):
            if operation.method.upper() != "DELETE":
                bounded(checked(operation, job.id))()
    assert tried.total() > 50
    assert tried[200]
    assert tried[422]
