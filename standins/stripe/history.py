"""A deterministic life of one customer, of exactly as many events as a test asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from standins.stripe.account import StripeAccount
from standins.stripe.shapes import Object

Step = Callable[[], Any]


def history(
    account: StripeAccount,
    *,
    events: int = 40,
    start: int = 1_790_000_000,
    seconds_between: int = 600,
    api_version: str | None = None,
) -> list[Object]:
    """Live through a subscription and one-off purchases; returns the events, oldest first.

    Exactly ``events`` of them (at least 14), each scenario complete, so that what the API
    answers afterwards agrees with the last event of each object. ``seconds_between`` 0 lets
    everything happen in one second. The last steps are a change of name each, to fill up.
    """
    first = len(account.events())
    at = start
    known: dict[str, Any] = {}

    def count() -> int:
        return len(account.events()) - first

    def begin() -> None:
        product = account.create_product(
            name="Signals", telegram_chat_ids=[-1001111111111, -1002222222222]
        )
        customer = account.create_customer(
            name="Renée Müller", email="renee@example.com", grouptizer_id="gz-history"
        )
        known.update(product=product["id"], customer=customer["id"])

    def subscribe() -> None:
        known["subscription"] = account.subscribe(
            customer=known["customer"],
            product=known["product"],
            telegram_user_id=700001,
            checkout=False,
        )["id"]

    def refund() -> None:
        account.refund(known["subscription"], amount=400)

    def dispute() -> None:
        made = account.dispute(known["subscription"])
        account.close_dispute(made["id"], won=True)

    def one_off() -> None:
        account.buy_one_off(
            customer=known["customer"], product=known["product"], telegram_user_id=700001
        )

    # Each with the number of events it writes: a step is taken only where it fits whole.
    steps: list[tuple[int, Step]] = [
        (2, begin),
        (12, subscribe),
        (1, lambda: account.portal_cancel(known["subscription"])),
        (1, lambda: account.portal_uncancel(known["subscription"])),
        (5, one_off),
        (2, refund),
        (5, dispute),
        (9, lambda: account.renew(known["subscription"])),
        (1, lambda: account.link_telegram(known["subscription"], 700002)),
        (1, lambda: account.cancel_subscription(known["subscription"])),
    ]
    names = 0
    for size, step in steps:
        if count() + size > events:
            continue
        with account.ledger.at(at):
            step()
        at += seconds_between
    while count() < events:
        names += 1
        with account.ledger.at(at):
            account.update_customer(known["customer"], name=f"Renée Müller {names}")
        at += seconds_between
    if count() != events:
        raise ValueError(f"a history has at least 14 events, not {events}")
    return account.events(api_version=api_version)[first:]
