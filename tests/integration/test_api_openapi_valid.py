"""The OpenAPI document by an independent validator. Its meta-schemas take a second: not for the fast tests."""

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.api.gate import OPERATIONS
from gateway.api.openapi import document


@pytest.mark.parametrize("keyed", [True, False])
def test_the_document_is_valid_openapi_3_1(keyed: bool) -> None:
    found = document(OPERATIONS, keyed=keyed)
    OpenAPIV31SpecValidator(found).validate()
    assert bool(found["security"]) is keyed
