"""Checks a stack and says what to do.

It only reads, and asks Stripe and Telegram nothing that changes anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from botocore.exceptions import BotoCoreError, ClientError

from customers_cli.command import Run, command, new_app
from customers_cli.exits import Exit
from customers_cli.target import REVOKER, Target
from shared.compose import Composition
from shared.domain.clock import iso
from shared.integrations.stripe_gateway import Mode, Raw, StripeError
from shared.integrations.telegram_gateway import BotUnauthorized, TelegramGateway
from shared.storage.keys import DUE_INDEX, DUE_SHARDS, REF_INDEX, due_key
from shared.storage.products import all_products, product_of
from shared.stripe_events.events import HANDLERS
from shared.tenant import Tenant

app = new_app()

ALL_EVENTS = "*"
# Stripe and we refuse what is off by five minutes; a clock that drifts this far is not kept.
CLOCK_SECONDS = 30
LATE_SECONDS = 1800
TELEGRAM_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        mend: what to do; ``None`` where all is well.
    """

    subject: str
    found: str
    mend: str | None = None


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
            try:
                endpoints = list(
                    self.parts.stripe.list_all("webhook_endpoints", Mode(name == "live"))
                )
            except StripeError as error:
                yield Finding(
                    f"Stripe, {name} mode",
                    error.reason,
                    "Put a key that is valid and may read webhook endpoints, or take the mode out.",
                )
                continue
            yield Finding(f"Stripe key, {name} mode", "accepted")
            yield from self._endpoint(name, endpoints)

    def _endpoint(self, mode: str, endpoints: list[Raw]) -> Iterator[Finding]:
        subject = f"webhook endpoint, {mode} mode"
        ours = [one for one in endpoints if one.get("url") == self.webhook_url]
        if not ours:
            add = f"Add one at Stripe: {self.webhook_url}"
            if self.event_source and mode == _mode_of_source(self.event_source):
                yield Finding(subject, "none; the events come by EventBridge")
            else:
                yield Finding(subject, "none leads here", add)
            return
        if all(one.get("status") == "disabled" for one in ours):
            yield Finding(subject, "disabled", "Enable it at Stripe, then customers replay STORE.")
            return
        listened = {event for one in ours for event in one.get("enabled_events", ())}
        missing = sorted(set(HANDLERS) - listened) if ALL_EVENTS not in listened else []
        if missing:
            yield Finding(subject, f"lacks {', '.join(missing)}", "Add these events at Stripe.")
        else:
            yield Finding(subject, f"gets all {len(HANDLERS)} kinds of events")

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


def _mode_of_source(name: str) -> str:
    """The mode of the events of a partner event source, as the id of its destination says."""
    return "test" if name.rpartition("/")[2].startswith("ed_test_") else "live"


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

    It checks tables, indexes, secrets, Stripe's keys, webhook endpoint and partner event source,
    the bot and its rights in every chat, the clock, and what waits. It only reads. The exit
    code is 1 where something is to mend.
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
