"""One deployment on virtual time: the real code between an in-memory DynamoDB, a Stripe, a
Telegram and a Scheduler, with everything it does watched.

The code that runs is the project's own: :class:`~functions.cancel_purchase.cancel.Canceller`,
:class:`~functions.stripe_webhook.delivery.Deliveries`,
:class:`~functions.period_end_revoker.revoke.Revoker` and all below them. What is replaced is what
lies behind the clients, and the clock.
"""

from __future__ import annotations

import functools
import hashlib
import heapq
import hmac
import json
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from functions.cancel_purchase.cancel import Cancelled, Canceller
from functions.period_end_revoker.revoke import Revoker, Swept
from functions.stripe_webhook import handler as stripe_webhook
from shared.compose import BUDGETS, Composition, Leaves
from shared.domain.customer import customer_id_of
from shared.domain.errors import CustomersError
from shared.domain.purchase import When
from shared.domain.steps import Who
from shared.ending.drive import Driver
from shared.settings import Settings as FunctionSettings
from shared.storage.chats import Chats
from shared.storage.keys import ATTENTION_INDEX, DUE_INDEX, purchase_key
from shared.storage.registry import Registry
from shared.tenant import Tenant
from standins.telegram.bot_api import LEFT, MEMBER, BotApi, Chat, Member, Settings
from tests.dynamo import table_definition
from tests.faults.boundaries import (
    Crash,
    Faults,
    Process,
    StripeHttp,
    TelegramSession,
    WrappedDynamo,
    WrappedScheduler,
    no_faults,
)
from tests.faults.stripe_engine import LIVE, PERIOD, StripeEngine
from tests.memory_dynamo.database import MemoryDynamo

START = 1_790_000_000
STORE = Tenant("demo")
RECORDS, INDEX = "records", "customer-index"
SECRET = "whsec_faults"
TOKEN = "123456:LOCAL"
SWEEP_SECONDS = 60
CALLED = (
    "getMe",
    "getChat",
    "getChatAdministrators",
    "getChatMember",
    "revokeChatInviteLink",
    "unbanChatMember",
)
SECRETS: dict[str, Any] = {
    "stripe": {"live": "sk_live_faults", "test": "sk_test_faults"},
    "webhook": {"secrets": [SECRET]},
    "telegram": {"token": TOKEN},
}
VARIABLES = {
    "DEFAULT_STORE": STORE.store_id,
    "RECORDS_TABLE": RECORDS,
    "INDEX_TABLE": INDEX,
    "SCHEDULE_GROUP": "group",
    "SCHEDULE_ROLE_ARN": "arn:r",
    "REVOKER_ARN": "arn:f",
    "STRIPE_API_BASE": "https://stripe.test",
    "TELEGRAM_API_BASE": "https://telegram.test",
    "STRIPE_API_SECRET_ARN": "stripe",
    "STRIPE_WEBHOOK_SECRET_ARN": "webhook",
    "TELEGRAM_SECRET_ARN": "telegram",
}


class VirtualTime:
    """A clock that moves when somebody sleeps or is told to."""

    def __init__(self) -> None:
        self.now = float(START)

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)


@contextmanager
def on_virtual_time() -> Iterator[VirtualTime]:
    """A virtual clock for a world; nothing is logged meanwhile."""
    logging.disable(logging.CRITICAL)
    try:
        yield VirtualTime()
    finally:
        logging.disable(logging.NOTSET)


@dataclass
class Delivery:
    """An event on its way to the webhook."""

    event: dict[str, Any]
    next_at: float
    attempts: int = 0


