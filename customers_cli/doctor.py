"""Checks a stack and says what to do.

It only reads, and asks Stripe and Telegram nothing that changes anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from botocore.exceptions import BotoCoreError, ClientError

from customers_cli import destinations
from customers_cli.command import Run, command, new_app
from customers_cli.exits import Exit
from customers_cli.finding import Finding
from customers_cli.target import REVOKER, Target
from functions.period_end_revoker.silence import SETTLED_SECONDS, connected_stores
from shared.compose import Composition
from shared.domain.clock import iso
from shared.integrations.stripe_gateway import (
    Mode,
    Raw,
    StripeError,
    StripeMissing,
    StripeRefusal,
)
from shared.integrations.telegram_gateway import BotUnauthorized, TelegramGateway
from shared.storage.keys import DUE_INDEX, DUE_SHARDS, REF_INDEX, due_key
from shared.storage.products import all_products, product_of
from shared.storage.stripe_notes import Refusal
from shared.tenant import Tenant

app = new_app()

# Stripe delivers an event within a second or two; a younger one may be on its way.
ON_ITS_WAY_SECONDS = 10
# A refused delivery of which Stripe knows nothing is told of for so long.
REFUSED_SECONDS = 86_400
# Stripe and we refuse what is off by five minutes; a clock that drifts this far is not kept.
CLOCK_SECONDS = 30
LATE_SECONDS = 1800
TELEGRAM_SECONDS = 10.0


@dataclass
class _Undelivered:
    """Events of one mode that Stripe could not deliver and that are not stored.

    Attributes:
        ids: of all of them.
        late: when those were made that are not on their way any more.
    """

    ids: set[str] = field(default_factory=set)
    late: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Doctor:
    """The checks.

    Attributes:
        parts: gateways and records, for reading.
        dynamodb: client, for the tables themselves.
        event_source: the partner event source that brings Stripe's events too; empty: none.
        events: client of EventBridge, where there is such a source.
        is_local: whether it is the local run; checks that make no sense there are left out.
        webhook_url: where Stripe has to send events.
        variables: the environment of the webhook, the list and the revoker, by name.
    """

    parts: Composition
    dynamodb: Any
    webhook_url: str
    variables: Mapping[str, str]
    event_source: str = ""
    events: Any = None
    is_local: bool = False
    clock: Callable[[], float] = time.time

    def findings(self) -> Iterator[Finding]:
        """Every check in turn; one that can't be made is a finding itself."""
        for check in (
            self.tables,
            self.cursor_key,
            self.webhook_secrets,
            self.stripe,
            self.partner_source,
            self.bot,
            self.clocks,
            self.work,
        ):
            try:
                yield from check()
            except (ClientError, BotoCoreError) as error:
                code = (
                    error.response["Error"]["Code"]
                    if isinstance(error, ClientError)
                    else type(error).__name__
                )
                yield Finding(check.__name__, f"could not be checked: {code}", _ASK_AWS)

    # -- tables ------------------------------------------------------------------------------------

    def tables(self) -> Iterator[Finding]:
        settings, client = self.parts.settings, self.dynamodb
        for name, indexes in (
            (settings.records_table, (DUE_INDEX, REF_INDEX)),
            (settings.index_table, ()),
        ):
            table = client.describe_table(TableName=name)["Table"]
            states = {i["IndexName"]: i for i in table.get("GlobalSecondaryIndexes", ())}
            if table["TableStatus"] not in ("ACTIVE", "UPDATING"):
                yield Finding(name, table["TableStatus"], "Wait; see the table in the console.")
            for index in indexes:
                status = states.get(index, {}).get("IndexStatus", "ACTIVE" if self.is_local else "")
                if index not in states:
                    yield Finding(f"{name}/{index}", "missing", "Deploy the template: sam deploy.")
                elif status != "ACTIVE":
                    yield Finding(
                        f"{name}/{index}",
                        status,
                        "It is being filled. Until then ends rest on their schedules alone.",
                    )
            yield Finding(name, "there, with its indexes")
        if not self.is_local:
            yield from self._protection(client, settings.records_table)

    def _protection(self, client: Any, name: str) -> Iterator[Finding]:
        deploy = "A restored table has lost it: sam deploy sets it again."
        table = client.describe_table(TableName=name)["Table"]
        backups = client.describe_continuous_backups(TableName=name)
        recovery = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        ttl = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        for subject, on in (
            ("deletion protection", table.get("DeletionProtectionEnabled", False)),
            ("point-in-time recovery", recovery["PointInTimeRecoveryStatus"] == "ENABLED"),
            ("expiry of old items", ttl["TimeToLiveStatus"] in ("ENABLED", "ENABLING")),
        ):
            yield Finding(subject, "on" if on else "off", None if on else deploy)

    # -- secrets -----------------------------------------------------------------------------------

    def _secret(self, variable: str) -> dict[str, Any] | None:
        try:
            return self.parts.secrets.get(self.variables[variable])
        except (RuntimeError, KeyError):
            return None

    def cursor_key(self) -> Iterator[Finding]:
        secret = self._secret("CURSOR_SECRET_ARN")
        ok = bool(secret and secret.get("key"))
        mend = 'Put {"key": "<50 random characters>"}: pages can\'t be turned without it.'
        yield Finding("cursor secret", "there" if ok else "no key", None if ok else mend)

    def webhook_secrets(self) -> Iterator[Finding]:
        secret = self._secret("STRIPE_WEBHOOK_SECRET_ARN")
        kept = (secret or {}).get("secrets")
        usable = [one for one in kept if one] if isinstance(kept, list) else []
        mend = None
        if not usable and not self.event_source:
            mend = 'Put {"secrets": ["whsec_..."]} from Stripe: every event is refused until then.'
        elif len(usable) > 2:
            mend = "Take out those that Stripe does not sign with any more."
        yield Finding("webhook secrets", f"{len(usable)}", mend)

    # -- Stripe ------------------------------------------------------------------------------------

    def stripe(self) -> Iterator[Finding]:
        keys = self._secret("STRIPE_API_SECRET_ARN") or {}
        modes = [name for name in ("live", "test") if keys.get(name)]
        if not modes:
            yield Finding(
                "Stripe keys", "none", 'Put {"live": "rk_live_...", "test": "rk_test_..."}.'
            )
        for name in modes:
            mode = Mode(name == "live")
            try:
                endpoints = list(self.parts.stripe.list_all("webhook_endpoints", mode))
                newest = self.parts.stripe.list_page("events", mode, limit=1)["data"]
                listed = self._event_destinations(mode)
            except StripeError as error:
                yield Finding(
                    f"Stripe, {name} mode",
                    error.reason,
                    "Put a key that is valid and may read webhook endpoints and events, or take "
                    "the mode out.",
                )
                continue
            yield Finding(f"Stripe key, {name} mode", "accepted")
            yield from destinations.check(
                name,
                destinations.of(endpoints, listed),
                webhook_url=self.webhook_url,
                event_source=self.event_source,
                default_version=newest[0].get("api_version") if newest else None,
            )
            yield from self._events(name)

    def _event_destinations(self, mode: Mode) -> list[Raw]:
        """None where the account has no API v2, or the key may not read them."""
        try:
            return self.parts.stripe.list_event_destinations(mode)
        except (StripeMissing, StripeRefusal):
            return []

    # -- Stripe's events ---------------------------------------------------------------------------

    def _events(self, name: str) -> Iterator[Finding]:
        """Whether the events of every store arrive."""
        missing = _Undelivered()
        for tenant, account in connected_stores(self.parts):
            try:
                yield self._events_of(tenant, Mode(name == "live", account), missing)
            except StripeError as error:
                yield Finding(
                    f"events of {tenant.store_id}, {name} mode",
                    error.reason,
                    "See whether the key may read events, and whether the store's account is still "
                    "connected.",
                )
        refusal = self.parts.stripe_notes.last_refusal(livemode=name == "live")
        if refusal is not None:
            yield from self._refused(f"webhook secret, {name} mode", refusal, missing)

    def _events_of(self, tenant: Tenant, mode: Mode, missing: _Undelivered) -> Finding:
        """Whether a store's events arrive; what is missing is added to that of the mode."""
        subject = f"events of {tenant.store_id}, {'live' if mode.livemode else 'test'} mode"
        now = int(self.clock())
        page = self.parts.stripe.list_page("events", mode, delivery_success=False)
        # Other endpoints of the account may be what fails, and what was replayed stays undelivered
        # to Stripe: the records tell what is missing here.
        has_arrived = self.parts.arrivals.has_arrived
        here = [raw for raw in page["data"] if has_arrived(tenant, raw) is False]
        late = [raw["created"] for raw in here if raw["created"] < now - ON_ITS_WAY_SECONDS]
        missing.ids.update(raw["id"] for raw in here)
        missing.late += late
        if late:
            number = f"{len(late)}{' or more' if page['has_more'] else ''}"
            return Finding(
                subject,
                f"{number} undelivered, the oldest of {iso(min(late))}",
                "See why at Stripe (Workbench, Webhooks); once it is mended, customers replay "
                f"{tenant.store_id}. docs/runbook/stripe-silent.md",
            )
        compared = self.parts.arrivals.compare(tenant, mode, before=now - SETTLED_SECONDS)
        if compared.missing is not None:
            return Finding(
                subject,
                f"none has arrived since {iso(compared.missing)}, though Stripe has some",
                f"docs/runbook/stripe-silent.md, then customers replay {tenant.store_id} --all",
            )
        return Finding(subject, "all have arrived" if page["data"] or compared.arrived else "none")

    def _refused(self, subject: str, refusal: Refusal, missing: _Undelivered) -> Iterator[Finding]:
        """What a refused signature means: Stripe's own event, or a stranger's."""
        refused_at = iso(refusal.at)
        mend = (
            "Put the signing secret that Stripe shows for this endpoint, whsec_..., into "
            '{"secrets": [...]}, then customers replay STORE. docs/runbook/events-refused.md'
        )
        if refusal.event_id in missing.ids:
            found = f"wrong: Stripe's event {refusal.event_id} was refused at {refused_at}"
            yield Finding(subject, found, mend)
        elif any(at <= refusal.at for at in missing.late):
            found = f"perhaps wrong: one was refused at {refused_at}, and events are undelivered"
            yield Finding(subject, found, mend)
        elif self.clock() - refusal.at < REFUSED_SECONDS:
            found = f"a signature was refused at {refused_at}, and no event is missing"
            yield Finding(subject, found)

    def partner_source(self) -> Iterator[Finding]:
        """Whether EventBridge has the source that the template names."""
        if self.event_source:
            state = self.events.describe_event_source(Name=self.event_source)["State"]
            mend = None if state == "ACTIVE" else "docs/stripe-events.md: make a new destination."
            yield Finding(self.event_source, state.lower(), mend)

    # -- Telegram ----------------------------------------------------------------------------------

    def bot(self) -> Iterator[Finding]:
        state = self.parts.bot.state()
        if not state.removals_enabled:
            yield Finding("removals", "switched off", "customers bot on")
        if state.paused_until > self.clock():
            until = iso(state.paused_until)
            yield Finding(
                "bot", f"paused until {until}: {state.pause_reason}", "docs/runbook/bot-paused.md"
            )
        if not (self._secret("TELEGRAM_SECRET_ARN") or {}).get("token"):
            yield Finding("bot", "no token", 'Put {"token": "123456:..."} from BotFather.')
            return
        gateway = self.parts.telegram
        try:
            me = gateway.get_me(timeout=TELEGRAM_SECONDS)
            if not me.ok:
                yield Finding("bot", "Telegram does not answer", "Try again; see telegram.org.")
                return
            yield Finding("bot", "its token is accepted")
            yield from self._chats(gateway)
        except BotUnauthorized:
            yield Finding("bot", "its token is not accepted", "docs/runbook/bot-paused.md")

    def _chats(self, gateway: TelegramGateway) -> Iterator[Finding]:
        chats, bot_id = self.parts.chats, gateway.bot_id(timeout=TELEGRAM_SECONDS)
        for tenant in self.stores():
            for chat_id in self._chats_of(tenant):
                standing = chats.standings(tenant, [chat_id])[chat_id]
                if standing.reason is not None:
                    yield Finding(
                        f"chat {chat_id} of {tenant.store_id}",
                        f"nobody is removed from it: {standing.detail}",
                        "docs/runbook/foreign-chats.md",
                    )
                    continue
                if standing.current_id != chat_id:
                    continue
                answer = gateway.get_chat_member(chat_id, bot_id, timeout=TELEGRAM_SECONDS)
                member = answer.result if isinstance(answer.result, dict) else {}
                may = member.get("status") == "creator" or bool(member.get("can_restrict_members"))
                subject = f"chat {chat_id} of {tenant.store_id}"
                if answer.ok and may:
                    yield Finding(subject, "the bot may remove people")
                else:
                    found = member.get("status") or answer.description or answer.fault or "?"
                    yield Finding(
                        subject,
                        f"the bot may not remove people ({found})",
                        'The owner makes it an administrator with "Ban users".',
                    )

    def _chats_of(self, tenant: Tenant) -> list[str]:
        products = all_products(self.parts.records_table, tenant)
        return sorted({chat for product in products for chat in product_of(product).chats})

    def stores(self) -> list[Tenant]:
        """The deployment's default store and every store that was registered."""
        names = {one.tenant.store_id for one in self.parts.registry.connections()}
        return [Tenant(n) for n in sorted({self.parts.settings.default_store, *names})]

    # -- clock, and what waits ---------------------------------------------------------------------

    def clocks(self) -> Iterator[Finding]:
        """Ours (this machine's) against Stripe's: signatures and schedules rest on it."""
        try:
            answer = requests.get(
                self.parts.settings.stripe_api_base, timeout=5, allow_redirects=False
            )
            theirs = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        except (requests.RequestException, KeyError, ValueError):
            yield Finding("clock", "Stripe told no time")
            return
        off = round(self.clock() - theirs)
        mend = "Set this machine's clock (NTP)." if abs(off) > CLOCK_SECONDS else None
        yield Finding("clock", f"{off:+d} s from Stripe's", mend)

    def work(self) -> Iterator[Finding]:
        oldest = self._oldest_due()
        age = 0 if oldest is None else max(0, int(self.clock()) - oldest)
        late = age > LATE_SECONDS
        yield Finding("oldest due item", f"{age} s", "docs/runbook/sweep-lag.md" if late else None)
        parked = self.parts.parked
        for tenant in (*self.stores(), None):
            number = sum(1 for _ in parked.all(tenant))
            if number:
                name = "no store" if tenant is None else tenant.store_id
                yield Finding(
                    f"parked events of {name}", f"{number}", "docs/runbook/events-parked.md"
                )

    def _oldest_due(self) -> int | None:
        """When the oldest of all that is due became due."""
        records = self.parts.records
        found = []
        for shard in DUE_SHARDS:
            items, _ = records.table.query(
                "due_shard = :shard AND due_at <= :now",
                index=DUE_INDEX,
                limit=1,
                shard=shard,
                now=int(self.clock()),
            )
            for item in items:
                key = due_key(item)
                stored = records.table.get(key.pk, key.sk)
                if stored is not None and "due_at" in stored:
                    found.append(max(int(stored["due_at"]), int(stored.get("written_at", 0))))
        return min(found, default=None)


