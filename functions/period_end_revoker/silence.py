"""Notices that no event arrives: once an hour the sweep compares Stripe's events with the records.

Nothing of ours fails while Stripe sends nothing: an endpoint may be disabled, deleted, of the wrong
address, or signed with another secret. So each connected store and mode is asked for its newest
events, by one request, and the records tell whether any of them arrived
(:mod:`shared.stripe_events.arrivals`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared.compose import Composition
from shared.integrations.stripe_gateway import Mode, StripeError, StripeUnavailable
from shared.observability import log_failure, logger
from shared.tenant import Tenant

GAP_SECONDS = 3600
# A younger event may still be on its way: Stripe sends it again within minutes.
SETTLED_SECONDS = 900
# An event missing for so long, and none stored since, is silence.
SILENT_SECONDS = 2 * 3600
# How long one comparison of all stores may take; those that are left wait for the next one.
COMPARING_SECONDS = 60.0
# Requests in a row that Stripe does not answer.
MOST_UNANSWERED = 3


@dataclass(frozen=True)
class Silence:
    """Compares, and counts."""

    parts: Composition

    def count(self) -> int | None:
        """How many connected stores and modes are silent, each mode of a store counted by itself.

        Returns:
            ``None`` where the database did not tell.
        """
        notes = self.parts.stripe_notes
        try:
            if notes.begin_comparison(GAP_SECONDS):
                self._compare(notes.silent())
            silent = notes.silent()
        except Exception as error:  # noqa: BLE001 - the sweep itself is done
            log_failure("Stripe's events could not be compared", error)
            self.parts.deadline.go_on()
            return None
        now = self.parts.leaves.clock()
        return sum(now - since >= SILENT_SECONDS for since in silent.values())

    def _compare(self, before: Mapping[str, int]) -> None:
        until = self.parts.leaves.monotonic() + COMPARING_SECONDS
        until = min(until, self.parts.deadline.act_until)
        connected = list(self._connected())
        # In no order, so that none of many waits for ever.
        random.shuffle(connected)
        silent = {
            name: before[name]
            for name in (_name(tenant, mode) for tenant, mode in connected)
            if name in before
        }
        unanswered = 0
        for tenant, mode in connected:
            if unanswered == MOST_UNANSWERED or self.parts.leaves.monotonic() >= until:
                break
            name = _name(tenant, mode)
            try:
                since = self._silent_since(tenant, mode, before.get(name))
            except StripeError as error:
                logger.warning("events not listed", store=tenant.store_id, reason=error.reason)
                unanswered = unanswered + 1 if isinstance(error, StripeUnavailable) else 0
                continue
            unanswered = 0
            silent.pop(name, None)
            if since is not None:
                logger.warning("no event has arrived", of=name, since=since)
                silent[name] = since
        self.parts.stripe_notes.found_silent(silent)

    def _silent_since(self, tenant: Tenant, mode: Mode, known: int | None) -> int | None:
        settled = int(self.parts.leaves.clock()) - SETTLED_SECONDS
        found = self.parts.arrivals.compare(tenant, mode, before=settled)
        if found.arrived is not None:
            return found.missing
        # None of the newest is stored. What was missing before them still is.
        return min(filter(None, (found.missing, known)), default=None)

    def _connected(self) -> Iterator[tuple[Tenant, Mode]]:
        """Every store that is connected to Stripe, in each mode that has a key."""
        for tenant, account in connected_stores(self.parts):
            for livemode in (True, False):
                mode = Mode(livemode, account)
                if self.parts.stripe.is_connected(mode):
                    yield tenant, mode


def connected_stores(parts: Composition) -> Iterator[tuple[Tenant, str | None]]:
    """The stores that have a Stripe account, and the account (``None``: the platform's own)."""
    default = Tenant(parts.settings.default_store)
    connections = {one.tenant: one for one in parts.registry.connections()}
    connections.setdefault(default, parts.registry.of_store(default))
    for tenant, connection in connections.items():
        if connection.disconnected_at is None:
            yield tenant, connection.account


def _name(tenant: Tenant, mode: Mode) -> str:
    return f"{tenant.store_id} {'live' if mode.livemode else 'test'}"