@dataclass
class Scheduler:
    """EventBridge Scheduler: at least once, late, and here also lossy.

    Attributes:
        lost: schedules never fire, as if they had not been made.
        loses: the same, by a schedule's name.
        late_seconds: how long after their time they fire.
        doubled: they fire twice.
    """

    schedules: dict[str, dict[str, Any]] = field(default_factory=dict)
    timers: list[tuple[int, str]] = field(default_factory=list)
    lost: bool = False
    late_seconds: int = 0
    doubled: bool = False
    loses: Callable[[str], bool] = lambda _name: False

    def copy(self) -> Scheduler:
        return replace(self, schedules=dict(self.schedules), timers=list(self.timers))

    def create_schedule(self, **request: Any) -> dict[str, Any]:
        if request["Name"] in self.schedules:
            raise ClientError({"Error": {"Code": "ConflictException", "Message": ""}}, "Create")
        self._set(request)
        return {}

    def update_schedule(self, **request: Any) -> dict[str, Any]:
        self._existing(request["Name"])
        self._set(request)
        return {}

    def delete_schedule(self, **request: Any) -> dict[str, Any]:
        self._existing(request["Name"])
        del self.schedules[request["Name"]]
        return {}

    def _existing(self, name: str) -> None:
        if name not in self.schedules:
            raise ClientError(
                {"Error": {"Code": "ResourceNotFoundException", "Message": ""}}, "Schedule"
            )

    def _set(self, request: dict[str, Any]) -> None:
        self.schedules[request["Name"]] = request
        heapq.heappush(self.timers, (_time_of(request), request["Name"]))

    def next_at(self) -> int | None:
        """When the next one fires."""
        while self.timers:
            at, name = self.timers[0]
            if name in self.schedules and _time_of(self.schedules[name]) == at:
                return at + self.late_seconds
            heapq.heappop(self.timers)  # deleted, or of another time by now
        return None

    def fire_due(self, now: float) -> list[dict[str, Any]]:
        """What the due ones invoke the function with; they are gone then."""
        inputs = []
        while (at := self.next_at()) is not None and at <= now:
            request = self.schedules.pop(heapq.heappop(self.timers)[1])
            if not (self.lost or self.loses(request["Name"])):
                inputs.append(json.loads(request["Target"]["Input"]))
        return [each for each in inputs for _ in range(2 if self.doubled else 1)]


@functools.lru_cache(maxsize=4096)
def _moment(expression: str) -> int:
    when = expression.removeprefix("at(").removesuffix(")")
    return int(datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp())


def _time_of(request: dict[str, Any]) -> int:
    return _moment(request["ScheduleExpression"])


@dataclass
class Truth:
    """What the outside knows, told by what was done to it and by nothing the code says.

    Attributes:
        purchases: id → (account, kind, expires_at).
        products: product → the chats it opens.
        opened: purchase → every chat that it ever opened.
        users: purchase → Telegram user linked to it by the store; empty: nobody.
        ever: purchase → everybody who ever was.
        of_user: Telegram user → purchases ever linked.
        known: (purchase, user) → the chats of which a webhook was answered with 200.
        asked: purchases the owner asked to cancel at once.
        unsure: of these, the ones nobody knows whether the request was recorded.
        joined: (purchase, user, chat) of who came in.
    """

    purchases: dict[str, tuple[str, str, int | None]] = field(default_factory=dict)
    products: dict[str, list[int]] = field(default_factory=dict)
    opened: dict[str, set[int]] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    ever: dict[str, set[str]] = field(default_factory=dict)
    of_user: dict[str, list[str]] = field(default_factory=dict)
    known: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    joined: set[tuple[str, str, int]] = field(default_factory=set)
    guests_of_chats: dict[tuple[int, int], str] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    removals: int = 0
    removed_at: dict[tuple[int, int], float] = field(default_factory=dict)

    def copy(self) -> Truth:
        return Truth(
            dict(self.purchases),
            dict(self.products),
            {purchase: set(chats) for purchase, chats in self.opened.items()},
            dict(self.users),
            {purchase: set(users) for purchase, users in self.ever.items()},
            {user: list(purchases) for user, purchases in self.of_user.items()},
            {pair: set(chats) for pair, chats in self.known.items()},
            set(self.asked),
            set(self.unsure),
            set(self.joined),
            dict(self.guests_of_chats),
            list(self.violations),
            self.removals,
            dict(self.removed_at),
        )


