"""Stripe's objects, in the shapes of any API version of :mod:`shared.domain.api_versions`, as the
data we keep.

An endpoint without a pinned version gets events in its account's version, which may change in
the middle of a subscription's life. So every function here reads both places of whatever moved,
and gives the same data for the same object in any shape: fields that exist in one shape only are
left out. The fields of each source are listed in :mod:`shared.domain.purchase`,
:mod:`shared.domain.customer` and :mod:`shared.domain.transaction`.

What moved (https://docs.stripe.com/changelog): the period of a subscription to its items
(2025-03-31), ``invoice.subscription`` to ``invoice.parent`` and what paid it to
``invoice.payments`` (2025-03-31), ``plan`` to ``price`` (2020).

Every function raises ``KeyError``, ``TypeError``, ``ValueError`` or ``AttributeError`` for
something that isn't such an object.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from shared.domain import dates

Raw = dict[str, Any]

# Telegram's ids have at most 52 significant bits (https://core.telegram.org/bots/api#chat).
_USER_ID = re.compile(r"[1-9][0-9]{0,15}")
# Stripe takes names of 256 characters, addresses of 512 and descriptions of 40,000.
LONGEST_NAME = 500
LONGEST_EMAIL = 512
LONGEST_SHOWN = 1000
_SHOWN_METHOD_FIELDS = ("brand", "last4", "exp_month", "exp_year")


# -- purchases --------------------------------------------------------------------------------


def subscription(raw: Mapping[str, Any]) -> Raw:
    """A subscription. Its period ends when the earliest of its items' periods does.

    Stripe puts ten items into it: see :func:`with_items`.
    """
    items = raw["items"]["data"]
    # An old shape has one period for all of its items; those that were fetched have their own.
    whole = raw.get("current_period_end")
    ends = [item.get("current_period_end") or whole for item in items]
    period_end = min((end for end in ends if end), default=whole)
    details = raw.get("cancellation_details") or {}
    # Two ways to say the same: the flag, and (flexible billing, portal) the date without it.
    cancel_at = raw.get("cancel_at")
    if cancel_at is None and raw.get("cancel_at_period_end"):
        cancel_at = period_end
    return {
        "id": raw["id"],
        "status": raw["status"],
        "products": _products_of(items),
        "created_at": raw["created"],
        "current_period_end": period_end,
        "trial_end": raw.get("trial_end"),
        "cancel_at": cancel_at,
        "cancel_at_period_end": bool(raw.get("cancel_at_period_end")),
        "canceled_at": raw.get("canceled_at"),
        "ended_at": raw.get("ended_at"),
        "end_reason": details.get("reason"),
        "feedback": details.get("feedback"),
        "comment": _cut(details.get("comment") or None),
        "collection_paused": raw.get("pause_collection") is not None,
        "payment_method": id_of(raw.get("default_payment_method"))
        or id_of(raw.get("default_source")),
        "schedule": id_of(raw.get("schedule")),
        "latest_invoice": id_of(raw.get("latest_invoice")),
        **_metadata(raw),
        "livemode": raw["livemode"],
    }


def lacks_items(raw: Mapping[str, Any]) -> bool:
    """Whether a subscription has more items than it holds."""
    items = raw.get("items")
    return isinstance(items, dict) and bool(items.get("has_more"))


def with_items(raw: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> Raw:
    """A subscription with those of all its items that it doesn't hold itself.

    What it holds is left as it is: an event's object is older than a list that was fetched for it.
    """
    held = raw["items"]["data"]
    ids = {item["id"] for item in held}
    rest = [item for item in items if item["id"] not in ids]
    return {**raw, "items": {**raw["items"], "data": [*held, *rest], "has_more": False}}


def session(raw: Mapping[str, Any], outcome: str | None = None) -> Raw:
    """A Checkout Session. It doesn't tell its line items, so ``products`` is empty here.

    Args:
        outcome: what the event's type says: ``completed``, ``failed`` or ``expired``; taken from
            the session itself where nobody says.
    """
    metadata = raw.get("metadata") or {}
    data = {
        "id": raw["id"],
        "mode": raw["mode"],
        "outcome": outcome or ("expired" if raw.get("status") == "expired" else "completed"),
        "payment_status": raw["payment_status"],
        "created_at": raw["created"],
        **_metadata(raw),
        "products": [],
        "access_code": None,
        "access_expires_at": None,
        "livemode": raw["livemode"],
    }
    if raw["payment_status"] == "no_payment_required" and metadata.get("access_code"):
        data["access_code"] = metadata["access_code"]
        data |= term("access_expires_at", metadata.get("access_expires_at"))
    return data


def term(name: str, told: Any) -> Raw:
    """When an access code ends, as a source's field.

    Where that is not understood, the field is ``None``, and ``expiry_not_understood`` holds what
    was told: the purchase came about all the same.
    """
    try:
        return {name: dates.expiry(told)}
    except ValueError:
        return {name: None, "expiry_not_understood": dates.as_shown(told)}


def session_of_one_time_items(
    raw: Mapping[str, Any], products: Iterable[str], outcome: str | None = None
) -> Raw:
    """A subscription's Checkout Session as the one-off purchase of what it sold once.

    The product in the metadata is the subscription's, and nobody redeems a code by subscribing.
    """
    data = session(raw, outcome)
    data.pop("expiry_not_understood", None)
    of_subscription = {"product_id": None, "access_code": None, "access_expires_at": None}
    return {**data, **of_subscription, "products": list(products)}


def buyer_of_subscription(raw: Mapping[str, Any]) -> Raw:
    """What a subscription says of who bought the one-time items of the same checkout."""
    return {"id": raw["id"], "telegram_user_id": _metadata(raw)["telegram_user_id"]}


def payment_intent(raw: Mapping[str, Any]) -> Raw:
    """A PaymentIntent; ``failed`` while its last attempt to pay was refused."""
    return {
        "id": raw["id"],
        "status": raw["status"],
        "failed": raw["status"] == "requires_payment_method"
        and raw.get("last_payment_error") is not None,
        "created_at": raw["created"],
        **_metadata(raw),
        "livemode": raw["livemode"],
    }


def charge_of_purchase(raw: Mapping[str, Any]) -> Raw:
    """A charge as part of the one-off purchase it pays.

    Stripe calls an authorisation "succeeded": the purchase waits for its capture (``pending``).
    """
    authorised = raw["status"] == "succeeded" and not raw.get("captured", True)
    return {
        "id": raw["id"],
        "status": "pending" if authorised else raw["status"],
        "created_at": raw["created"],
        **_metadata(raw),
        "method": _method_used(raw),
        "livemode": raw["livemode"],
    }


def names_product_or_user(raw: Mapping[str, Any]) -> bool:
    """Whether our metadata is on a payment: only then is it a purchase by itself."""
    return any(value is not None for value in _metadata(raw).values())


def pays_invoice(raw: Mapping[str, Any]) -> bool:
    """Whether an old-shaped payment says that it paid an invoice (new ones don't tell)."""
    return raw.get("invoice") is not None


def users_of(data: Mapping[str, Any]) -> frozenset[str]:
    """The Telegram user a purchase's source names."""
    user = data.get("telegram_user_id")
    return frozenset() if user is None else frozenset({user})


def products_sold_once(line_items: Iterable[Mapping[str, Any]]) -> list[str]:
    """The products of a session's one-time line items, each once."""
    return _products_of(item for item in line_items if not _recurs(item.get("price") or {}))


# -- people -----------------------------------------------------------------------------------


def customer(raw: Mapping[str, Any]) -> Raw:
    metadata = raw.get("metadata") or {}
    settings = raw.get("invoice_settings") or {}
    return {
        "id": raw["id"],
        "name": _cut(raw.get("name") or None, LONGEST_NAME),
        "email": _email(raw.get("email")),
        "grouptizer_id": _filled(metadata.get("grouptizer_id")),
        "avatar_url": metadata.get("avatar_url") or None,
        "created_at": raw.get("created"),
        "deleted": bool(raw.get("deleted")),
        "livemode": raw.get("livemode", True),
        "default_payment_method": id_of(settings.get("default_payment_method")),
        "default_source": id_of(raw.get("default_source")),
    }


def payer(details: Mapping[str, Any] | None, created_at: int) -> Raw | None:
    """Who paid, as they wrote it: ``customer_details`` of a session, ``billing_details`` of a
    charge. ``None`` where they wrote nothing."""
    details = details or {}
    name, email = _cut(details.get("name") or None, LONGEST_NAME), _email(details.get("email"))
    if name is None and email is None:
        return None
    return {"name": name, "email": email, "created_at": created_at}


# -- payment methods --------------------------------------------------------------------------


def payment_method(raw: Mapping[str, Any], *, deleted: bool = False) -> Raw:
    """A payment method of any type, types of the future included: its details are under its
    type's name."""
    details = raw.get(raw["type"]) or {}
    return {
        "id": raw["id"],
        "type": raw["type"],
        **_shown(details),
        "created_at": raw.get("created"),
        "livemode": raw["livemode"],
        "deleted": deleted,
    }


def legacy_source(raw: Mapping[str, Any], *, livemode: bool, deleted: bool = False) -> Raw:
    """A card, bank account or source attached to a customer through the Sources API."""
    kind = raw.get("type") if raw["object"] == "source" else raw["object"]
    details = raw.get(kind or "") or {} if raw["object"] == "source" else raw
    shown = _shown(details)
    if shown["brand"]:
        # Sources say "Visa" and "American Express", payment methods "visa" and "amex".
        shown["brand"] = _BRANDS.get(shown["brand"], shown["brand"].lower())
    return {
        "id": raw["id"],
        "type": kind or "source",
        **shown,
        "created_at": raw.get("created"),
        "livemode": livemode,
        "deleted": deleted,
    }


_BRANDS = {"American Express": "amex", "Diners Club": "diners"}


# -- products and invoices ----------------------------------------------------------------------


def product(raw: Mapping[str, Any], *, deleted: bool = False) -> Raw:
    """A product and the chats it asks for; whose they are is not said here."""
    return {
        "name": _cut(raw.get("name"), LONGEST_NAME),
        "chats": chat_ids((raw.get("metadata") or {}).get("telegram_chat_ids")),
        "deleted": deleted or bool(raw.get("deleted")),
    }


# A product opens a handful of chats; more, or longer ids, are a mistake that a record must survive.
MOST_CHATS = 100
LONGEST_CHAT_ID = 64


def chat_ids(text: str | None) -> list[str]:
    """The ids of a text, separated by commas or blanks, as they were given: the first 100.

    One that is too long for any id is cut, and marked so that what is left is no id either.
    """
    given = dict.fromkeys((text or "").replace(",", " ").split())
    shown = [
        id_ if len(id_) <= LONGEST_CHAT_ID else f"{id_[: LONGEST_CHAT_ID - 1]}…" for id_ in given
    ]
    return shown[:MOST_CHATS]


def invoice(raw: Mapping[str, Any]) -> Raw:
    return {
        "id": raw["id"],
        "subscription": subscription_of_invoice(raw),
        "status": raw["status"],
        "created_at": raw["created"],
        "remaining": raw.get("amount_remaining"),
        "remaining_currency": raw.get("currency"),
    }


def subscription_of_invoice(raw: Mapping[str, Any]) -> str | None:
    details = (raw.get("parent") or {}).get("subscription_details") or {}
    return id_of(details.get("subscription")) or id_of(raw.get("subscription"))


def payments_of_invoice(raw: Mapping[str, Any]) -> list[str]:
    """The payments an invoice names: the old shape's one, or the expanded ones."""
    payments = (raw.get("payments") or {}).get("data") or []
    named = [payment_named_by(raw), *(payment_named_by(p.get("payment") or {}) for p in payments)]
    return list(dict.fromkeys(payment for payment in named if payment is not None))


def payment_named_by(raw: Mapping[str, Any]) -> str | None:
    """The payment that an invoice, or an invoice's payment, names: a PaymentIntent, or a charge
    that has none."""
    return id_of(raw.get("payment_intent")) or id_of(raw.get("charge"))


def invoice_of_payment_intent(raw: Mapping[str, Any]) -> str | None:
    """The invoice a PaymentIntent is for: the old shape names it, and new ones (2025 on) carry it
    as their order's reference. A business may put its own reference there, so only an id of an
    invoice counts, and only where there is such an invoice of the same customer."""
    reference = (raw.get("payment_details") or {}).get("order_reference")
    named = id_of(raw.get("invoice")) or reference
    return named if isinstance(named, str) and named.startswith("in_") else None


# -- transactions -------------------------------------------------------------------------------


def charge(raw: Mapping[str, Any]) -> Raw:
    """A charge as money: only what its own events change."""
    captured = bool(raw.get("captured", True))
    amount = raw["amount"]
    if captured and raw["status"] == "succeeded" and raw.get("amount_captured"):
        amount = raw["amount_captured"]
    return {
        "id": raw["id"],
        "amount": amount,
        "currency": raw["currency"],
        "status": raw["status"],
        "captured": captured,
        "created_at": raw["created"],
        "description": _cut(raw.get("description")),
        "failure": _cut(raw.get("failure_message")),
        "payment_intent": id_of(raw.get("payment_intent")),
        "method": _method_used(raw),
        "livemode": raw["livemode"],
    }


def is_released(raw: Mapping[str, Any]) -> bool:
    """Whether a charge says that its authorisation ended without a capture. Since API version
    2025-03-31 none does; events of other names tell it."""
    return not raw.get("captured", True) and bool(raw.get("refunded"))


_NO_REFUND_OF_THE_REST = "2025-03-31"


def since_2025(raw: Raw, api_version: Any) -> Raw:
    """An event's object as API version 2025-03-31 and later ones tell it.

    Before, the part of an authorisation that was never collected was a refund, and counted as one:
    https://docs.stripe.com/changelog/basil/2025-03-31/remove-refund-from-partial-capture-and-payment-cancellation-flow
    Of a charge with such a part, that part is added as ``never_collected``.
    """
    if raw.get("object") != "charge" or not isinstance(api_version, str):
        return raw
    if api_version >= _NO_REFUND_OF_THE_REST or not raw.get("captured", True):
        return raw
    amounts = [raw.get(name) or 0 for name in ("amount", "amount_captured", "amount_refunded")]
    if raw.get("status") != "succeeded" or not all(type(amount) is int for amount in amounts):
        return raw  # what is malformed is found where it is applied
    amount, captured, refunded = amounts
    rest = amount - (captured or amount)
    if rest <= 0:
        return raw
    told = max(0, refunded - rest)
    return {**raw, "amount_refunded": told, "never_collected": rest}


def never_collected(raw: Mapping[str, Any]) -> int:
    """The part of an authorisation that was never collected and that Stripe made a refund of."""
    return int(raw.get("never_collected", 0))


def given_back(raw: Mapping[str, Any]) -> int:
    """What a charge says was refunded so far of what was collected."""
    if not raw.get("captured", True):
        return 0
    return max(0, raw.get("amount_refunded") or 0)


def refunds_within(raw: Mapping[str, Any]) -> list[Raw]:
    """The refunds an old-shaped charge lists (new ones don't, and have events of their own)."""
    if not raw.get("captured", True):
        return []  # an authorisation that was released: no money came, and none went back
    return list((raw.get("refunds") or {}).get("data") or ())


def refund(raw: Mapping[str, Any]) -> Raw:
    return {
        "id": raw["id"],
        "amount": raw["amount"],
        "currency": raw["currency"],
        "status": raw["status"],
        "created_at": raw["created"],
        "reason": raw.get("reason"),
        "charge": id_of(raw.get("charge")),
        "payment_intent": id_of(raw.get("payment_intent")),
    }


def refund_of_charge(raw: Mapping[str, Any]) -> Raw:
    """A refund as part of its charge. One that failed or was cancelled gave nothing back."""
    return {
        "amount": raw["amount"],
        "counted": raw["status"] not in ("failed", "canceled"),
        "created_at": raw["created"],
    }


def dispute(raw: Mapping[str, Any]) -> Raw:
    return {
        "id": raw["id"],
        "amount": raw["amount"],
        "currency": raw["currency"],
        "status": raw["status"],
        "created_at": raw["created"],
        "reason": raw.get("reason"),
        "charge": id_of(raw.get("charge")),
        "payment_intent": id_of(raw.get("payment_intent")),
        "withdrawn": sum(moved["amount"] for moved in raw.get("balance_transactions") or ()) < 0,
        "livemode": raw["livemode"],
    }


def dispute_fees(raw: Mapping[str, Any]) -> list[Raw]:
    """The fee of each movement of money a dispute made; a fee given back is below zero."""
    return [
        {
            "id": moved["id"],
            "amount": moved["fee"],
            "currency": moved["currency"],
            "created_at": moved["created"],
            "dispute": raw["id"],
            "charge": id_of(raw.get("charge")),
            "payment_intent": id_of(raw.get("payment_intent")),
            "livemode": raw["livemode"],
        }
        for moved in raw.get("balance_transactions") or ()
        if moved.get("fee")
    ]


def credit_note(raw: Mapping[str, Any]) -> Raw:
    """A credit note.

    It only says what other objects say, too, where it was given by refunds, to the customer's
    balance, or before the invoice was paid. ``outside`` is what was given outside of Stripe, which
    nothing else tells.
    """
    refunds = [id_of(given.get("refund")) for given in raw.get("refunds") or ()]
    told_by = [*refunds, id_of(raw.get("refund")), id_of(raw.get("customer_balance_transaction"))]
    told_by = [id_ for id_ in told_by if id_ is not None]
    outside = raw.get("out_of_band_amount")
    if outside is None:
        outside = 0 if told_by or raw.get("type") == "pre_payment" else raw["amount"]
    return {
        "id": raw["id"],
        "amount": raw["amount"],
        "currency": raw["currency"],
        "status": raw["status"],
        "created_at": raw["created"],
        "reason": raw.get("reason"),
        "description": _cut(raw.get("memo")),
        "invoice": id_of(raw.get("invoice")),
        "outside": outside,
        "told_by": told_by[0] if told_by else None,
        "livemode": raw["livemode"],
    }


def balance_transaction(raw: Mapping[str, Any]) -> Raw:
    """A change of a customer's balance; below zero is in the customer's favour."""
    return {
        "id": raw["id"],
        "amount": raw["amount"],
        "currency": raw["currency"],
        "type": raw["type"],
        "created_at": raw["created"],
        "description": _cut(raw.get("description")),
        "invoice": id_of(raw.get("invoice")),
        "livemode": raw["livemode"],
    }


# -- parts --------------------------------------------------------------------------------------


def id_of(value: Any) -> str | None:
    """The id of a reference, expanded or not."""
    if value is None or isinstance(value, str):
        return value or None
    return str(value["id"])


def before(raw: Mapping[str, Any], previous: Mapping[str, Any] | None) -> Raw | None:
    """An event's object as it was: ``previous_attributes`` laid over it, hash by hash.

    ``None`` where the event doesn't tell.
    """
    return None if previous is None else laid_over(raw, previous)


def laid_over(raw: Mapping[str, Any], previous: Mapping[str, Any]) -> Raw:
    """An object with other values for some of its attributes, hash by hash."""
    old = dict(raw)
    for name, value in previous.items():
        now = old.get(name)
        if isinstance(value, Mapping) and isinstance(now, Mapping):
            old[name] = laid_over(now, value)
        else:
            old[name] = value
    return old


def _metadata(raw: Mapping[str, Any]) -> Raw:
    metadata = raw.get("metadata") or {}
    user = (metadata.get("telegram_user_id") or "").strip()
    return {
        "product_id": (metadata.get("product_id") or "").strip() or None,
        "telegram_user_id": user if _USER_ID.fullmatch(user) else None,
    }


def _products_of(items: Iterable[Mapping[str, Any]]) -> list[str]:
    found: list[str] = []
    for item in items:
        priced = item.get("price") or item.get("plan") or {}
        product_id = id_of(priced.get("product"))
        if product_id is not None and product_id not in found:
            found.append(product_id)
    return found


def _recurs(price: Mapping[str, Any]) -> bool:
    return price.get("type") == "recurring" or price.get("recurring") is not None


def _method_used(raw: Mapping[str, Any]) -> Raw | None:
    details = raw.get("payment_method_details")
    if not details or not details.get("type"):
        return None
    shown = details.get(details["type"]) or {}
    return {
        "type": details["type"],
        "brand": shown.get("brand"),
        "last4": shown.get("last4"),
    }


def _shown(details: Mapping[str, Any]) -> Raw:
    return {name: details.get(name) for name in _SHOWN_METHOD_FIELDS}


def _cut(text: Any, longest: int = LONGEST_SHOWN) -> Any:
    """A text that is only shown, at a length that every record and row has room for. What is no
    text is refused where it is stored."""
    if not isinstance(text, str) or len(text) <= longest:
        return text
    return f"{text[: longest - 1]}…"


def _filled(text: Any) -> Any:
    """``None`` for a text of blanks: everybody who has one would be the same person."""
    return None if isinstance(text, str) and not text.strip() else text


def _email(text: Any) -> Any:
    """An address; ``None`` for what is too long to be one. Guests are one customer by it, so it is
    never cut."""
    if isinstance(text, str):
        return text.strip() or None if len(text) <= LONGEST_EMAIL else None
    return text
