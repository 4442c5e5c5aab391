"""Search in the Stripe stand-in: what is found, when, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
import stripe

from standins.stripe import OLDEST, StandinServer, StripeStandin
from standins.stripe.search_index import DEFAULT_LAG
from tests.standins.stripe_caller import NOW, Client

USER_7 = "metadata['telegram_user_id']:'7'"


@pytest.fixture
def prompt(standin: StripeStandin) -> StripeStandin:
    """A stand-in whose Search does not lag."""
    standin.search_index.set_lag(0)
    return standin


def ids(found: Any) -> list[str]:
    return [item.id for item in found.data]


def refusal(call: Any) -> stripe.InvalidRequestError:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        call()
    return refused.value


# --- what is found ------------------------------------------------------------------------


def test_subscriptions_are_found_by_their_metadata(prompt: StripeStandin, client: Client) -> None:
    made = prompt.live.subscribe(telegram_user_id=7)
    prompt.live.subscribe(telegram_user_id=77)

    found = client().subscriptions.search({"query": USER_7})

    assert ids(found) == [made["id"]]
    assert found.object == "search_result"
    assert found.url == "/v1/subscriptions/search"
    assert (found.has_more, found.next_page) == (False, None)


def test_payments_are_found_by_their_metadata(prompt: StripeStandin, client: Client) -> None:
    made = prompt.live.buy_one_off(telegram_user_id=7)
    prompt.live.subscribe(telegram_user_id=7)  # its payment has no metadata of its own

    assert ids(client().payment_intents.search({"query": USER_7})) == [made["payment_intent"]]


def test_all_clauses_must_match_or_any_where_they_are_joined_by_or(
    prompt: StripeStandin, client: Client
) -> None:
    live = prompt.live.subscribe(telegram_user_id=7)["id"]
    over = prompt.live.subscribe(telegram_user_id=7)["id"]
    prompt.live.cancel_subscription(over)
    other = prompt.live.subscribe(telegram_user_id=8)["id"]

    def found(query: str) -> set[str]:
        return set(ids(client().subscriptions.search({"query": query})))

    assert found(f"status:'active' AND {USER_7}") == {live}
    assert found(f"status:'active' {USER_7}") == {live}
    assert found(f"status:'active' and -{USER_7}") == {other}
    assert found('status:\'canceled\' OR metadata["telegram_user_id"]:"8"') == {over, other}
    assert found(f"-status:'canceled' {USER_7}") == {live}
    assert found("status:'ACTIVE'") == {live, other}


def test_numbers_are_compared_and_fields_may_be_asked_for_presence(
    prompt: StripeStandin, client: Client
) -> None:
    small = prompt.live.buy_one_off(amount=500, telegram_user_id=7)["payment_intent"]
    large = prompt.live.buy_one_off(amount=5000, guest=True)["payment_intent"]

    def found(query: str) -> list[str]:
        return ids(client().payment_intents.search({"query": query}))

    assert found("amount>500") == [large]
    assert found("amount>='500' amount<5000") == [small]
    assert found("amount:5000") == [large]
    assert found(f"created<={NOW}") == [large, small]
    assert found("customer:null") == [large]
    assert found("-metadata['telegram_user_id']:null") == [small]


def test_quotes_within_values_are_escaped(prompt: StripeStandin, client: Client) -> None:
    made = prompt.live.subscribe(metadata={"no'te": 'the "sea" \\ sky'})

    query = r"""metadata['no\'te']:"the \"sea\" \\ sky" """
    assert ids(client().subscriptions.search({"query": query})) == [made["id"]]


def test_pages_follow_each_other_newest_first_without_gaps_or_repeats(
    prompt: StripeStandin, client: Client
) -> None:
    made = [prompt.live.subscribe(telegram_user_id=7)["id"] for _ in range(25)]
    subscriptions = client().subscriptions

    assert ids(subscriptions.search({"query": USER_7})) == made[:14:-1]
    first = subscriptions.search({"query": USER_7, "limit": 7})
    assert first.has_more
    # What is bought meanwhile does not move the pages that follow.
    prompt.live.subscribe(telegram_user_id=7)
    assert [item.id for item in first.auto_paging_iter()] == made[::-1]
    assert len(ids(subscriptions.search({"query": USER_7, "limit": 100}))) == 26


def test_what_is_found_is_shown_in_the_asked_version_and_expanded(
    prompt: StripeStandin, client: Client
) -> None:
    made = prompt.live.subscribe(telegram_user_id=7)

    old = client(stripe_version=OLDEST).subscriptions.search({"query": USER_7}).data[0]
    assert old.current_period_end == made["items"]["data"][0]["current_period_end"]
    new = client().subscriptions.search({"query": USER_7, "expand": ["data.customer"]}).data[0]
    assert new.customer.email == "jane@example.com"


# --- the lag ------------------------------------------------------------------------------


def test_what_is_new_is_found_after_the_lag_of_the_stand_ins_clock(
    standin: StripeStandin, client: Client
) -> None:
    standin.search_index.set_lag(60)
    made = standin.live.subscribe(telegram_user_id=7)
    subscriptions = client().subscriptions

    standin.advance(59)
    assert ids(subscriptions.search({"query": USER_7})) == []
    assert ids(subscriptions.list()) == [made["id"]]
    standin.advance(1)
    assert ids(subscriptions.search({"query": USER_7})) == [made["id"]]


def test_a_change_is_found_after_the_lag_and_until_then_the_object_as_it_was(
    standin: StripeStandin, client: Client
) -> None:
    standin.search_index.set_lag(60)
    made = standin.live.subscribe(telegram_user_id=7)["id"]
    standin.advance(100)
    standin.live.link_telegram(made, 8)
    standin.live.cancel_subscription(made)
    query = {"query": f"{USER_7} status:'active'"}
    subscriptions = client().subscriptions

    found = subscriptions.search(query)
    assert ids(found) == [made]
    assert found.data[0].status == "canceled"  # shown as it is
    assert ids(subscriptions.search({"query": "metadata['telegram_user_id']:'8'"})) == []
    standin.advance(60)
    assert ids(subscriptions.search(query)) == []
    assert ids(subscriptions.search({"query": "metadata['telegram_user_id']:'8'"})) == [made]


def test_search_lags_a_little_by_default(standin: StripeStandin, client: Client) -> None:
    made = standin.live.buy_one_off(telegram_user_id=7)

    assert ids(client().payment_intents.search({"query": USER_7})) == []
    standin.advance(DEFAULT_LAG)
    assert ids(client().payment_intents.search({"query": USER_7})) == [made["payment_intent"]]


def test_what_happened_in_the_past_is_found_at_once(standin: StripeStandin, client: Client) -> None:
    standin.search_index.set_lag(60)
    with standin.at(NOW - 60):
        made = standin.live.subscribe(telegram_user_id=7)

    assert ids(client().subscriptions.search({"query": USER_7})) == [made["id"]]


def test_the_lag_and_what_search_knows_outlast_the_process(tmp_path: Path) -> None:
    standin = StripeStandin(tmp_path, now=NOW)
    standin.search_index.set_lag(60)
    standin.search_index.refuse(400, "acct_india")
    made = standin.live.subscribe(telegram_user_id=7)["id"]
    standin.advance(60)
    standin.live.link_telegram(made, 8)
    standin.close()

    again = StripeStandin(tmp_path)
    with StandinServer(again, deliver=False) as server:
        api = stripe.StripeClient("sk_live_test", base_addresses={"api": server.url}).v1
        assert ids(api.subscriptions.search({"query": USER_7})) == [made]
        again.advance(60)
        assert ids(api.subscriptions.search({"query": USER_7})) == []
    assert again.search_index.lag == 60
    assert again.search_index.refused == {"acct_india": 400}
    again.close()


def test_objects_of_a_file_from_before_search_are_found(tmp_path: Path) -> None:
    standin = StripeStandin(tmp_path, now=NOW)
    made = standin.live.subscribe(telegram_user_id=7)["id"]
    standin.store.execute("DROP TABLE searchable")
    standin.close()

    again = StripeStandin(tmp_path, now=NOW + DEFAULT_LAG)
    with StandinServer(again, deliver=False) as server:
        api = stripe.StripeClient("sk_live_test", base_addresses={"api": server.url}).v1
        assert ids(api.subscriptions.search({"query": USER_7})) == [made]
    again.close()


# --- modes and accounts -------------------------------------------------------------------


def test_each_mode_and_account_finds_its_own(prompt: StripeStandin, client: Client) -> None:
    live = prompt.live.subscribe(telegram_user_id=7)["id"]
    test = prompt.test.subscribe(telegram_user_id=7)["id"]
    other = prompt.account("acct_other").subscribe(telegram_user_id=7)["id"]

    def found(key: str, **options: str) -> list[str]:
        return ids(client(key).subscriptions.search({"query": USER_7}, options=options))

    assert found("sk_live_x") == [live]
    assert found("sk_test_x") == [test]
    assert found("sk_live_x", stripe_account="acct_other") == [other]
    assert found("sk_test_x", stripe_account="acct_other") == []


# --- refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "",
        "telegram_user_id",
        "status:active",
        "status:'active",
        "status: 'active'",
        "status:'active' AND",
        "AND status:'active'",
        "(status:'active')",
        "status:'active'created:1",
        "status:'active' AND created>1 OR created<9",
        "metadata:'7'",
        "metadata[telegram_user_id]:'7'",
        "status['x']:'active'",
        "created>12abc",
    ],
)
def test_a_query_that_cannot_be_read_is_refused(client: Client, query: str) -> None:
    refused = refusal(lambda: client().subscriptions.search({"query": query}))

    assert refused.http_status == 400
    body = json.loads(str(refused.http_body))["error"]
    assert body["type"] == "invalid_request_error"
    assert body["message"].startswith("We were unable to parse your search query.")


def test_a_field_that_cannot_be_searched_for_is_refused(client: Client) -> None:
    api = client()

    refused = refusal(lambda: api.subscriptions.search({"query": "customer:'cus_1'"}))
    assert refused.http_status == 400
    assert str(refused.user_message).startswith(
        "Field `customer` is an unsupported search field for resource `subscriptions`."
    )
    refused = refusal(lambda: api.payment_intents.search({"query": "colour:'red'"}))
    assert "`payment_intents`" in str(refused.user_message)


@pytest.mark.parametrize(
    "query", ["status>'active'", "metadata['a']~'abc'", "created>null", "created:'yesterday'"]
)
def test_an_operator_that_does_not_go_with_its_field_is_refused(client: Client, query: str) -> None:
    assert refusal(lambda: client().subscriptions.search({"query": query})).http_status == 400


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({}, "query"),
        ({"query": USER_7, "limit": 101}, "limit"),
        ({"query": USER_7, "limit": 0}, "limit"),
        ({"query": USER_7, "page": "nowhere"}, "page"),
        ({"query": USER_7, "starting_after": "sub_1"}, "starting_after"),
    ],
)
def test_parameters_that_search_does_not_take_are_refused(
    server: StandinServer, params: dict[str, Any], param: str
) -> None:
    answer = requests.get(
        f"{server.url}/v1/subscriptions/search",
        params,
        headers={"Authorization": "Bearer sk_live_test"},
        timeout=10,
    )

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("status", [400, 404])
def test_accounts_without_search_are_refused_until_they_have_it(
    prompt: StripeStandin, client: Client, status: int
) -> None:
    made = prompt.account("acct_india").subscribe(telegram_user_id=7)["id"]
    api, options = client(), {"stripe_account": "acct_india"}

    def search() -> Any:
        return api.subscriptions.search({"query": USER_7}, options=options)

    prompt.search_index.refuse(status, "acct_india")
    assert refusal(search).http_status == status
    assert ids(api.subscriptions.list(options=options)) == [made]
    assert ids(api.payment_intents.search({"query": USER_7})) == []
    prompt.search_index.refuse(None, "acct_india")
    assert ids(search()) == [made]


def test_the_control_api_sets_the_lag_and_refuses_accounts(
    standin: StripeStandin, server: StandinServer, client: Client
) -> None:
    def control(**body: Any) -> requests.Response:
        return requests.post(f"{server.url}/_control/search", json=body, timeout=10)

    assert control(lag=0).json() == {"lag": 0, "refused": {}}
    made = standin.live.subscribe(telegram_user_id=7)["id"]
    assert ids(client().subscriptions.search({"query": USER_7})) == [made]
    assert control(refuse=400).json() == {"lag": 0, "refused": {"": 400}}
    assert "unavailable in your region" in str(
        refusal(lambda: client().subscriptions.search({"query": USER_7})).user_message
    )
    assert control(refuse=404, account="acct_x").json()["refused"] == {"": 400, "acct_x": 404}
    assert control(refuse=None).json()["refused"] == {"acct_x": 404}
    assert control(lag=-1).status_code == 400
    assert control(refuse=500).status_code == 400
    read = requests.get(f"{server.url}/_control/search", timeout=10).json()
    assert read == {"lag": 0, "refused": {"acct_x": 404}}
