"""The OpenAPI document, and that nothing is served which it does not show."""

import re
from importlib import resources

from gateway.api.gate import OPERATIONS
from gateway.api.openapi import TAGS, document


def test_each_operation_is_described() -> None:
    names = set()
    for operation in OPERATIONS:
        assert operation.summary and operation.tag in TAGS, operation.path
        assert operation.id not in names, "operation ids are unique"
        names.add(operation.id)
        assert set(re.findall(r"\{(\w+)\}", operation.path)) == {p.name for p in operation.parameters if p.where == "path"}


def test_bodies_refuse_what_they_do_not_know_also_in_the_document() -> None:
    schemas = document(OPERATIONS, keyed=False)["components"]["schemas"]
    for operation in OPERATIONS:
        if operation.body is not None:
            assert schemas[operation.body.__name__]["additionalProperties"] is False


def test_the_names_of_the_seed_stay() -> None:
    paths = document(OPERATIONS, keyed=False)["paths"]
    assert {"/api/health", "/api/recover-session", "/api/queue-status", "/api/clear-queue"} <= set(paths)
    health = document(OPERATIONS, keyed=False)["components"]["schemas"]["Health"]["properties"]
    assert {"session_health", "last_health_check", "message_queue_length", "processing_queue", "restart_in_progress"} <= set(health)


def test_times_are_shown_as_times() -> None:
    schemas = document(OPERATIONS, keyed=False)["components"]["schemas"]
    assert schemas["MessageDetail"]["properties"]["accepted_at"]["format"] == "date-time"
    assert "date-time" in str(schemas["MessageIn"]["properties"]["send_at"])


def test_the_docs_page_loads_nothing_from_elsewhere() -> None:
    for file in (resources.files("gateway.api") / "web").iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//[a-z]+\.[a-z]{2,}", text), file.name
