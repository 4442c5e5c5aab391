"""The composition root: settings, time budgets, clients and gateways are put together here only.

A function asks :func:`function` for its :class:`Composition`. The operators' command, the tests and
the fault simulator make one of their own with other :class:`Leaves`; everything above the leaves is
the same. Each part is made when it is first asked for, and its modules are imported then: a
function that only reads loads neither Stripe nor Telegram.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from shared.domain.clock import Clock, system_clock
from shared.domain.deadline import Deadline
from shared.observability import count
from shared.settings import Settings
from shared.storage import aws
from shared.storage.customers import Customers
from shared.storage.dynamo import Table
from shared.storage.records import Records
from shared.storage.secrets import Secrets

if TYPE_CHECKING:
    import requests
    import stripe

    from shared.ending.catch_up import CatchUp
    from shared.ending.drive import Driver
    from shared.ending.rights import Rights
    from shared.ending.waking import Waking
    from shared.integrations.stripe_gateway import StripeGateway
    from shared.integrations.telegram_gateway import TelegramGateway
    from shared.showing.attention import AttentionList
    from shared.showing.chats import ChatList
    from shared.showing.preview import Previews
    from shared.showing.reader import Reader
    from shared.storage.attention import Attention
    from shared.storage.bot import Bot
    from shared.storage.chats import Chats
    from shared.storage.customer_index import CustomerIndex
    from shared.storage.parked import Parked
    from shared.storage.products import Products
    from shared.storage.registry import Registry
    from shared.storage.schedules import Schedules
    from shared.storage.stripe_notes import StripeNotes
    from shared.stripe_events.arrivals import Arrivals
    from shared.stripe_events.context import Services
    from shared.stripe_events.receive import Receiver

# -- time budgets ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Calls:
    """How long one call of a service may take.

    Attributes:
        connect, read: seconds of one attempt.
        attempts: tries in all, by the client itself.
    """

    connect: float
    read: float
    attempts: int = 1

    @property
    def longest_seconds(self) -> float:
        """The longest a call takes; botocore waits up to 1 s before its second attempt, then 2."""
        waits = float(2 ** (self.attempts - 1) - 1)
        return self.attempts * (self.connect + self.read) + waits


@dataclass(frozen=True, slots=True)
class Budget:
    """What one function may call, and how long it may take; all times in seconds.

    Attributes:
        timeout: the function's ``Timeout`` in template.yaml.
        services: the services of AWS that it calls.
        act_within: how long after the start of an invocation the function may begin a change in
            Stripe, a removal, or the next purchase.
        begin_within: how long after the start any call may begin. The longest call of AWS still
            ends before ``timeout``.
        aws: one call of AWS.
        stripe: one request to Stripe; ``None``: the function never asks Stripe.
        look: one request to Stripe about a buyer who is about to be removed; ``None``: as
            ``stripe``.
        telegram: one request to Telegram, likewise.
    """

    timeout: float
    services: tuple[str, ...] = ()
    act_within: float = 0.0
    begin_within: float = 0.0
    aws: Calls | None = None
    stripe: Calls | None = None
    look: Calls | None = None
    telegram: float | None = None


# A person waits. DynamoDB normally answers within milliseconds, so a slower answer is a fault.
_WAITED_FOR = Calls(connect=1.0, read=1.5, attempts=2)
_IN_BACKGROUND = Calls(connect=1.0, read=3.0, attempts=2)
_READING = ("dynamodb", "secretsmanager")
_CHANGING = ("dynamodb", "secretsmanager", "scheduler")

BUDGETS: dict[str, Budget] = {
    "list_customers": Budget(timeout=10, services=_READING, begin_within=3.5, aws=_WAITED_FOR),
    "get_customer": Budget(timeout=10, services=_READING, begin_within=3.5, aws=_WAITED_FOR),
    # The owner gets an answer within ten seconds. Calls to Stripe and Telegram end after 8.5 s; the
    # time after that is for a slow database.
    "cancel_purchase": Budget(
        timeout=22,
        services=_CHANGING,
        act_within=8.5,
        begin_within=15.0,
        aws=_WAITED_FOR,
        stripe=Calls(connect=1.0, read=3.5),
        look=Calls(connect=0.3, read=1.2),
        telegram=4.0,
    ),
    # Stripe waits for the answer, and gets one within ten seconds whatever Stripe's own API does. A
    # cold start takes a second or two before the first request, so that must be short.
    "stripe_webhook": Budget(
        timeout=20,
        services=_CHANGING,
        begin_within=7.0,
        aws=_WAITED_FOR,
        stripe=Calls(connect=1.0, read=3.0),
    ),
    # The same events, by EventBridge: nobody waits for an answer, and what fails comes again.
    "stripe_bus": Budget(
        timeout=75,
        services=_CHANGING,
        begin_within=65.0,
        aws=_IN_BACKGROUND,
        stripe=Calls(connect=3.0, read=20.0),
    ),
    "store_events": Budget(
        timeout=75,
        services=_CHANGING,
        begin_within=65.0,
        aws=_IN_BACKGROUND,
        stripe=Calls(connect=3.0, read=20.0),
    ),
    "period_end_revoker": Budget(
        timeout=300,
        services=_CHANGING,
        act_within=255.0,
        begin_within=290.0,
        aws=_IN_BACKGROUND,
        stripe=Calls(connect=3.0, read=20.0),
        telegram=30.0,
    ),
    "console_login": Budget(timeout=5),
}
"""The budget of every function, by the name of its folder."""

# An operator's command has no timeout; a call of it may take longer.
COMMAND = Budget(
    timeout=float("inf"),
    services=_CHANGING,
    aws=Calls(connect=3.0, read=10.0, attempts=3),
    stripe=Calls(connect=3.0, read=20.0),
    telegram=30.0,
)


# -- leaves ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Leaves:
    """What lies outside of the code: the tests and the simulator bring their own.

    Attributes:
        aws: returns the client of an AWS service, or ``None`` to use boto3's.
        stripe_http: makes the HTTP client of Stripe's SDK; ``None``: the SDK's own.
        telegram_session: makes the session by which Telegram is asked; ``None``: a new one.
        clock: seconds since the epoch.
        monotonic, sleep: how time is measured and waited for within an invocation.
        at_once: requests to Stripe under way at once, where several are independent.
        count: counts an event of this name for an operator.
    """

    aws: Callable[[str], Any] = lambda _: None
    stripe_http: Callable[[], stripe.HTTPClient] | None = None
    telegram_session: Callable[[], requests.Session] | None = None
    clock: Clock = system_clock
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    at_once: int = 6
    count: Callable[[str], None] = count


# -- the composition -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Composition:
    """The parts of one process, each made when it is first asked for and then kept.

    Raises (from a part that the budget does not allow): ``RuntimeError``.
    """

    budget: Budget
    settings: Settings = field(default_factory=Settings)
    leaves: Leaves = field(default_factory=Leaves)

    def begin(self) -> Deadline:
        """Begin an invocation; its deadline, at which every call looks."""
        self.deadline.start(
            act_within=self.budget.act_within, begin_within=self.budget.begin_within
        )
        return self.deadline

    @cached_property
    def deadline(self) -> Deadline:
        return Deadline(self.leaves.monotonic, self.leaves.sleep)

    # -- AWS -------------------------------------------------------------------------------------

    def aws(self, service: str) -> Any:
        """A new client of a service that the budget allows."""
        if service not in self.budget.services or self.budget.aws is None:
            raise RuntimeError(f"the budget of this function does not allow calls of {service}")
        given = self.leaves.aws(service)
        if given is not None:
            return given
        calls = self.budget.aws
        return aws.client(
            service,
            connect=calls.connect,
            read=calls.read,
            attempts=calls.attempts,
            validate=self.settings.validates_requests,
        )

    @cached_property
    def secrets(self) -> Secrets:
        return Secrets(self.aws("secretsmanager"), self.deadline)

    @cached_property
    def _dynamodb(self) -> Any:
        return self.aws("dynamodb")

    @cached_property
    def records_table(self) -> Table:
        return Table(self._dynamodb, self.settings.records_table, self.deadline)

    @cached_property
    def index_table(self) -> Table:
        return Table(self._dynamodb, self.settings.index_table, self.deadline)

    @cached_property
    def schedules(self) -> Schedules:
        from shared.storage.schedules import Schedules

        return Schedules(
            self.aws("scheduler"),
            group=self.settings.schedule_group,
            revoker_arn=self.settings.revoker_arn,
            role_arn=self.settings.schedule_role_arn,
            deadline=self.deadline,
        )

    # -- records ---------------------------------------------------------------------------------

    @cached_property
    def records(self) -> Records:
        return Records(
            self.records_table, self.leaves.clock, settle_seconds=self.settings.settle_seconds
        )

    @cached_property
    def customers(self) -> Customers:
        """Reads for every function; writes the list where the function has the index table."""
        index = self.index_table if self.settings.has_index else None
        return Customers(
            self.records_table,
            index,
            self.leaves.clock,
            only_with_chats=self.settings.only_products_with_chats,
        )

    @cached_property
    def customer_index(self) -> CustomerIndex:
        from shared.storage.customer_index import CustomerIndex

        return CustomerIndex(self.index_table, self.records, self.leaves.monotonic)

    @cached_property
    def reader(self) -> Reader:
        from shared.showing.reader import Reader

        return Reader(self.records, self.customers, self.chats, self.registry)

    @cached_property
    def attention(self) -> Attention:
        from shared.storage.attention import Attention

        return Attention(self.records_table)

    @cached_property
    def attention_list(self) -> AttentionList:
        from shared.showing.attention import AttentionList

        return AttentionList(self.reader, self.attention, self.leaves.clock)

    @cached_property
    def chat_list(self) -> ChatList:
        from shared.showing.chats import ChatList

        return ChatList(self.records_table, self.chats)

    @cached_property
    def previews(self) -> Previews:
        from shared.showing.preview import Previews
        from shared.storage.telegram_users import TelegramUsers

        return Previews(self.reader, TelegramUsers(self.records_table), self.leaves.clock)

    @cached_property
    def chats(self) -> Chats:
        from shared.storage.chats import Chats

        return Chats(self.records_table, self.registry, self.leaves.clock)

    @cached_property
    def registry(self) -> Registry:
        from shared.storage.registry import Registry

        return Registry(self.records_table, self.settings.default_store, self.leaves.monotonic)

    @cached_property
    def parked(self) -> Parked:
        from shared.storage.parked import Parked

        return Parked(self.records_table, self.leaves.clock)

    @cached_property
    def stripe_notes(self) -> StripeNotes:
        from shared.storage.stripe_notes import StripeNotes

        return StripeNotes(self.records_table, self.leaves.clock)

    @cached_property
    def arrivals(self) -> Arrivals:
        from shared.stripe_events.arrivals import Arrivals

        return Arrivals(self.records, self.parked, self.stripe)

    @cached_property
    def bot(self) -> Bot:
        from shared.storage.bot import Bot

        return Bot(self.records_table, self.leaves.clock)

    @cached_property
    def products(self) -> Products:
        from shared.storage.products import Products

        return Products(self.records, self.chats, self.registry, self.stripe, self.leaves.clock)

    # -- secrets ---------------------------------------------------------------------------------

    def cursor_key(self) -> bytes:
        """The key page cursors are signed with.

        Raises:
            RuntimeError: the secret holds none.
        """
        key = self.secrets.get(self.settings.cursor_secret_arn).get("key")
        if not isinstance(key, str) or not key:
            raise RuntimeError("the cursor secret holds no key")
        return key.encode()

    def webhook_secrets(self, again: bool = False) -> list[str]:
        """The secrets Stripe signs events with; ``again``: read anew, past the cache."""
        read = self.secrets.refresh if again else self.secrets.get
        return list(read(self.settings.stripe_webhook_secret_arn)["secrets"])

    def telegram_token(self, *, fresh: bool = False) -> str:
        """The bot's token; empty where none is stored yet, which pauses the bot."""
        arn = self.settings.telegram_secret_arn
        secret = self.secrets.refresh(arn) if fresh else self.secrets.get(arn)
        token = secret.get("token")
        return token if isinstance(token, str) else ""

    # -- the world outside -----------------------------------------------------------------------

    @cached_property
    def stripe(self) -> StripeGateway:
        return self._stripe(self.budget.stripe)

    @cached_property
    def _stripe_for_looking(self) -> StripeGateway:
        return self.stripe if self.budget.look is None else self._stripe(self.budget.look)

    def _stripe(self, calls: Calls | None) -> StripeGateway:
        from shared.integrations.stripe_gateway import StripeGateway

        arn = self.settings.stripe_api_secret_arn
        if calls is None:
            raise RuntimeError("the budget of this function does not allow requests to Stripe")
        return StripeGateway(
            lambda: self.secrets.get(arn),
            self.settings.stripe_api_base,
            refresh_keys=lambda: self.secrets.refresh(arn),
            connect_timeout=calls.connect,
            read_timeout=calls.read,
            http_client=self.leaves.stripe_http,
            deadline=self.deadline,
        )

    @cached_property
    def telegram(self) -> TelegramGateway:
        from shared.integrations.telegram_gateway import TelegramGateway, new_session

        longest = self.budget.telegram
        if longest is None:
            raise RuntimeError("the budget of this function does not allow requests to Telegram")
        session = (self.leaves.telegram_session or new_session)()
        return TelegramGateway(
            session, self.settings.telegram_api_base, self.telegram_token, longest, self.deadline
        )

    # -- what follows ----------------------------------------------------------------------------

    @cached_property
    def waking(self) -> Waking:
        from shared.ending.waking import Waking

        return Waking(self.schedules, self.leaves.clock)

    @cached_property
    def services(self) -> Services:
        from shared.stripe_events.context import Services

        return Services(
            records=self.records,
            customers=self.customers,
            products=self.products,
            registry=self.registry,
            stripe=self.stripe,
            wake=self.waking.wake,
            count=self.leaves.count,
            clock=self.leaves.clock,
        )

    @cached_property
    def receiver(self) -> Receiver:
        from shared.stripe_events.receive import Receiver

        return Receiver(self.services, self.parked)

    @cached_property
    def _catch_up(self) -> CatchUp:
        from shared.ending.catch_up import CatchUp
        from shared.storage.telegram_users import TelegramUsers

        return CatchUp(
            self.services,
            TelegramUsers(self.records_table),
            self._stripe_for_looking,
            at_once=self.leaves.at_once,
            clock=self.leaves.clock,
            monotonic=self.leaves.monotonic,
        )

    @cached_property
    def rights(self) -> Rights:
        from shared.ending.rights import Rights

        return Rights(self.chats, self.registry, self.telegram, self.bot, self.leaves.clock)

    @cached_property
    def driver(self) -> Driver:
        from shared.ending.drive import Driver
        from shared.ending.removal import AccessRemover

        return Driver(
            records=self.records,
            customers=self.customers,
            products=self.products,
            registry=self.registry,
            stripe=self.stripe,
            catch_up=self._catch_up,
            remover=AccessRemover(
                self.records_table,
                self.telegram,
                self.chats,
                clock=self.leaves.clock,
                monotonic=self.leaves.monotonic,
                sleep=self.leaves.sleep,
                count=self.leaves.count,
            ),
            schedules=self.schedules,
            clock=self.leaves.clock,
            monotonic=self.leaves.monotonic,
        )


# -- the functions' own ----------------------------------------------------------------------------

_leaves = Leaves()


@cache
def function(name: str) -> Composition:
    """The composition of a function (the name of its folder), one per process."""
    return Composition(BUDGETS[name], Settings(), _leaves)


@contextmanager
def replaced(**leaves: Any) -> Iterator[None]:
    """Give every function other leaves for a while (tests): fields of :class:`Leaves`."""
    global _leaves  # noqa: PLW0603 - what every function of the process is made with
    before, _leaves = _leaves, replace(Leaves(), **leaves)
    function.cache_clear()
    try:
        yield
    finally:
        _leaves = before
        function.cache_clear()
