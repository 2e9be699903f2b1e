"""The OpenAPI document is valid, and whatever is asked by it is answered by it."""

from __future__ import annotations

import os
from collections import Counter
from datetime import timedelta
from itertools import product
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.failures import FailureGroup

from examples.fastapi_app.app import Settings, create_app
from tests.examples.test_fastapi_app.served import NEW, SECRET, Served, served
from tests.waiting import DEADLINE

# Each operation gets some in any case; `make prove` sets 5000.
REQUESTS = int(os.environ.get("PROVE_REQUESTS", "50"))
# Valid ones that name what is there, without which nearly all would be 404; valid ones; others.
# Of how many examples: an invalid one takes long to be made.
KINDS = (
    (GenerationMode.POSITIVE, True, 3),
    (GenerationMode.POSITIVE, False, 1),
    (GenerationMode.NEGATIVE, False, 1),
)


def document_of(desk: Served) -> dict[str, Any]:
    """The OpenAPI document."""
    document: dict[str, Any] = desk.client.get("/openapi.json").json()
    return document


def test_the_document_is_valid() -> None:
    app = create_app(Settings(database_url="postgresql://h/d", cursor_secret=SECRET))
    document = app.openapi()
    assert document["openapi"].startswith("3.1")
    schemathesis.openapi.from_dict(document).validate()
    broken = document | {"paths": {"/tickets": {"get": {"responses": 1}}}}
    with pytest.raises(Exception, match="responses"):
        schemathesis.openapi.from_dict(broken).validate()


def test_every_operation_declares_its_failures() -> None:
    app = create_app(Settings(database_url="postgresql://h/d", cursor_secret=SECRET))
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            assert {"404", "409", "422", "503"} <= set(operation["responses"]), (path, method)
            model = operation["responses"]["422"]["content"]["application/json"]["schema"]
            assert model == {"$ref": "#/components/schemas/Problem"}


def test_generated_requests_break_nothing(desk_url: str, record_property: Any) -> None:
    app = create_app(Settings(database_url=desk_url, cursor_secret=SECRET))
    with served(app, desk_url) as desk:
        rows = [NEW | {"title": f"Ticket {n}"} for n in range(20)]
        headers = {"X-Actor-Id": "1"}
        assert desk.client.post("/tickets/import", json=rows, headers=headers).is_success
        schema = schemathesis.openapi.from_url(f"{desk.url}/openapi.json")
        schema.validate()
        found: list[Any] = list(schema.get_all_operations())
        operations = [result.ok() for result in found]
        parts = len(operations) * sum(times for _, _, times in KINDS)
        answers: dict[str, Counter[int]] = {each.label: Counter() for each in operations}
        try:
            with requests.Session() as session:
                # What takes few arguments has few requests: then all get more.
                while (missing := REQUESTS - sum(map(Counter.total, answers.values()))) > 0:
                    share = max(1, missing // parts)
                    for operation, (mode, known, times) in product(operations, KINDS):
                        seen = answers[operation.label]
                        examples = share * times
                        walk(desk, operation, mode, examples, session, known=known, answers=seen)
        finally:
            record_property("requests", sum(map(Counter.total, answers.values())))
        # The requests came through: what can succeed has succeeded.
        for label, seen in answers.items():
            assert any(status < 300 for status in seen), (label, seen)
        desk.assert_clean()


def name_what_is_there(case: Any, desk: Served, data: st.DataObject) -> None:
    """Let *case* be about the seeded tickets, customer and agent."""
    case.headers["X-Actor-Id"] = "1"
    if "ticket_id" in (case.path_parameters or {}):
        # Not 1, which the simplest request is about, nor what is deleted here: these are there.
        gone = case.method == "DELETE"
        case.path_parameters["ticket_id"] = data.draw(
            st.integers(11, 20) if gone else st.integers(2, 10)
        )
    if "If-Match" in case.headers:
        ticket = desk.client.get(f"/tickets/{case.path_parameters['ticket_id']}")
        case.headers["If-Match"] = ticket.headers.get("ETag", '"1"')
    for body in case.body if isinstance(case.body, list) else [case.body]:
        if isinstance(body, dict):
            there = {"organization_id": 1, "assignee_id": 2}
            body.update({name: there[name] for name in there.keys() & body.keys()})


def walk(
    desk: Served,
    operation: Any,
    mode: GenerationMode,
    examples: int,
    session: requests.Session,
    *,
    known: bool,
    answers: Counter[int],
) -> None:
    """Make requests for one operation; *answers* counts how often which status came."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def ask(case: Any, data: st.DataObject) -> None:
        if known:
            name_what_is_there(case, desk, data)
        response = case.call(base_url=desk.url, session=session, timeout=DEADLINE)
        answers[response.status_code] += 1
        assert response.status_code < 500, response.text
        case.validate_response(
            response,
            checks=[
                CHECKS.get_one(name)
                for name in (
                    "not_a_server_error",
                    "status_code_conformance",
                    "content_type_conformance",
                    "response_headers_conformance",
                    "response_schema_conformance",
                )
            ],
        )

    try:
        ask()
    except Unsatisfiable:
        assert mode == GenerationMode.NEGATIVE, "what takes no arguments cannot be asked wrongly"


def test_an_answer_that_breaks_its_schema_would_be_seen(desk_url: str) -> None:
    app = create_app(Settings(database_url=desk_url, cursor_secret=SECRET))
    with served(app, desk_url) as desk:
        schema = schemathesis.openapi.from_dict(document_of(desk))
        case = schema["/health"]["GET"].Case()
        answer = httpx.Response(200, json={"status": 1}, request=httpx.Request("GET", desk.url))
        answer.elapsed = timedelta(0)
        with pytest.raises(FailureGroup, match="1 distinct failure"):
            case.validate_response(answer)
