"""What every function of the API answers alike."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from shared.domain.deadline import Deadline
from shared.domain.errors import (
    InvalidCursor,
    InvalidRequest,
    OperationInProgress,
    StoreClaimMissing,
)
from shared.http import cursor
from shared.http.app import json_response, limit_of, make_app, query_params, respond, tenant_of
from shared.storage.secrets import Secrets
from shared.tenant import Tenant
from tests.functions.conftest import Context, FakeSecretsManager
from tests.functions.http import api_event, json_of

TENANT = Tenant("demo")


def _app() -> Any:
    app = make_app()

    @app.get("/ok")
    def ok() -> Any:
        return json_response({"text": "é" * 2000})

    @app.get("/refused")
    def refused() -> Any:
        raise OperationInProgress

    @app.get("/broken")
    def broken() -> Any:
        raise KeyError("renee@example.com")

    return app


def test_a_refusal_is_a_problem_document(context: Context) -> None:
    event = api_event("GET", "/refused")
    answer = respond(_app(), event, context)
    assert answer["statusCode"] == 409
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    assert json_of(answer) == {
        "type": "about:blank",
        "title": "Another change of this purchase is running",
        "status": 409,
        "detail": "Another change of this purchase is running",
        "code": "operation_in_progress",
        "request_id": event["requestContext"]["requestId"],
    }


def test_a_fault_of_ours_tells_nothing_of_itself(context: Context, log: io.StringIO) -> None:
    answer = respond(_app(), api_event("GET", "/broken"), context)
    assert (answer["statusCode"], json_of(answer)["code"]) == (500, "internal_error")
    assert "renee" not in json.dumps(answer)
    assert "KeyError" in log.getvalue()
    assert "renee" not in log.getvalue()


def test_a_large_answer_is_gzipped_where_it_is_accepted(context: Context) -> None:
    plain = respond(_app(), api_event("GET", "/ok"), context)
    packed = respond(
        _app(), api_event("GET", "/ok", headers={"Accept-Encoding": "br, gzip"}), context
    )
    refused = respond(
        _app(), api_event("GET", "/ok", headers={"Accept-Encoding": "gzip;q=0"}), context
    )
    assert packed["headers"]["Content-Encoding"] == "gzip"
    assert len(packed["body"]) < len(plain["body"])
    assert "Content-Encoding" not in refused["headers"]
    assert json_of(packed) == json_of(plain) == json_of(refused)


def test_every_answer_is_kept_out_of_caches_and_frames(context: Context) -> None:
    for path in ("/ok", "/refused", "/broken", "/unknown"):
        headers = respond(_app(), api_event("GET", path), context)["headers"]
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("claim", [None, "", "[a b]", ["a"], "a b", "a#b", 5])
def test_a_claim_that_names_no_single_store_is_refused(claim: Any) -> None:
    with pytest.raises(StoreClaimMissing):
        tenant_of(api_event("GET", "/", claims={"store_id": claim}), "store_id")


def test_no_token_at_all_is_refused() -> None:
    with pytest.raises(StoreClaimMissing):
        tenant_of(api_event("GET", "/", store=None), "store_id")


def test_the_claim_is_the_one_the_setting_names() -> None:
    event = api_event("GET", "/", claims={"custom:shop": "s1", "store_id": "s2"})
    assert tenant_of(event, "custom:shop") == Tenant("s1")


def test_repeated_parameters_and_commas_are_told_apart() -> None:
    event = api_event("GET", "/", query="a=1%2C2&a=3&b=x+y")
    assert query_params(event, frozenset({"a", "b"})) == {"a": ["1,2", "3"], "b": ["x y"]}


def test_an_unknown_parameter_is_named() -> None:
    with pytest.raises(InvalidRequest, match="serch"):
        query_params(api_event("GET", "/", query="serch=x"), frozenset({"search"}))


def test_a_query_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        query_params(api_event("GET", "/", query="a=%ff"), frozenset({"a"}))


@pytest.mark.parametrize("text", ["0", "101", "-1", "1.5", "", "ten", "+5", " 5", "٥", "1_0"])
def test_a_limit_out_of_range_is_named(text: str) -> None:
    with pytest.raises(InvalidRequest, match="limit"):
        limit_of({"limit": [text]})


def test_a_cursor_works_with_its_own_store_and_query_only() -> None:
    bind = cursor.binding(TENANT, "newest", ["p"])
    token = cursor.encode(b"key", bind, "01763800000#cust_é")
    assert cursor.decode(b"key", bind, token) == "01763800000#cust_é"
    others = [
        (b"other", bind),
        (b"key", cursor.binding(Tenant("other"), "newest", ["p"])),
        (b"key", cursor.binding(TENANT, "oldest", ["p"])),
    ]
    for key, other in others:
        with pytest.raises(InvalidCursor):
            cursor.decode(key, other, token)


def test_no_altered_cursor_is_accepted() -> None:
    bind = cursor.binding(TENANT, "newest")
    token = cursor.encode(b"key", bind, "01763800000#cust_a")
    for at in range(len(token)):
        for letter in "Az_.=é\0":
            altered = token[:at] + letter + token[at + 1 :]
            if altered != token:
                with pytest.raises(InvalidCursor):
                    cursor.decode(b"key", bind, altered)
    for broken in ("", ".", "x", token + "=", token[:-1], token + "A", "A" * 5000):
        with pytest.raises(InvalidCursor):
            cursor.decode(b"key", bind, broken)


def test_a_secret_is_read_once_in_five_minutes_and_again_on_request(
    secrets_manager: FakeSecretsManager,
) -> None:
    now = 1000.0
    secrets = Secrets(secrets_manager, Deadline(lambda: now))
    arn = "TELEGRAM_SECRET_ARN"
    assert secrets.get(arn) == secrets.get(arn) == {"token": "123:local"}
    assert len(secrets_manager.reads) == 1
    secrets_manager.values[arn] = {"token": "new"}
    now += 11
    assert secrets.get(arn) == {"token": "123:local"}
    assert secrets.refresh(arn) == secrets.refresh(arn) == {"token": "new"}
    assert len(secrets_manager.reads) == 2
    now += 301
    secrets_manager.values[arn] = {"token": "newest"}
    assert secrets.get(arn) == {"token": "newest"}
