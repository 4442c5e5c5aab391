"""Chats belong to one store, and may move."""

from __future__ import annotations

import pytest

from shared.storage.chats import Chats, Look
from shared.storage.dynamo import Table
from shared.storage.registry import Registry
from shared.tenant import Tenant
from tests.dynamo import Tables
from tests.storage.owners import owner_of, store_chats
from tests.storage.test_customer_moves import Interrupted

DEMO = Tenant("demo")
OTHER = Tenant("other")


@pytest.fixture
def chats(tables: Tables) -> Chats:
    return store_chats(tables.records)


@pytest.fixture
def registry(tables: Tables) -> Registry:
    return Registry(tables.records, "demo")


def reason(chats: Chats, tenant: Tenant, chat_id: str) -> str | None:
    return chats.standings(tenant, [chat_id])[chat_id].reason


def test_a_chat_is_the_only_stores_as_soon_as_it_names_it(chats: Chats) -> None:
    assert chats.name(DEMO, ["-1001"]) == 0
    assert chats.name(DEMO, ["-1001"]) == 0
    assert owner_of(chats, "-1001") == "demo"
    assert owner_of(chats, "-1002") is None


def test_a_second_store_takes_nothing_from_the_first(chats: Chats, registry: Registry) -> None:
    chats.name(DEMO, ["-1001"])
    registry.register(OTHER, "acct_other")
    assert chats.name(OTHER, ["-1001"]) == 1
    assert (reason(chats, DEMO, "-1001"), reason(chats, OTHER, "-1001")) == (None, "other_store")
    assert owner_of(chats, "-1001") == "demo"


def test_with_several_stores_naming_a_chat_proves_nothing(chats: Chats, registry: Registry) -> None:
    registry.register(OTHER, "acct_other")
    for tenant in (DEMO, OTHER):
        assert chats.name(tenant, ["-1001"]) == 1
        assert reason(chats, tenant, "-1001") == "unverified"
        assert chats.standing(tenant, "-1001").reason == "unverified"
    assert owner_of(chats, "-1001") is None


def test_a_store_that_is_not_the_default_one_is_never_alone(chats: Chats) -> None:
    assert chats.name(OTHER, ["-1001"]) == 1
    assert owner_of(chats, "-1001") is None


@pytest.mark.parametrize("by", ["name", "standing"])
def test_a_chat_is_not_given_away_where_a_second_store_comes_in_between(
    tables: Tables, registry: Registry, by: str
) -> None:
    client = Interrupted(
        tables.records.client, lambda: registry.register(OTHER, "acct_other"), before=True
    )
    chats = store_chats(Table(client, tables.records.name))
    if by == "name":
        assert chats.name(DEMO, ["-1001"]) == 1
    else:
        assert not chats.standing(DEMO, "-1001").usable
    assert reason(chats, DEMO, "-1001") == "unverified"
    assert owner_of(chats, "-1001") is None


def test_a_chat_that_another_claims_in_between_is_the_others(tables: Tables) -> None:
    plain = store_chats(tables.records)

    def others() -> None:
        assert plain.approve(OTHER, "-1001")

    client = Interrupted(tables.records.client, others, before=True)
    assert store_chats(Table(client, tables.records.name)).name(DEMO, ["-1001"]) == 1
    assert reason(plain, DEMO, "-1001") == "other_store"


def test_a_second_store_that_was_removed_still_takes_a_proof(
    chats: Chats, registry: Registry
) -> None:
    """What it named may be its own, and nobody asks it any more."""
    registry.register(OTHER, "acct_other")
    chats.name(OTHER, ["-1001"])
    registry.remove(OTHER)
    assert registry.connections() == []
    assert chats.name(DEMO, ["-1001"]) == 1
    assert reason(chats, DEMO, "-1001") == "unverified"


def test_a_store_that_only_the_bus_knows_is_a_second_store(chats: Chats) -> None:
    assert chats.name(OTHER, ["-1001"]) == 1
    assert chats.name(DEMO, ["-1001", "-1002"]) == 2


def test_stores_that_were_registered_before_there_was_a_note_of_it_count(
    chats: Chats, registry: Registry
) -> None:
    registry.register(OTHER, "acct_other")
    registry.table.delete("REGISTRY", "SHARED")
    assert chats.name(DEMO, ["-1001"]) == 1


def test_an_approved_chat_is_the_stores_and_no_others(chats: Chats, registry: Registry) -> None:
    registry.register(OTHER, "acct_other")
    assert chats.approve(OTHER, "-1001")
    assert chats.approve(OTHER, "-1001")
    assert not chats.approve(DEMO, "-1001")
    assert (reason(chats, OTHER, "-1001"), reason(chats, DEMO, "-1001")) == (None, "other_store")


def test_a_second_account_of_the_default_store_is_no_second_store(
    chats: Chats, registry: Registry
) -> None:
    registry.register(DEMO, "acct_demo")
    assert chats.name(DEMO, ["-1001"]) == 0


