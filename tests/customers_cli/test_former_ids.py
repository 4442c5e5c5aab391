"""The former ids of a customer, for the export and for forgetting."""

from __future__ import annotations

import pytest

from customers_cli.export import SeveralCustomers, export
from customers_cli.forget import forget
from shared.domain.errors import NotFound
from tests.customers_cli.test_forgetting import STORE, parts
from tests.functions.shop import CHAT, Shop
from tests.functions.test_former_ids import Renamed, renamed

__all__ = ["renamed"]  # a fixture


def test_a_former_id_ends_with_the_erasure(shop: Shop, renamed: Renamed) -> None:
    exported = export(parts(shop), STORE, renamed.ids[0])
    assert exported["customer"]["customer_id"] == renamed.ids[-1]
    assert exported["former_ids"] == sorted(renamed.ids[:-1])
    for purchase in shop.customer()["purchases"]:
        shop.cancel(purchase_id=purchase["purchase_id"])
    shop.deliver()
    forget(parts(shop), STORE, renamed.ids[0])
    # Without a name, it is again the customer that its account alone makes.
    assert shop.customer()["customer"]["customer_id"] == renamed.ids[0]
    assert [shop.get(f"/v1/customers/{id_}")[0] for id_ in renamed.ids] == [200, 404, 404]
    keys = [item["sk"]["S"] for item in shop.tables.dump(shop.tables.records)]
    assert not [sk for sk in keys if sk.startswith("FORMER#")]
    with pytest.raises(NotFound):
        export(parts(shop), STORE, renamed.ids[1])


def test_an_id_that_means_several_is_neither_exported_nor_forgotten(shop: Shop) -> None:
    live = shop.stripe.live
    product = live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"]
    accounts = []
    for name in ("Ann", "Bo"):
        made = live.create_customer(name=name, email=f"{name}@x.example", grouptizer_id="gz-1")
        live.subscribe(product=product, customer=made["id"])
        accounts.append(made["id"])
    shop.deliver()
    shared = str(shop.customer()["customer"]["customer_id"])
    for account in accounts:
        live.update_customer(account, metadata={"grouptizer_id": f"gz-{account}"})
    shop.deliver()
    for operation in (export, forget):
        with pytest.raises(SeveralCustomers, match="Their ids now: cust_"):
            operation(parts(shop), STORE, shared)
