"""The OpenAPI 3.1 document of the API, made from its routes and the values that it answers with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from proxy import __version__

_ERROR: Final = {"$ref": "#/components/schemas/Trouble"}


class Trouble(msgspec.Struct, frozen=True):
    """What went wrong, in a sentence."""

    error: str


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a route. `place` is path or query."""

    name: str
    place: str
    says: str
    schema: dict[str, Any]


class Described(msgspec.Struct, frozen=True):
    """One route: its path, what it answers, and with which value."""

    path: str
    name: str
    says: str
    answer: Any
    parameters: tuple[Parameter, ...] = ()
    can_miss: bool = False


def document(routes: Iterable[Described]) -> dict[str, Any]:
    """Return the document."""
    routes = tuple(routes)
    schemas, components = msgspec.json.schema_components(
        [*(route.answer for route in routes), Trouble], ref_template="#/components/schemas/{name}"
    )
    paths = {route.path: {"get": _operation(route, schema)} for route, schema in zip(routes, schemas, strict=False)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "scim-witness",
            "version": __version__,
            "summary": "Read-only: incidents with their causes, tokens by fingerprint, tenants, absence",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "ops.token; not needed on loopback without it"}
            },
        },
    }


def _operation(route: Described, schema: dict[str, Any]) -> dict[str, Any]:
    answers = {"200": _answer("The answer.", schema), "503": _answer("The store does not answer.", _ERROR)}
    if route.parameters:
        answers["400"] = _answer("A parameter cannot be.", _ERROR)
    if route.can_miss:
        answers["404"] = _answer("There is no such thing.", _ERROR)
    return {
        "operationId": route.name,
        "summary": route.says,
        "parameters": [
            {"name": p.name, "in": p.place, "required": p.place == "path", "description": p.says, "schema": p.schema}
            for p in route.parameters
        ],
        "responses": answers,
    }


def _answer(says: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": says, "content": {"application/json": {"schema": schema}}}