@pytest.mark.parametrize("chat_id", ["@vip", "-01001", "1001", "", "-1001#x"])
def test_what_is_no_chats_id_belongs_to_nobody(chats: Chats, chat_id: str) -> None:
    chats.name(DEMO, [chat_id])
    assert not chats.standing(DEMO, chat_id).usable
    assert chats.looks(DEMO) == {}


def test_a_chat_is_found_under_the_id_it_has_now(chats: Chats) -> None:
    chats.name(DEMO, ["-5"])
    chats.name(DEMO, ["-6"])
    assert chats.migrated(DEMO, "-5", "-1005")
    assert chats.migrated(DEMO, "-5", "-1005")
    assert chats.standing(DEMO, "-5").current_id == "-1005"
    assert owner_of(chats, "-1005") == "demo"
    assert chats.current_ids(["-5", "-6", "-7", "-1005"]) == {
        "-5": "-1005",
        "-6": "-6",
        "-7": "-7",
        "-1005": "-1005",
    }


def test_a_moved_chat_stays_the_stores_where_there_are_several(
    chats: Chats, registry: Registry
) -> None:
    chats.name(DEMO, ["-5"])
    registry.register(OTHER, "acct_other")
    assert chats.migrated(DEMO, "-5", "-1005")
    assert chats.standing(DEMO, "-5").usable
    assert reason(chats, OTHER, "-1005") == "other_store"


def test_a_chat_nobody_named_becomes_the_only_stores(chats: Chats) -> None:
    assert chats.standing(DEMO, "-1001").usable
    assert owner_of(chats, "-1001") == "demo"


def test_a_chat_that_moves_to_another_stores_id_is_that_stores(chats: Chats) -> None:
    chats.name(DEMO, ["-5"])
    chats.approve(OTHER, "-1005")
    assert not chats.migrated(DEMO, "-5", "-1005")
    assert chats.standing(DEMO, "-5").reason == "other_store"
    assert owner_of(chats, "-1005") == "other"


def test_a_store_cannot_move_anothers_chat(chats: Chats) -> None:
    chats.name(DEMO, ["-5"])
    assert not chats.migrated(OTHER, "-5", "-1005")
    assert chats.standing(DEMO, "-5").current_id == "-5"


def test_chats_that_lead_to_each_other_end_somewhere(chats: Chats) -> None:
    chats.name(DEMO, ["-5"])
    chats.migrated(DEMO, "-5", "-6")
    chats.migrated(DEMO, "-6", "-5")
    assert chats.standing(DEMO, "-5").current_id in ("-5", "-6")
    assert chats.current_ids(["-5"])["-5"] in ("-5", "-6")


def test_title_and_type_are_told_to_the_store_that_has_the_chat_only(
    chats: Chats, registry: Registry
) -> None:
    chats.name(DEMO, ["-1001"])
    chats.described("-1001", "VIP", "channel")
    chats.described("-1002", "Nobody's", "channel")
    registry.register(OTHER, "acct_other")
    ours = chats.standings(DEMO, ["-1001"])["-1001"]
    theirs = chats.standings(OTHER, ["-1001"])["-1001"]
    assert (ours.title, ours.type) == ("VIP", "channel")
    assert (theirs.title, theirs.type) == (None, None)
    assert owner_of(chats, "-1002") is None


def test_what_the_bot_found_is_remembered_for_the_store_that_names_the_chat(chats: Chats) -> None:
    chats.name(DEMO, ["-1001"])
    assert chats.looks(DEMO) == {}
    look = Look("lost_rights", "The bot may not ban users there.", 1_000)
    chats.looked_at(DEMO, "-1001", look, again_at=2_000)
    chats.name(DEMO, ["-1001"])
    assert chats.looks(DEMO) == {"-1001": look}
    assert chats.looks(OTHER) == {}


def test_registered_owners_are_a_set_that_can_be_changed(registry: Registry) -> None:
    assert registry.telegram_owners(DEMO) == frozenset()
    registry.add_telegram_owner(DEMO, "1")
    registry.add_telegram_owner(DEMO, "2")
    registry.add_telegram_owner(DEMO, "2")
    assert registry.telegram_owners(DEMO) == {"1", "2"}
    registry.remove_telegram_owner(DEMO, "1")
    assert registry.telegram_owners(DEMO) == {"2"}
    assert registry.telegram_owners(OTHER) == frozenset()
    registry.remove_telegram_owner(DEMO, "2")
    assert registry.telegram_owners(DEMO) == frozenset()


def test_naming_chats_that_are_known_costs_the_same_few_reads_however_many(
    chats: Chats, tables: Tables
) -> None:
    many = [f"-100{number}" for number in range(100)]
    assert chats.name(DEMO, many) == 0
    tables.client.calls.clear()
    assert chats.name(DEMO, many) == 0
    assert sum(tables.client.calls.values()) <= 5
