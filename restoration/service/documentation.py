"""The OpenAPI description, where it says more than the routes' signatures."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from restoration.service.formats import TYPES
from restoration.service.problems import MEDIA_TYPE
from restoration.service.schema import Edit, Options, Submission

IMAGES: dict[str, Any] = {
    media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in TYPES.values()
}
_OPTIONS = Options.model_json_schema(ref_template="#/components/schemas/{model}")
_BINARY = {"type": "string", "format": "binary"}
_FORM = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "image": {**_BINARY, "description": "The picture file."},
        "mask": {**_BINARY, "description": "A picture whose white marks what to fill."},
        "strokes": {**_BINARY, "description": "A PNG whose opaque pixels say what colour is there."},
        "options": {"type": "string", "description": "Options as a JSON object."},
        **_OPTIONS["properties"],
    },
}
SUBMIT: dict[str, Any] = {
    "parameters": [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": told.get("description", ""),
            "schema": {key: value for key, value in told.items() if key not in ("description", "title")},
        }
        for name, told in _OPTIONS["properties"].items()
    ],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _FORM},
            "application/json": {"schema": {"$ref": "#/components/schemas/Submission"}},
        },
    },
}
"""Of the route that takes a picture: options may stand in the address, the form or the JSON object."""


EDIT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": {**_BINARY, "description": "The changed preview."},
                        "candidate": {"type": "integer", "minimum": 1, "maximum": 64, "default": 1},
                        "trust_edit": {"type": "boolean", "default": False},
                    },
                }
            },
            "application/json": {"schema": {"$ref": "#/components/schemas/Edit"}},
        },
    },
}
"""Of the route that takes a changed preview."""


def refusals(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Answers that say what is wrong."""
    return {
        code: {
            "description": HTTPStatus(code).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for code in codes
    }


def described(app: FastAPI, secured: bool) -> dict[str, Any]:
    """The OpenAPI description of an app.

    Args:
        secured: it asks for a token.
    """
    if app.openapi_schema is not None:
        return app.openapi_schema
    from restoration.service.problems import Problem

    told = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    schemas = told["components"]["schemas"]
    template = "#/components/schemas/{model}"
    for model in (Problem, Submission, Edit):
        schema = model.model_json_schema(ref_template=template)
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    for name in ("HTTPValidationError", "ValidationError"):  # errors are problems here
        schemas.pop(name, None)
    everywhere = refusals(401, 421) if secured else refusals(421)
    for path, routes in told["paths"].items():
        for route in routes.values():
            answers = route["responses"]
            if "422" in answers and "HTTPValidationError" in str(answers["422"]):
                answers["422"] = refusals(422)[422]
            if path.startswith(("/v1/", "/metrics")):
                answers |= {str(code): answer for code, answer in everywhere.items()}
                answers |= {str(code): answer for code, answer in refusals(403, 413).items()}
    if secured:
        told["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        told["security"] = [{"token": []}]
    app.openapi_schema = told
    return told
