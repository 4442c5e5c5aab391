"""Demo data: ``python -m local.seed --stripe http://127.0.0.1:PORT --customers 200``.

Lives through the last eighteen months of a store at the Stripe stand-in: every kind and status of
purchase, refunds, disputes, several currencies, live and test mode. The events reach the system as
any others do, signed and delivered to the webhook. The same number of customers gives the same
people and purchases; a second run goes on where the first one stopped, or does nothing.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import requests

DAY = 86_400
MONTH = 30 * DAY
MARK = "seed"

Step = dict[str, Any]

FIRST_NAMES = [
    "Renée",
    "Zoë",
    "Jürgen",
    "Olga",
    "Mehmet",
    "Søren",
    "Łukasz",
    "Chloé",
    "Aisha",
    "Ivan",
    "Priya",
    "Tomás",
    "Ingrid",
    "Yusuf",
    "Hannah",
    "Matteo",
    "Fatima",
    "Noah",
    "Camille",
    "Dmitri",
    "Amara",
    "Lucía",
    "Henrik",
    "Sofia",
    "Kwame",
    "Marta",
    "Elif",
    "Jonas",
    "Nadia",
    "Pavel",
]
LAST_NAMES = [
    "Müller",
    "O'Brien",
    "García",
    "Kowalski",
    "Nguyễn",
    "Øster",
    "Ivanova",
    "Yılmaz",
    "Dubois",
    "Okafor",
    "Schmidt",
    "Rossi",
    "Haddad",
    "Novák",
    "Johansson",
    "Silva",
    "Petrov",
    "Fernández",
    "Weiß",
    "Lindqvist",
    "Mensah",
    "Costa",
    "Demir",
    "Larsen",
    "Moreau",
    "Popescu",
]
SPECIAL_NAMES = (
    "山田 太郎",
    "محمد الأحمد",
    "王小明",
    "Анна Каренина",
    "이서연",
    "Ζωή Παπαδοπούλου",
    "Sam 🚀 Trader",
    "Jean-François d’Arcy",
    "X Æ A-12",
    "Zalgo̊ Test",
)
DOMAINS = ("example.com", "example.org", "mail.example.net", "acme.example", "pošta.example")


@dataclass(frozen=True)
class Product:
    """One thing the store sells; it exists in live and in test mode under different ids."""

    key: str
    name: str
    chats: tuple[int, ...]
    amount: int
    currency: str

    def id(self, *, livemode: bool) -> str:
        return f"prod_{'' if livemode else 'Test'}{self.key}"


# Several products open the same chat: a buyer of two of them stays in it when one ends.
PRODUCTS = (
    Product("Signals", "Trading signals", (-1001500000001,), 2900, "usd"),
    Product("SignalsPro", "Signals Pro + chat", (-1001500000001, -1001500000002), 5900, "usd"),
    Product("Academy", "Academy", (-1001500000003, -1001500000004), 19900, "eur"),
    Product("Fitness", "Fitness mit Élan", (-1001500000005,), 1250, "eur"),
    Product("Kitchen", "Chef's kitchen", (-1001500000006,), 900, "gbp"),
    Product("Anime", "アニメクラブ", (-1001500000007,), 1200, "jpy"),
    Product("Poker", "Poker room", (-1001500000008, -1001500000002), 4900, "usd"),
    Product(
        "Everything", "All access", (-1001500000001, -1001500000003, -1001500000005), 9900, "usd"
    ),
    Product("Tarot", "Tarot & stars", (-1001500000009,), 150000, "huf"),
    Product("Crypto", "Крипто-клуб", (-1001500000010,), 7900, "usd"),
)


@dataclass
class Person:
    """One buyer on the way to becoming a list of steps."""

    number: int
    now: int
    rng: random.Random
    name: str
    email: str
    grouptizer_id: str
    telegram: int | None
    livemode: bool
    steps: list[Step] = field(default_factory=list)

    def days_ago(self, earliest: float, latest: float = 0) -> int:
        """A time between so many days ago; never in the future."""
        seconds = self.rng.uniform(latest * DAY, earliest * DAY)
        return self.now - max(60, int(seconds))

    def product(self) -> Product:
        return self.rng.choice(PRODUCTS)

    def do(self, at: int, what: str, /, **arguments: Any) -> None:
        # Time runs forward: a step never happens before the one it builds on.
        at = max(at, self.steps[-1]["at"] + 1 if self.steps else at)
        self.steps.append(
            {
                "do": what,
                "at": min(at, self.now),
                "args": {k: v for k, v in arguments.items() if v is not None},
                "as": f"s{len(self.steps)}",
                "livemode": self.livemode,
            }
        )

    def last(self, key: str = "id") -> str:
        return f"$s{len(self.steps) - 1}.{key}"

    def customer(self) -> dict[str, str]:
        """Who buys: the customer of an earlier step, else a new one."""
        for step in self.steps:
            if step["do"] == "create_customer" and step["livemode"] == self.livemode:
                return {"customer": f"${step['as']}.id"}
        return {}

    def register(self, at: int) -> None:
        avatar = f"https://avatars.example.com/{self.number}.png" if self.number % 3 else None
        self.do(
            at,
            "create_customer",
            name=self.name,
            email=self.email,
            grouptizer_id=self.grouptizer_id,
            avatar_url=avatar,
        )

    def subscribe(self, at: int, product: Product | None = None, **more: Any) -> str:
        """Returns the reference of the subscription."""
        sold = product or self.product()
        if not self.customer():
            self.register(at - 30)
        arguments = {
            "product": sold.id(livemode=self.livemode),
            "amount": sold.amount,
            "currency": sold.currency,
            "telegram_user_id": self.telegram,
            **more,
        }
        self.do(at, "subscribe", **self.customer(), **arguments)
        return self.last()

    def buy(self, at: int, product: Product | None = None, **more: Any) -> str:
        """Returns the reference of the Checkout session."""
        sold = product or self.product()
        if not self.customer():
            self.register(at - 30)
        arguments = {
            "product": sold.id(livemode=self.livemode),
            "amount": sold.amount,
            "currency": sold.currency,
            "telegram_user_id": self.telegram,
            **more,
        }
        self.do(at, "buy_one_off", **self.customer(), **arguments)
        return self.last()

    def redeem(self, at: int, *, expires_at: int | None = None) -> None:
        if not self.customer():
            self.register(at - 30)
        letters = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
        self.do(
            at,
            "redeem_access_code",
            **self.customer(),
            product=self.product().id(livemode=self.livemode),
            telegram_user_id=self.telegram,
            access_code="".join(self.rng.choices(letters, k=12)),
            access_expires_at=None
            if expires_at is None
            else datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )


Life = Callable[[Person], None]


def bought_once(who: Person) -> None:
    who.buy(who.days_ago(540, 1))


def bought_twice(who: Person) -> None:
    at = who.days_ago(500, 60)
    who.buy(at, method_type=who.rng.choice(["card", "link", "paypal"]))
    who.buy(at + 40 * DAY)


def guest(who: Person) -> None:
    sold = who.product()
    who.do(
        who.days_ago(500, 1),
        "guest_checkout",
        name=who.name,
        email=who.email,
        product=sold.id(livemode=who.livemode),
        amount=sold.amount,
        currency=sold.currency,
        telegram_user_id=who.telegram,
    )


def paid_by_debit(who: Person) -> None:
    at = who.days_ago(300, 20)
    who.buy(at, outcome="pending", method_type="sepa_debit")
    who.do(at + 5 * DAY, "settle", session=who.last(), succeeded=True)


def debit_bounced(who: Person) -> None:
    at = who.days_ago(200, 15)
    who.buy(at, outcome="pending", method_type="us_bank_account")
    who.do(at + 4 * DAY, "settle", session=who.last(), succeeded=False)


def debit_on_its_way(who: Person) -> None:
    who.buy(who.days_ago(2), outcome="pending", method_type="sepa_debit")


def refunded(who: Person) -> None:
    at = who.days_ago(450, 20)
    who.buy(at)
    who.do(at + 6 * DAY, "refund", payment=who.last("payment_intent"))


def partly_refunded(who: Person) -> None:
    at = who.days_ago(400, 30)
    session = who.buy(at).removesuffix(".id")
    who.do(at + 3 * DAY, "refund", payment=f"{session}.payment_intent", amount=300)
    who.do(at + 9 * DAY, "refund", payment=f"{session}.payment_intent", amount=200)


def refund_failed(who: Person) -> None:
    at = who.days_ago(200, 20)
    who.buy(at)
    who.do(at + 3 * DAY, "refund", payment=who.last("payment_intent"), status="pending")
    who.do(at + 8 * DAY, "finish_refund", refund=who.last(), status="failed")


def disputed(who: Person, *, won: bool) -> None:
    at = who.days_ago(400, 80)
    who.buy(at)
    who.do(at + 20 * DAY, "dispute", payment=who.last("payment_intent"))
    dispute = who.last()
    who.do(at + 25 * DAY, "update_dispute", dispute=dispute)
    who.do(at + 70 * DAY, "close_dispute", dispute=dispute, won=won)


def dispute_won(who: Person) -> None:
    disputed(who, won=True)


def dispute_lost(who: Person) -> None:
    disputed(who, won=False)


def dispute_open(who: Person) -> None:
    at = who.days_ago(60, 12)
    who.buy(at)
    who.do(
        at + 10 * DAY, "dispute", payment=who.last("payment_intent"), reason="product_not_received"
    )


def monthly(who: Person) -> None:
    who.subscribe(who.days_ago(85, 1))


def monthly_for_long(who: Person) -> None:
    at = who.days_ago(240, 150)
    sub = who.subscribe(at, billing_mode="classic")
    if who.telegram is not None:
        who.do(at + 20 * DAY, "link_telegram", purchase=sub, telegram_user_id=who.telegram + 1)


def yearly(who: Person) -> None:
    who.subscribe(who.days_ago(540, 10), interval="year")


def weekly_new(who: Person) -> None:
    who.subscribe(who.days_ago(6), interval="week")


def trial(who: Person) -> None:
    who.subscribe(who.days_ago(9, 1), trial_days=14)


def trial_turned_paid(who: Person) -> None:
    who.subscribe(who.days_ago(40, 15), trial_days=7)


def trial_paused(who: Person) -> None:
    who.subscribe(
        who.days_ago(60, 16), trial_days=7, no_payment_method=True, missing_payment_method="pause"
    )


def past_due(who: Person) -> None:
    sub = who.subscribe(who.days_ago(33.5, 31.5))
    who.do(who.steps[-1]["at"] + DAY, "decline_payments", subscription=sub)


def dunning_lost(who: Person) -> None:
    sub = who.subscribe(who.days_ago(120, 60))
    who.do(who.steps[-1]["at"] + DAY, "decline_payments", subscription=sub)


def unpaid(who: Person) -> None:
    at = who.days_ago(44, 38)
    sub = who.subscribe(at)
    who.do(at + DAY, "decline_payments", subscription=sub)
    who.do(at + 34 * DAY, "give_up", subscription=sub, how="unpaid")


def incomplete(who: Person) -> None:
    who.subscribe(who.days_ago(0.5), fails=True)


def incomplete_expired(who: Person) -> None:
    who.subscribe(who.days_ago(200, 3), fails=True)


def ends_soon(who: Person) -> None:
    at = who.days_ago(27, 4)
    sub = who.subscribe(at, billing_mode=who.rng.choice(["flexible", "classic"]))
    who.do(at + 2 * DAY, "portal_cancel", subscription=sub)


def changed_their_mind(who: Person) -> None:
    at = who.days_ago(28, 8)
    sub = who.subscribe(at)
    who.do(at + 3 * DAY, "portal_cancel", subscription=sub)
    who.do(at + 5 * DAY, "portal_uncancel", subscription=sub)


def left(who: Person) -> None:
    at = who.days_ago(500, 70)
    sub = who.subscribe(at)
    who.do(at + 10 * DAY, "portal_cancel", subscription=sub, feedback="unused")


def left_at_once(who: Person) -> None:
    at = who.days_ago(300, 20)
    sub = who.subscribe(at)
    who.do(at + 4 * DAY, "portal_cancel", subscription=sub, immediately=True)


def came_back(who: Person) -> None:
    sold = who.product()
    at = who.days_ago(400, 120)
    sub = who.subscribe(at, sold)
    who.do(at + 10 * DAY, "portal_cancel", subscription=sub)
    who.subscribe(who.days_ago(25, 2), sold)


def collection_paused(who: Person) -> None:
    at = who.days_ago(25, 5)
    sub = who.subscribe(at)
    who.do(at + 2 * DAY, "pause_collection", subscription=sub, behavior="void")


def on_schedule(who: Person) -> None:
    at = who.days_ago(25, 4)
    sub = who.subscribe(at)
    who.do(at + DAY, "schedule_subscription", subscription=sub, end_behavior="cancel")


def credited(who: Person) -> None:
    at = who.days_ago(28, 6)
    sub = who.subscribe(at)
    who.do(at + DAY, "credit_note", payment=sub, amount=100)
    who.do(at + 2 * DAY, "adjust_balance", amount=-250, **who.customer())


def code_for_life(who: Person) -> None:
    who.redeem(who.days_ago(520, 1))


def code_running(who: Person) -> None:
    who.redeem(who.days_ago(80, 1), expires_at=who.now + who.rng.randint(5, 90) * DAY)


def code_run_out(who: Person) -> None:
    at = who.days_ago(400, 100)
    who.redeem(at, expires_at=at + MONTH)


def code_then_subscription(who: Person) -> None:
    at = who.days_ago(200, 60)
    who.redeem(at, expires_at=at + MONTH)
    who.subscribe(who.days_ago(28, 1))


def collector(who: Person) -> None:
    """Two products that open the same chat, and a third."""
    at = who.days_ago(29, 10)
    who.subscribe(at, PRODUCTS[0])
    who.subscribe(at + DAY, PRODUCTS[1])
    who.buy(at + 2 * DAY, PRODUCTS[6])
    for type_, last4 in (("card", "4444"), ("link", "0000"), ("aurora_pay", "0000")):
        who.do(at + 3 * DAY, "attach_payment_method", **who.customer(), type=type_, last4=last4)


def both_modes(who: Person) -> None:
    """First a try in test mode, then the real thing, under the same Grouptizer id."""
    at = who.days_ago(300, 40)
    who.livemode = False
    who.buy(at)
    who.livemode = True
    who.buy(at + 2 * DAY)


LIVES: tuple[Life, ...] = (
    bought_once,
    monthly,
    code_for_life,
    yearly,
    guest,
    past_due,
    refunded,
    trial,
    collector,
    both_modes,
    ends_soon,
    dispute_lost,
    bought_twice,
    left,
    code_running,
    paid_by_debit,
    monthly_for_long,
    partly_refunded,
    trial_paused,
    unpaid,
    dispute_won,
    incomplete,
    code_run_out,
    debit_on_its_way,
    came_back,
    debit_bounced,
    changed_their_mind,
    dunning_lost,
    credited,
    weekly_new,
    on_schedule,
    incomplete_expired,
    refund_failed,
    collection_paused,
    code_then_subscription,
    left_at_once,
    dispute_open,
    trial_turned_paid,
    bought_once,
    monthly,
)


def person(number: int, now: int) -> Person:
    """The same person for the same number; times hang on ``now`` (epoch seconds)."""
    rng = random.Random(f"customer {number}")
    if number % 12 == 11:
        name = SPECIAL_NAMES[number // 12 % len(SPECIAL_NAMES)]
        local = f"buyer{number}"
    else:
        first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
        name = f"{first} {last}"
        local = f"{first}.{last}".lower().replace("'", "") + str(number)
    linked = rng.random() < 0.75
    who = Person(
        number=number,
        now=now,
        rng=rng,
        name=name,
        email=f"{local}@{rng.choice(DOMAINS)}",
        grouptizer_id=f"gz_{rng.getrandbits(64):016x}",
        telegram=600_000_000 + number * 10 if linked else None,
        livemode=rng.random() >= 0.2,
    )
    LIVES[number % len(LIVES)](who)
    return who


def catalogue(now: int) -> list[Step]:
    """The products of both modes, made eighteen months ago."""
    return [
        {
            "do": "create_product",
            "at": now - 18 * MONTH,
            "livemode": livemode,
            "args": {
                "id": product.id(livemode=livemode),
                "name": product.name,
                "telegram_chat_ids": list(product.chats),
            },
        }
        for livemode in (True, False)
        for product in PRODUCTS
    ]


class Control:
    """The stand-in's control API."""

    def __init__(self, base: str) -> None:
        self._base = f"{base.rstrip('/')}/_control"
        self._session = requests.Session()

    def post(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._session.post(f"{self._base}/{name}", json=body, timeout=600)
        if answer.status_code != 200:
            raise RuntimeError(f"{name}: {answer.status_code} {answer.text[:500]}")
        result: dict[str, Any] = answer.json()
        return result


def seed(base: str, customers: int, *, wait: float = 300, workers: int = 6) -> dict[str, Any]:
    """Seed and wait until all events are delivered.

    Returns ``customers`` (how many were made now), ``events``, ``seconds`` and ``delivered``
    (false when the time ran out with deliveries pending).
    """
    started = time.monotonic()
    control = Control(base)
    mark = control.post("mark", {"name": MARK})["value"]
    made = 0
    if mark is None:
        now = control.post("clock", {})["now"]
        mark = {"now": now, "from": 0, "total": 0, "done": 0}
        control.post("scenarios", {"steps": catalogue(now), "mark": {"name": MARK, "value": mark}})
    control.post("deliveries", {"workers": workers})
    while mark["done"] < max(customers, mark["total"]):
        if mark["done"] == mark["total"]:  # a new round; an interrupted one is finished first
            mark = mark | {"from": mark["total"], "total": customers}
        people = [person(number, mark["now"]) for number in range(mark["from"], mark["total"])]
        # In the order they came to the store, as the events of a real account would.
        people.sort(key=lambda who: (who.steps[0]["at"], who.number))
        for who in people[mark["done"] - mark["from"] :]:
            mark = mark | {"done": mark["done"] + 1}
            control.post("scenarios", {"steps": who.steps, "mark": {"name": MARK, "value": mark}})
            made += 1
    drained = control.post("drain", {"timeout": wait})
    return {
        "customers": made,
        "events": drained["delivered"],
        "seconds": time.monotonic() - started,
        "delivered": drained["drained"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="local.seed", description=__doc__)
    parser.add_argument("--stripe", required=True, help="address of the Stripe stand-in")
    parser.add_argument("--customers", type=int, default=200)
    parser.add_argument("--wait", type=float, default=300, help="seconds to wait for deliveries")
    given = parser.parse_args()
    result = seed(given.stripe, given.customers, wait=given.wait)
    print(
        f"seeded {result['customers']} customers, {result['events']} events delivered "
        f"in {result['seconds']:.1f} s"
    )
    if not result["delivered"]:
        raise SystemExit("some events are still being delivered")


if __name__ == "__main__":
    main()
