"""Errors of the API and of the webhook: one renderer, one shape, the same headers."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from shared.domain.errors import CustomersError, NotFound, TryAgainLater
from shared.http.problem import HEADERS, refusal_of
from tests.functions.http import api_event, json_of
from tests.functions.shop import Shop
from tests.functions.webhook_world import signed


def error(code: str, status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetItem"
    )


def test_the_webhook_and_the_api_render_errors_alike(shop: Shop) -> None:
    refused = (
        shop.invoke("stripe_webhook", api_event("POST", "/v1/webhooks/stripe", body="{}")),
        shop.invoke("list_customers", api_event("GET", "/v1/customers", query="limit=0")),
        shop.invoke("get_customer", api_event("GET", "/v1/customers/cust_nobody")),
        shop.invoke("cancel_purchase", api_event("POST", "/v1/customers/x/purchases/y/cancel")),
    )
    shapes = {tuple(json_of(answer)) for answer in refused}
    assert shapes == {("type", "title", "status", "detail", "code", "request_id")}
    for answer in refused:
        headers = answer["headers"]
        assert headers["Content-Type"] == "application/problem+json"
        assert {name: headers[name] for name in HEADERS} == HEADERS


def test_the_webhooks_answer_to_an_event_carries_the_headers_too(shop: Shop) -> None:
    event = {"object": "event", "id": "e", "type": "ping", "created": 1, "data": {"object": {}}}
    body = json.dumps(event)
    headers = {"Stripe-Signature": signed(body.encode())}
    request = api_event("POST", "/v1/webhooks/stripe", body=body, headers=headers)
    answer = shop.invoke("stripe_webhook", request)
    assert answer["statusCode"] == 200
    assert {name: answer["headers"][name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    "passing",
    [
        error("ThrottlingException"),
        error("ProvisionedThroughputExceededException"),
        error("InternalServerError", 500),
        error("SomethingNew", 503),
        ReadTimeoutError(endpoint_url="http://dynamodb"),
        EndpointConnectionError(endpoint_url="http://dynamodb"),
    ],
    ids=lambda raised: type(raised).__name__,
)
def test_a_fault_of_aws_that_may_pass_is_503(passing: Exception) -> None:
    assert isinstance(refusal_of(passing), TryAgainLater)


@pytest.mark.parametrize(
    "lasting", [error("AccessDeniedException"), error("ValidationException"), KeyError("sub_1")]
)
def test_a_fault_that_lasts_is_500_and_shows_no_text(lasting: Exception) -> None:
    refusal = refusal_of(lasting)
    assert type(refusal) is CustomersError
    assert (refusal.status, refusal.code) == (500, "internal_error")
    assert "sub_1" not in refusal.detail


def test_a_refusal_of_ours_is_told_as_it_is() -> None:
    refusal = NotFound()
    assert refusal_of(refusal) is refusal