_ASK_AWS = "See that the credentials of this shell may read it."


def of(target: Target) -> Doctor:
    """The doctor of a target: the rest of what it must know is asked for there."""
    stack = target.output(REVOKER).rpartition(":")[2].removesuffix("-period-end-revoker")
    variables: dict[str, str] = {}
    for name in ("list-customers", "stripe-webhook", "period-end-revoker"):
        variables |= target.variables_of(f"{stack}-{name}")
    choice = target.choice
    url = target.output("WebhookUrl")
    if choice.is_local:
        url = f"http://localhost:{choice.running().port}/v1/webhooks/stripe"
    source = target.outputs.get("StripeEventBusName", "")  # the bus has its source's name
    return Doctor(
        target.parts,
        target.aws("dynamodb"),
        url,
        variables,
        event_source=source,
        events=target.aws("events") if source else None,
        is_local=choice.is_local,
    )


@command(app)
def doctor(run: Run) -> Exit:
    """Check a stack, and say what to do.

    It checks tables, indexes, secrets, Stripe's keys, where Stripe sends its events, in which API
    version, and whether they arrive, the partner event source, the bot and its rights in every
    chat, the clock, and what waits. It only reads. The exit code is 1 where something is to mend.
    """
    examined = of(run.target)
    run.begin()
    wrong = 0
    for finding in examined.findings():
        mark = "ok  " if finding.mend is None else "MEND"
        print(f"{mark} {finding.subject}: {finding.found}")
        if finding.mend is not None:
            wrong += 1
            print(f"     {finding.mend}")
    print("All is well." if not wrong else f"{wrong} to mend.")
    return Exit.FOUND if wrong else Exit.DONE