class World:
    """See the module's text."""

    def __init__(self, time: VirtualTime) -> None:
        self.time = time
        self.dynamo = MemoryDynamo()
        for name, resource in ((RECORDS, "RecordsTable"), (INDEX, "CustomerIndexTable")):
            self.dynamo.create_table(name, **table_definition(resource))
        self.stripe = StripeEngine(now=int(time.now))
        self.scheduler = Scheduler()
        self.telegram = self._bot_api()
        self.truth = Truth()
        self.deliveries: list[Delivery] = []
        self.down: dict[str, float] = {}
        self.faults = 0
        self.crashes = 0
        self.crossed = 0
        self.started_at = time.now
        self.default_faults: Faults = no_faults

    def _bot_api(self) -> BotApi:
        # Nobody is anywhere until put there, and chats must have been made.
        settings = Settings(token=TOKEN, create_chats=False, unknown_members=LEFT)
        return BotApi(settings, lambda: datetime.fromtimestamp(self.time.now, UTC))

    def fork(self) -> World:
        """A copy that goes its own way, from the same moment."""
        other = World.__new__(World)
        other.__dict__ |= self.__dict__
        other.dynamo = self.dynamo.copy()
        other.stripe = self.stripe.copy()
        other.scheduler = self.scheduler.copy()
        other.telegram = other._bot_api()
        other.telegram.chats = {key: _copy_of(chat) for key, chat in self.telegram.chats.items()}
        other.telegram.users = {key: replace(user) for key, user in self.telegram.users.items()}
        other.truth = self.truth.copy()
        other.deliveries = [replace(delivery) for delivery in self.deliveries]
        other.down = dict(self.down)
        return other

    def moment(self) -> tuple[Any, ...]:
        """What differs between two moments if anything happened from the one to the other."""
        return (
            self.time.now,
            self.stripe.number,
            self.crossed,
            len(self.scheduler.schedules),
            [(delivery.event["id"], delivery.attempts) for delivery in self.deliveries],
            self.truth.copy(),
        )

    def is_down(self, service: str) -> bool:
        return self.down.get(service, 0) > self.time.now

    # -- functions -------------------------------------------------------------------------------

    def process(self, faults: Faults | None = None) -> Process:
        return Process(self, faults or self.default_faults)

    def parts(self, process: Process, function: str) -> Composition:
        """What a function is made of when it is deployed, with this world for its leaves."""
        clients: dict[str, Any] = {
            "dynamodb": WrappedDynamo(process),
            "scheduler": WrappedScheduler(process),
            "secretsmanager": Secrets(),
        }
        parts = Composition(
            BUDGETS[function],
            FunctionSettings(VARIABLES),
            Leaves(
                aws=clients.__getitem__,
                stripe_http=lambda: StripeHttp(process),
                telegram_session=lambda: TelegramSession(process),
                clock=self.time.time,
                monotonic=self.time.monotonic,
                sleep=self.time.sleep,
                at_once=1,  # the boundaries have one order
                count=lambda _: None,
            ),
        )
        parts.begin()
        return parts

    def driver(self, process: Process, function: str) -> Driver:
        return self.parts(process, function).driver

    def cancel(self, process: Process, purchase_id: str, when: When) -> Cancelled:
        """The owner cancels; whatever is answered is checked against Stripe and Telegram."""
        account = self.truth.purchases[purchase_id][0]
        since = self.stripe.number
        with self._asking(purchase_id, when):
            parts = self.parts(process, "cancel_purchase")
            done = Canceller(parts.driver).cancel(
                STORE,
                customer_of(account),
                purchase_id,
                when=when,
                who=Who("owner"),
                reason=None,
                without_stripe=False,
                deadline=parts.deadline.act_until,
            )
        self._check_answer(done, purchase_id, when, since)
        return done

    @contextmanager
    def _asking(self, purchase_id: str, when: When) -> Iterator[None]:
        """Keep in mind that an end was asked for, unless the request is refused."""
        truth = self.truth
        known = purchase_id in truth.asked and purchase_id not in truth.unsure
        if when == "immediately":
            truth.asked.add(purchase_id)
        try:
            yield
        except CustomersError as refused:
            if refused.status < 500 and not known and purchase_id not in truth.unsure:
                truth.asked.discard(purchase_id)
            raise
        except BaseException:
            if when == "immediately" and not known:
                truth.unsure.add(purchase_id)
            raise
        if when == "immediately":
            truth.unsure.discard(purchase_id)

    def revoke_again(self, process: Process, purchase_id: str) -> Cancelled:
        account = self.truth.purchases[purchase_id][0]
        parts = self.parts(process, "cancel_purchase")
        return Canceller(parts.driver).revoke_again(
            STORE,
            customer_of(account),
            purchase_id,
            who=Who("owner"),
            leave=False,
            deadline=parts.deadline.act_until,
        )

    def retry_all(self, process: Process) -> None:
        parts = self.parts(process, "cancel_purchase")
        Canceller(parts.driver).retry_all(STORE, who=Who("owner"))

    def receive(self, process: Process, event: dict[str, Any]) -> str:
        """Stripe delivers an event."""
        self._hear(event)
        deliveries = stripe_webhook.deliveries(self.parts(process, "stripe_webhook"))
        body = json.dumps(event).encode()
        result = deliveries.receive(body, _signature(body, int(self.time.now)))
        if result != "applied":
            self.truth.violations.append(f"{event['type']} was {result}")
        return result

    def sweep(self, process: Process) -> Swept:
        parts = self.parts(process, "period_end_revoker")
        revoker = Revoker(parts.driver, parts.attention, parts.rights)
        return revoker.sweep(deadline=parts.deadline.act_until)

    def fire(self, process: Process, event: dict[str, Any]) -> bool:
        """A schedule invokes the revoker: for one purchase, or to sweep."""
        if not event:
            return self.sweep(process).finished
        parts = self.parts(process, "period_end_revoker")
        key = purchase_key(Tenant(event["store"]), event["account"], event["purchase_id"])
        revoker = Revoker(parts.driver, parts.attention, parts.rights)
        return revoker.revoke(key, deadline=parts.deadline.act_until)

    # -- what happens outside ----------------------------------------------------------------------

    def outside(self, change: Callable[[StripeEngine], None]) -> None:
        """Something happens at Stripe now; its events are on their way."""
        self.stripe.now = int(self.time.now)
        change(self.stripe)
        self._post()

    def _post(self) -> None:
        for event in self.stripe.outbox:
            self.deliveries.append(Delivery(event, self.time.now))
        self.stripe.outbox.clear()

    def buy(
        self,
        kind: str,
        name: str,
        account: str,
        product: str,
        user: str,
        *more_products: str,
        status: str = "active",
        period: int = PERIOD,
        expires_at: int | None = None,
    ) -> str:
        """A purchase at Stripe; its id. Nothing of it has reached us yet.

        Args:
            more_products: of a one-off purchase: it is a cart.
        """
        if kind == "subscription":
            purchase_id = f"sub_{name}"
            self.outside(lambda s: s.subscribe(purchase_id, account, product, user, status, period))
        elif kind == "one_off":
            purchase_id = f"pi_{name}"
            self.outside(lambda s: s.pay_once(name, account, product, user, *more_products))
        else:
            purchase_id = f"cs_{name}"
            self.outside(lambda s: s.redeem(name, account, product, user, expires_at))
        self.truth.purchases[purchase_id] = (account, kind, expires_at)
        self.truth.opened[purchase_id] = self.opens(purchase_id)
        self.truth.users[purchase_id] = user
        self.truth.ever[purchase_id] = {user}
        self.truth.of_user.setdefault(user, []).append(purchase_id)
        return purchase_id

    def link(self, purchase_id: str, user: str) -> None:
        """The store links another Telegram account to a purchase."""
        if self.truth.users[purchase_id] == user:
            return  # nothing changes at Stripe, so nothing is told
        kind = self.truth.purchases[purchase_id][1]
        target = ("subscription", purchase_id)
        if kind == "one_off":
            target = ("charge", purchase_id.replace("pi_", "ch_"))
        self.outside(lambda s: s.link(*target, user))
        self._forget(purchase_id, user)
        self.truth.users[purchase_id] = user
        if user not in self.truth.ever[purchase_id]:
            self.truth.ever[purchase_id].add(user)
            self.truth.of_user.setdefault(user, []).append(purchase_id)

    def unlink(self, subscription_id: str) -> None:
        """The store takes the Telegram account off a subscription."""
        if self.truth.users[subscription_id]:
            self.outside(lambda s: s.unlink(subscription_id))
            self.truth.users[subscription_id] = ""

    def switch(self, subscription_id: str, *products: str) -> None:
        """A subscription is of other products from now on."""
        if not self.is_live(subscription_id):
            return
        self.outside(lambda s: s.switch(subscription_id, *products))
        chats = self.opens(subscription_id)
        self.truth.opened[subscription_id] |= chats
        for pair in self.truth.known:
            if pair[0] == subscription_id:
                self.truth.known[pair] &= chats
        self.truth.joined = {
            joined
            for joined in self.truth.joined
            if joined[0] != subscription_id or joined[2] in chats
        }

    def _forget(self, purchase_id: str, user: str) -> None:
        """A user was told of, or let in, by what does not hold any more."""
        self.truth.known.pop((purchase_id, user), None)
        self.truth.joined = {j for j in self.truth.joined if j[:2] != (purchase_id, user)}

    # -- who may be where ----------------------------------------------------------------------

    def opens(self, purchase_id: str) -> set[int]:
        """The chats that a purchase opens now, by what Stripe says."""
        kind = self.truth.purchases[purchase_id][1]
        if kind == "subscription":
            return self._opened_by(self.stripe.objects["subscription", purchase_id])
        session = purchase_id.replace("pi_", "cs_")
        return self._opened_by(self.stripe.objects["session", session])

    def _opened_by(self, about: dict[str, Any]) -> set[int]:
        """The same of a subscription or a checkout, as an event tells it."""
        if about["object"] == "subscription":
            products = [item["price"]["product"] for item in about["items"]["data"]]
        else:
            products = about.get("cart") or [about["metadata"]["product_id"]]
        return {chat for product in products for chat in self.truth.products[product]}

    def is_live(self, purchase_id: str) -> bool:
        """Whether a purchase gives access by what Stripe and the owner say."""
        _, kind, expires_at = self.truth.purchases[purchase_id]
        if kind == "subscription":
            subscription = self.stripe.objects["subscription", purchase_id]
            ends_at = subscription["cancel_at"]
            return subscription["status"] in LIVE and (
                ends_at is None or ends_at > int(self.time.now)
            )
        if purchase_id in self.truth.asked:
            return False
        return expires_at is None or expires_at > int(self.time.now)

    def admitted_by(self, chat_id: int, user_id: int) -> list[str]:
        """Live purchases we were told of that admit a user to a chat."""
        return [
            purchase_id
            for purchase_id in self.admitting(chat_id, user_id)
            if chat_id in self.truth.known.get((purchase_id, str(user_id)), ())
        ]

    def admitting(self, chat_id: int, user_id: int) -> list[str]:
        """Live purchases that admit a user to a chat, whether we were told of them or not."""
        return [
            purchase_id
            for purchase_id in self.truth.of_user.get(str(user_id), ())
            if self.truth.users[purchase_id] == str(user_id)
            and chat_id in self.opens(purchase_id)
            and self.is_live(purchase_id)
        ]

    def telegram_call(self, token: str, method: str, params: dict[str, Any]) -> tuple[int, Any]:
        """A call of the Bot API; a removal is checked against who may be where."""
        if method not in CALLED:
            self.truth.violations.append(f"{method} is never called by this system")
        before = self._status(params)
        answer = self.telegram.call(token, method, params)
        if method == "unbanChatMember" and before != self._status(params):
            chat_id, user_id = params["chat_id"], params["user_id"]
            self.truth.removals += 1
            self.truth.removed_at[chat_id, user_id] = self.time.now
            if before != MEMBER:
                self.truth.violations.append(f"{before} {user_id} was changed in {chat_id}")
            elif (chat_id, user_id) in self.truth.guests_of_chats:
                self.truth.violations.append(f"{user_id} never bought anything: {chat_id}")
            elif admitted := self.admitted_by(chat_id, user_id):
                self.truth.violations.append(f"{user_id} removed from {chat_id}: {admitted} live")
        return answer.status, answer.body

    def _status(self, params: dict[str, Any]) -> str | None:
        if "chat_id" not in params or "user_id" not in params:
            return None
        return self.telegram.status_of(params["chat_id"], params["user_id"])

    def _told(self, event: dict[str, Any]) -> tuple[str, str | None, set[int]] | None:
        """Which purchase an event is about, whose it says it is, and which chats it opens."""
        about = event["data"]["object"]
        purchase_id = about["id"]
        if about["object"] in ("charge", "checkout.session"):
            purchase_id = about["payment_intent"] or about["id"]
        if purchase_id not in self.truth.purchases:
            return None
        opens = self.opens(purchase_id)
        if about["object"] == "subscription":
            opens &= self._opened_by(about)
        return purchase_id, about.get("metadata", {}).get("telegram_user_id"), opens

    def _hear(self, event: dict[str, Any]) -> None:
        """An event arrives: as far as we are told now, the purchase may be somebody else's, or of
        other products."""
        told = self._told(event)
        if told is None:
            return
        purchase_id, user, chats = told
        if user != self.truth.users[purchase_id]:
            self._forget(purchase_id, self.truth.users[purchase_id])
        elif user is not None:
            known = self.truth.known.setdefault((purchase_id, user), set())
            known &= chats
            self.truth.joined = {
                joined
                for joined in self.truth.joined
                if joined[:2] != (purchase_id, user) or joined[2] in chats
            }

    def _learn(self, event: dict[str, Any]) -> None:
        """The webhook has answered 200: the store lets the buyer in."""
        told = self._told(event)
        if told is None or told[1] != self.truth.users[told[0]]:
            return
        purchase_id, user, chats = told[0], told[1], told[2]
        self.truth.known.setdefault((purchase_id, user), set()).update(chats)
        if not self.is_live(purchase_id) or purchase_id in self.truth.asked:
            return
        for chat_id in sorted(chats):
            if (purchase_id, user, chat_id) not in self.truth.joined:
                self.truth.joined.add((purchase_id, user, chat_id))
                self.telegram.join(chat_id, int(user))

    def _check_answer(self, done: Cancelled, purchase_id: str, when: When, since: int) -> None:
        """What was answered as done is done."""
        if done.outstanding:
            return
        truth = self.truth
        if not done.changed and self._is_unheard_of(purchase_id):
            # A repeat changes nothing and asks nobody; it goes by what we were told.
            return
        kind = truth.purchases[purchase_id][1]
        said = "answered as done, but"
        if kind == "subscription":
            subscription = self.stripe.objects["subscription", purchase_id]
            ended = subscription["status"] == "canceled"
            happened = {
                change.what
                for change in self.stripe.changes
                if change.subscription == purchase_id and change.number > since
            }
            # An end that the buyer had set already, and took back while the owner was answered,
            # was there when Stripe was asked.
            scheduled = subscription["cancel_at"] is not None or bool(
                happened & {"scheduled", "uncancelled"}
            )
            if not ended and (when == "immediately" or not scheduled):
                truth.violations.append(f"{said} Stripe goes on with {purchase_id}")
        if when != "immediately":
            return
        # The owner is told of those who could not be removed, and of those who are kept for
        # another purchase; whether that one had ended at Stripe already may be unheard of.
        removals = done.purchase.own.removals.values()
        told = {r.chat_id for r in removals if r.state in ("failed", "kept")}
        for chat_id in sorted(truth.opened[purchase_id]):
            for user in truth.ever[purchase_id]:
                is_in = self.telegram.status_of(chat_id, int(user)) == MEMBER
                answered_for = str(chat_id) in told or self._came_by_another(
                    purchase_id, chat_id, user
                )
                if is_in and not answered_for:
                    truth.violations.append(f"{said} {user} is still in {chat_id}")

    def _came_by_another(self, purchase_id: str, chat_id: int, user: str) -> bool:
        """Whether another purchase let a user into a chat; its own end has to answer for that."""
        truth = self.truth
        return any(
            other != purchase_id and (other, user, chat_id) in truth.joined
            for other in truth.of_user.get(user, ())
        )

    def _is_unheard_of(self, purchase_id: str) -> bool:
        """Whether events of a purchase are still on their way."""
        return any(d.event["data"]["object"]["id"] == purchase_id for d in self.deliveries)

    # -- letting time pass -------------------------------------------------------------------------

    def run(self, function: Callable[[Process], Any], faults: Faults | None = None) -> Any:
        """Run a function once; what came of it, or the error it died of."""
        process = self.process(faults)
        return self.outcome(process, function)

    def outcome(self, process: Process, function: Callable[[Process], Any]) -> Any:
        random.seed(len(process.crossed))
        try:
            return function(process)
        except Crash as crash:
            self.crashes += 1
            return crash
        except (CustomersError, ClientError) as error:
            return error
        except Exception as error:  # noqa: BLE001 - botocore's and the code's own: a 500
            return error
        finally:
            self.crossed += len(process.crossed)

    def deliver(self, delivery: Delivery, faults: Faults | None = None) -> bool:
        """Deliver one event; whether it was answered with 200."""
        result = self.run(lambda process: self.receive(process, delivery.event), faults)
        delivery.attempts += 1
        if isinstance(result, BaseException):
            delivery.next_at = self.time.now + min(60 * 2**delivery.attempts, 4 * 3600)
            return False
        self.deliveries.remove(delivery)
        self.stripe.undelivered.pop(delivery.event["id"], None)
        self._learn(delivery.event)
        return True

    def deliver_due(self) -> None:
        for delivery in list(self.deliveries):
            if delivery.next_at <= self.time.now:
                self.deliver(delivery)

    def due(self) -> list[tuple[int, str, str]]:
        """What is due now by the ``due`` index: (due_at, pk, sk), the first first."""
        now = int(self.time.now)
        shards = self.dynamo.index_rows(RECORDS, DUE_INDEX).values()
        return sorted(row for rows in shards for row in rows if row[0] <= now)

    def next_due_at(self) -> int | None:
        """When the sweep next has something to do."""
        shards = self.dynamo.index_rows(RECORDS, DUE_INDEX).values()
        return min((int(rows[0][0]) for rows in shards), default=None)

    def is_something_due(self) -> bool:
        due_at = self.next_due_at()
        return due_at is not None and due_at <= self.time.now

    def is_somebody_waiting(self) -> bool:
        """Whether a removal failed for what may end by itself: the sweep looks whether it has."""
        rows = self.dynamo.scan(TableName=RECORDS, IndexName=ATTENTION_INDEX)["Items"]
        return any("attention_chats" in row for row in rows)

    def chats(self, process: Process) -> Chats:
        return self.parts(process, "period_end_revoker").chats

    def registry(self, process: Process) -> Registry:
        return self.parts(process, "period_end_revoker").registry

    def settle(self, until: float) -> None:
        """Let time pass: webhooks come again, schedules fire, the sweep runs every minute.

        Moves from one moment at which something can happen to the next, up to ``until``.
        """
        forever = until + 1
        if self.is_somebody_waiting():
            # The sweep comes every minute, also when nothing is due.
            self.run(self.sweep)
        for _ in range(2000):
            self.stripe.now = int(self.time.now)
            self.stripe.run_due()
            self._post()
            self.deliver_due()
            for event in self.scheduler.fire_due(self.time.now):
                self.run(functools.partial(self.fire, event=event))
            if self.is_something_due():
                self.run(self.sweep)
            now = self.time.now
            due_at = self.next_due_at()
            moments: list[float] = [
                self.stripe.next_at() or forever,
                self.scheduler.next_at() or forever,
                min((d.next_at for d in self.deliveries), default=forever),
                forever if due_at is None else max(due_at, now + SWEEP_SECONDS),
            ]
            following = max(min(moments), now + 0.5)
            if following > until:
                self.time.now = max(until, now)
                return
            self.time.now = following
        self.truth.violations.append(f"not at rest after a long time: {self.due()[:3]}")


class Secrets:
    """Secrets Manager; nothing goes wrong there."""

    def get_secret_value(self, **request: Any) -> dict[str, Any]:
        return {"SecretString": json.dumps(SECRETS[request["SecretId"]])}


def _copy_of(chat: Chat) -> Chat:
    return replace(
        chat,
        members={user: Member(**vars(member)) for user, member in chat.members.items()},
        invite_links={link: dict(told) for link, told in chat.invite_links.items()},
    )


def customer_of(account: str) -> str:
    """The public id of a customer with this account alone."""
    return customer_id_of(STORE.store_id, f"account:{account}")


def _signature(body: bytes, at: int) -> str:
    signed = hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"
