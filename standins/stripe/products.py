"""Products and their prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from standins.stripe.ledger import Ledger, merged
from standins.stripe.shapes import Object

DEFAULT_PRODUCT = "prod_StandInChannel"


def create(
    ledger: Ledger,
    *,
    name: str = "Channel access",
    telegram_chat_ids: Sequence[int | str] | str = (),
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    id: str | None = None,  # noqa: A002 - Stripe's own field name
) -> Object:
    """A new product; ``telegram_chat_ids`` are the chats it opens."""
    noted = dict(metadata or {})
    if telegram_chat_ids:
        given = telegram_chat_ids
        noted["telegram_chat_ids"] = (
            given if isinstance(given, str) else ",".join(str(chat) for chat in given)
        )
    created = ledger.now()
    product = ledger.add(
        {
            "id": id or ledger.new_id("prod", length=14),
            "object": "product",
            "active": True,
            "created": created,
            "default_price": None,
            "description": description,
            "images": [],
            "livemode": ledger.livemode,
            "marketing_features": [],
            "metadata": merged({}, noted),
            "name": name,
            "package_dimensions": None,
            "shippable": None,
            "statement_descriptor": None,
            "tax_code": None,
            "type": "service",
            "unit_label": None,
            "updated": created,
            "url": None,
        }
    )
    ledger.emit("product.created", product)
    return product


def update(
    ledger: Ledger,
    product: str,
    *,
    name: str | None = None,
    active: bool | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Object:
    """Change what is given of a product."""
    target = ledger.get("product", product)
    values: Object = {"updated": ledger.now()}
    if name is not None:
        values["name"] = name
    if active is not None:
        values["active"] = active
    if metadata is not None:
        values["metadata"] = merged(target["metadata"], metadata)
    ledger.update("product.updated", target, **values)
    return target


def delete(ledger: Ledger, product: str) -> None:
    """Delete a product."""
    target = ledger.get("product", product)
    ledger.change(target, active=False, _deleted=True)
    ledger.emit("product.deleted", target)


def known(ledger: Ledger, id_: str | None) -> Object:
    """The product with this id; without one the default product, made where it is new."""
    if id_ is not None:
        return ledger.get("product", id_, param="product")
    found = ledger.objects.get("product", {}).get(DEFAULT_PRODUCT)
    return found or create(
        ledger, id=DEFAULT_PRODUCT, name="Channel access", telegram_chat_ids=[-1001000000001]
    )


def create_price(
    ledger: Ledger,
    *,
    product: str | None = None,
    amount: int = 1500,
    currency: str = "usd",
    interval: str | None = None,
    interval_count: int = 1,
    id: str | None = None,  # noqa: A002
) -> Object:
    """A new price; with ``interval`` (day, week, month, year) a recurring one."""
    id_ = id or ledger.new_id("price")
    created = ledger.now()
    recurring = None
    if interval is not None:
        recurring = {
            "interval": interval,
            "interval_count": interval_count,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        }
    price = ledger.add(
        {
            "id": id_,
            "object": "price",
            "active": True,
            "billing_scheme": "per_unit",
            "created": created,
            "currency": currency,
            "custom_unit_amount": None,
            "livemode": ledger.livemode,
            "lookup_key": None,
            "metadata": {},
            "nickname": None,
            "product": known(ledger, product)["id"],
            "recurring": recurring,
            "tax_behavior": "unspecified",
            "tiers_mode": None,
            "transform_quantity": None,
            "type": "recurring" if recurring else "one_time",
            "unit_amount": amount,
            "unit_amount_decimal": str(amount),
        }
    )
    ledger.emit("price.created", price)
    return price


def price_of(
    ledger: Ledger,
    product: str,
    amount: int,
    currency: str,
    *,
    interval: str | None = None,
    interval_count: int = 1,
) -> Object:
    """The product's price of this amount; made where it is new."""
    for price in ledger.all("price"):
        recurring = price["recurring"] or {"interval": None, "interval_count": interval_count}
        same_amount = (price["product"], price["unit_amount"], price["currency"]) == (
            product,
            amount,
            currency,
        )
        every = (recurring["interval"], recurring["interval_count"])
        if same_amount and every == (interval, interval_count):
            return price
    return create_price(
        ledger,
        product=product,
        amount=amount,
        currency=currency,
        interval=interval,
        interval_count=interval_count,
    )
