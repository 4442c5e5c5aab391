"""The list, the products and the OpenAPI document, through the function."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import pytest

from functions.list_customers import handler
from shared.domain.merge import Observation
from shared.storage.customers import Customers
from shared.storage.keys import product_key
from shared.storage.records import Records
from shared.tenant import Tenant
from tests.dynamo import Tables
from tests.functions.conftest import Context
from tests.functions.http import api_event, json_of
from tests.storage import people

DEMO = Tenant("demo")
OTHER = Tenant("other")

pytestmark = pytest.mark.usefixtures("wired")


def ask(
    query: list[tuple[str, str]] | str = "", path: str = "/v1/customers", **request: Any
) -> dict[str, Any]:
    return handler.lambda_handler(api_event("GET", path, query=query, **request), Context())


def names(query: list[tuple[str, str]] | str = "", **request: Any) -> list[str]:
    answer = ask(query, **request)
    assert answer["statusCode"] == 200, answer["body"]
    return [item["name"] for item in json_of(answer)["items"]]


def refusal(query: list[tuple[str, str]] | str, **request: Any) -> tuple[int, str, str]:
    answer = ask(query, **request)
    body = json_of(answer)
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    return answer["statusCode"], body["code"], body["detail"]


@pytest.fixture
def records(wired: Tables) -> Records:
    return Records(wired.records)


@pytest.fixture
def customers(wired: Tables) -> Customers:
    return Customers(wired.records, wired.index)


@pytest.fixture
def shop(records: Records, customers: Customers) -> None:
    """Five customers of one store and one of another."""

    def add(tenant: Tenant, account: str, **values: Any) -> None:
        people.add_customer(records, customers, tenant, account, **values)

    add(DEMO, "cus_A1", name="Renée Smith", email="renee@acme.com", at=1_700_000_001)
    add(DEMO, "cus_B2", name="Bo", email="bo@example.com", products=["prod_2"], at=1_700_000_002)
    add(
        DEMO,
        "cus_C3",
        name="Carla Acme",
        email="c@x.io",
        grouptizer_id="Gr-77",
        livemode=False,
        at=1_700_000_003,
    )
    add(
        DEMO, "cus_D4", name="田中太郎", email=None, products=["prod_2", "prod_3"], at=1_700_000_004
    )
    people.observe_profile(
        records, DEMO, "store:77", name="Eve", email=None, source="store", at=1_700_000_005
    )
    people.observe_redemption(records, DEMO, "store:77", "code_1", at=1_700_000_005)
    customers.reindex(DEMO, "store:77")
    people.observe_charge(records, DEMO, "cus_C3", "ABCDEF123456")
    add(OTHER, "cus_Z9", name="Zoe Foreign", email="zoe@acme.com")
    people.observe_charge(records, OTHER, "cus_Z9", "ZZZZZZ123456")


@pytest.mark.usefixtures("shop")
class TestList:
    def test_the_newest_customer_comes_first_unless_asked_otherwise(self) -> None:
        everybody = ["Eve", "田中太郎", "Carla Acme", "Bo", "Renée Smith"]
        assert names() == names("sort=newest") == everybody
        assert names("sort=oldest") == everybody[::-1]

    def test_a_page_has_25_customers_unless_asked_otherwise(
        self, records: Records, customers: Customers
    ) -> None:
        for number in range(25):
            people.add_customer(
                records, customers, DEMO, f"cus_N{number}", name=f"No {number}", at=1_800_000_000
            )
        first = json_of(ask())
        assert len(first["items"]) == 25
        assert len(json_of(ask("limit=100"))["items"]) == 30
        assert names([("cursor", first["next_cursor"])])[-1] == "Renée Smith"

    def test_a_row_has_the_fields_of_the_contract(self) -> None:
        answer = json_of(ask("search=Gr-77"))
        (item,) = answer["items"]
        assert item.pop("customer_id").startswith("cust_")
        assert item == {
            "grouptizer_id": "Gr-77",
            "name": "Carla Acme",
            "email": "c@x.io",
            "avatar_url": None,
            "payment_providers": ["stripe_test"],
            "used_access_code": False,
            "customer_since": "2023-11-14T22:13:23Z",
        }
        assert answer["next_cursor"] is None

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("search=renee", ["Renée Smith"]),
            ("search=REN%C3%89E", ["Renée Smith"]),
            ("search=%40acme", ["Renée Smith"]),
            ("search=acme", ["Carla Acme", "Renée Smith"]),
            ("search=acme+c", ["Carla Acme", "Renée Smith"]),
            ("search=acme+ca", ["Carla Acme"]),
            ("search=smith+ren", ["Renée Smith"]),
            ("search=bo", ["Bo"]),
            ("search=o", []),
            ("search=%E7%94%B0%E4%B8%AD", ["田中太郎"]),
            ("search=%E7%94%B0", ["田中太郎"]),
            ("search=gr-7", ["Carla Acme"]),
            ("search=CUS_a1", ["Renée Smith"]),
            ("search=r-77", []),
            ("search=nobody", []),
            ("search=-", []),
            ("search=+", ["Eve", "田中太郎", "Carla Acme", "Bo", "Renée Smith"]),
            ("product_id=prod_2", ["田中太郎", "Bo"]),
            ("product_id=prod_2&product_id=prod_3", ["田中太郎", "Bo"]),
            (
                "product_id=prod_3&product_id=prod_1",
                ["Eve", "田中太郎", "Carla Acme", "Renée Smith"],
            ),
            ("product_id=*", []),
            ("payment_provider=stripe_test", ["Carla Acme"]),
            (
                "payment_provider=stripe_test&payment_provider=stripe",
                ["田中太郎", "Carla Acme", "Bo", "Renée Smith"],
            ),
            ("used_access_code=true", ["Eve"]),
            ("used_access_code=false&product_id=prod_1", ["Carla Acme", "Renée Smith"]),
            ("transaction_id=ABCDEF123456", ["Carla Acme"]),
            ("transaction_id=abcdef123456&search=carla", ["Carla Acme"]),
            ("transaction_id=ABCDEF123456&search=bo", []),
            ("transaction_id=ABCDEF123456&payment_provider=stripe", []),
            ("transaction_id=ZZZZZZ123456", []),
            ("transaction_id=NOTTHERE1234", []),
            ("search=acme&product_id=prod_1&payment_provider=stripe", ["Renée Smith"]),
        ],
    )
    def test_filters_combine(self, query: str, expected: list[str]) -> None:
        assert names(query) == expected

    @pytest.mark.parametrize(
        ("name", "searches"),
        [
            ("O\u2019Quirk", ["o'quirk", "O\u00b4Quirk", "o`q", "\u02bcquirk"]),
            ("O'Quirk", ["o\u2019quirk", "O\u2018Quirk"]),
            ("Vera\u2011Lynn", ["vera-lynn", "a\u2013l", "VERA\u2010LYNN"]),
            ("\u738b\u5c0f\u660e", ["\u5c0f\u660e", "\u738b\u5c0f", "\u660e"]),
        ],
    )
    def test_what_keyboards_exchange_is_found(
        self, records: Records, customers: Customers, name: str, searches: list[str]
    ) -> None:
        people.add_customer(records, customers, DEMO, "cus_K", name=name, email=None)
        for search in searches:
            assert names([("search", search)]) == [name], search

    def test_ids_are_found_whole_and_by_their_beginning(self) -> None:
        customer_id = json_of(ask("search=carla"))["items"][0]["customer_id"]
        assert names([("search", customer_id)]) == ["Carla Acme"]
        assert names([("search", customer_id[:14].upper())]) == ["Carla Acme"]

    def test_pages_follow_each_other_to_the_end(self) -> None:
        seen, query = [], [("limit", "2")]
        for _ in range(3):
            page = json_of(ask(query))
            seen += [item["name"] for item in page["items"]]
            query = [("limit", "2"), ("cursor", page["next_cursor"])]
        assert seen == ["Eve", "田中太郎", "Carla Acme", "Bo", "Renée Smith"]
        assert page["next_cursor"] is None

    def test_a_cursor_survives_another_page_size_but_no_other_query_or_store(self) -> None:
        token = json_of(ask("limit=2&search=e"))["next_cursor"]
        token = json_of(ask("limit=2"))["next_cursor"]
        assert names([("limit", "100"), ("cursor", token)]) == ["Carla Acme", "Bo", "Renée Smith"]
        invalid = (422, "invalid_cursor", "The cursor does not belong to this query")
        for other in ("sort=oldest", "search=e", "product_id=prod_1", "used_access_code=false"):
            assert refusal(f"{other}&cursor={token}") == invalid
        assert refusal([("cursor", token)], store="other") == invalid
        assert refusal([("cursor", token[:-1] + "~")]) == invalid

    def test_another_store_sees_only_its_own(self) -> None:
        assert names(store="other") == ["Zoe Foreign"]
        assert names("search=acme", store="other") == ["Zoe Foreign"]
        assert names("search=cus_A1", store="other") == []
        assert names("transaction_id=ABCDEF123456", store="other") == []
        assert names(store="nobody") == []

    def test_without_search_exactly_the_rows_of_the_page_and_one_are_read(
        self, wired: Tables, log: io.StringIO
    ) -> None:
        wired.client.calls.clear()
        ask("limit=2")
        line = json.loads(log.getvalue().splitlines()[-1])
        assert (line["evaluated"], line["calls"]) == (3, 1)
        assert wired.client.calls == {"query": 1}
        ask("limit=2&product_id=prod_1&product_id=prod_2")
        assert json.loads(log.getvalue().splitlines()[-1])["evaluated"] <= 6

    def test_no_search_text_and_no_customer_is_logged(self, log: io.StringIO) -> None:
        ask("search=ren%C3%A9e")
        assert log.getvalue()
        assert "ren" not in log.getvalue().replace("renders", "")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("search=" + "x" * 201, "search"),
        ("sort=random", "sort"),
        ("used_access_code=yes", "used_access_code"),
        ("payment_provider=paypal", "payment_provider"),
        ("product_id=", "product_id"),
        ("&".join(f"product_id=p{n}" for n in range(26)), "product_id"),
        ("transaction_id=", "transaction_id"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=2&limit=3", "limit"),
        ("search=a&search=b", "search"),
        ("colour=red", "colour"),
    ],
)
def test_a_bad_parameter_is_named(query: str, named: str) -> None:
    status, code, detail = refusal(query)
    assert (status, code) == (422, "invalid_request")
    assert named in detail


def test_a_token_without_a_store_is_refused() -> None:
    assert refusal("", claims={"sub": "x"})[:2] == (403, "forbidden")
    assert refusal("", claims={"store_id": "[demo other]"})[:2] == (403, "forbidden")
    assert refusal("", path="/v1/products", claims={})[:2] == (403, "forbidden")


def test_products_are_listed_by_name(records: Records) -> None:
    for product_id, name, livemode in (
        ("prod_2", "beta", True),
        ("prod_1", "Ärger", True),
        ("prod_1", "Test", False),
    ):
        seen = Observation("product", {"name": name, "chats": [], "deleted": False}, 5, "evt_1")
        records.observe(product_key(DEMO, product_id, livemode), seen, fetch=people.no_fetch)
    assert json_of(ask(path="/v1/products")) == {
        "items": [
            {"product_id": "prod_1", "name": "Ärger", "payment_provider": "stripe"},
            {"product_id": "prod_2", "name": "beta", "payment_provider": "stripe"},
            {"product_id": "prod_1", "name": "Test", "payment_provider": "stripe_test"},
        ]
    }
    assert json_of(ask(path="/v1/products", store="other")) == {"items": []}


def test_the_openapi_document_needs_no_token() -> None:
    answer = ask(path="/v1/openapi.json", store=None)
    assert answer["statusCode"] == 200
    assert "/v1/customers" in json_of(answer)["paths"]


def test_the_list_answers_without_loading_what_it_does_not_use() -> None:
    code = (
        "import sys; import functions.list_customers.handler;"
        "print([m for m in ('stripe', 'requests', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="."
    )
    assert done.stdout.strip() == "[]"


def test_a_secret_without_a_key_is_a_fault_of_ours_and_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CURSOR_SECRET_ARN", "")
    assert refusal("")[:2] == (500, "internal_error")
