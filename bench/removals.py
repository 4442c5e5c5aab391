"""``python -m bench.removals`` (``make bench-removals``): how long after an end the buyer is out.

Starts the local stack and lets purchases end in real time. The sweep comes once an hour, so every
removal is made by its schedule. Three measurements, each counted to the moment when the Telegram
stand-in takes the removal:

1. *one by one*: subscriptions are cancelled in Stripe's dashboard, a few seconds apart;
2. *at once*: the same, all of them in one second and in one chat;
3. *at their time*: access codes expire, and periods end that the owner cancelled for, a few seconds
   apart.

Puts its figures into docs/bench/removals.md.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from bench.figures import machine, put_into, quantile
from local.stack import Options, Stack
from tests.e2e.store import CHAT, DAY, Store

OUT = Path(__file__).resolve().parent.parent / "docs" / "bench" / "removals.md"
FIRST_USER = 7_200_000
# AWS fires a schedule within a minute of its time, the emulator within ten seconds:
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule.html
AWS_SECONDS, EMULATOR_SECONDS = 60, 10
MOST_AFTER_SETTLING, MOST_AFTER_TIME = 90, 75
# An end at a set time has to be this far ahead to get its schedule and not to be over before that.
AHEAD_SECONDS = 90
GIVE_UP_SECONDS = 420


@dataclass(frozen=True)
class Delays:
    """How long people stayed after an end.

    Attributes:
        seconds: from the end, or from its settling, to the removal.
        most: what the 99th percentile may be on AWS; ``None``: the system was not idle.
        lost: who was not removed while this was measured: the next sweep does it.
    """

    name: str
    seconds: list[float]
    most: int | None
    lost: int

    @property
    def on_aws(self) -> float:
        """The 99th percentile if every schedule fired as late as AWS may."""
        return quantile(self.seconds, 0.99) - EMULATOR_SECONDS + AWS_SECONDS

    @property
    def is_good(self) -> bool:
        return self.most is None or (self.lost == 0 and self.on_aws <= self.most)


class Ends:
    """Purchases on a stack, and when their buyers were removed."""

    def __init__(self, store: Store, settle_seconds: int) -> None:
        self.store = store
        self.settle_seconds = settle_seconds
        self._users = iter(range(FIRST_USER, FIRST_USER + 10**6))
        args = {"name": "Signals", "telegram_chat_ids": str(CHAT)}
        self.product = str(store.scenario({"do": "create_product", "args": args})[0]["id"])

    # -- purchases --------------------------------------------------------------------------------

    def subscribed(self, number: int, at: Sequence[int] = ()) -> list[tuple[int, str]]:
        """So many buyers in the chat: (user, subscription).

        Args:
            at: when each subscription begins; now, where there is none. Its period is a day.
        """
        users = [next(self._users) for _ in range(number)]
        steps = [
            {"do": "subscribe", "args": self._buyer(user) | {"interval": "day"}}
            | ({"at": at[place]} if at else {})
            for place, user in enumerate(users)
        ]
        made = self.store.scenario(*steps)
        for user in users:
            self.store.join(user)
        return [(user, one["id"]) for user, one in zip(users, made, strict=True)]

    def redeemed(self, expires_at: Iterable[int]) -> list[int]:
        """Buyers in the chat by access codes that expire at these times."""
        times = list(expires_at)
        users = [next(self._users) for _ in times]
        self.store.scenario(
            *(
                {
                    "do": "redeem_access_code",
                    "args": self._buyer(user) | {"access_expires_at": _iso(at)},
                }
                for user, at in zip(users, times, strict=True)
            )
        )
        for user in users:
            self.store.join(user)
        return users

    def _buyer(self, user: int) -> dict[str, Any]:
        return {
            "product": self.product,
            "name": f"Buyer {user}",
            "email": f"buyer{user}@example.com",
            "telegram_user_id": user,
        }

    def cancel_in_dashboard(self, subscriptions: Sequence[str]) -> float:
        """End subscriptions at Stripe; when that began."""
        began = time.time()
        steps = [{"do": "cancel_subscription", "args": {"_": [id_]}} for id_ in subscriptions]
        answer = requests.post(
            f"{self.store.stack.stripe_url}/_control/scenarios", json={"steps": steps}, timeout=60
        )
        answer.raise_for_status()
        return began

    # -- measurements -----------------------------------------------------------------------------

    def one_by_one(self, number: int) -> Delays:
        sold = self.subscribed(number)
        ended = {}
        for user, subscription in sold:
            ended[user] = self.cancel_in_dashboard([subscription]) + self.settle_seconds
            # Not in step with the emulator, which looks every ten seconds.
            time.sleep(random.uniform(4, 8))
        return self._removed("one by one", ended, MOST_AFTER_SETTLING)

    def at_once(self, number: int) -> Delays:
        sold = self.subscribed(number)
        began = self.cancel_in_dashboard([subscription for _, subscription in sold])
        ended = {user: began + self.settle_seconds for user, _ in sold}
        return self._removed("at once, one chat", ended, None)

    def at_their_time(self, number: int) -> Delays:
        first = int(time.time()) + AHEAD_SECONDS + number
        times = [first + 5 * place for place in range(number)]
        codes, periods = times[::2], times[1::2]
        ended: dict[int, float] = dict(zip(self.redeemed(codes), codes, strict=True))
        sold = self.subscribed(len(periods), at=[at - DAY for at in periods])
        for (user, _), at in zip(sold, periods, strict=True):
            detail = self.store.customer(f"buyer{user}@example.com")
            status, answer = self.store.cancel(detail, "period_end")
            if status != 200 or answer["purchase"]["cancel_at"] != _iso(at):
                raise RuntimeError(f"the end was not scheduled: {status} {answer}")
            ended[user] = at
        return self._removed("at their time", ended, MOST_AFTER_TIME)

    def _removed(self, name: str, ended: dict[int, float], most: int | None) -> Delays:
        give_up = max(ended.values()) + GIVE_UP_SECONDS
        while len(out := self._out(ended)) < len(ended) and time.time() < give_up:
            time.sleep(1)
        seconds = [at - ended[user] for user, at in out.items()]
        return Delays(name, seconds, most, len(ended) - len(out))

    def _out(self, users: Iterable[int]) -> dict[int, float]:
        """When each of these was removed."""
        answer = requests.get(f"{self.store.stack.telegram_url}/_control/requests", timeout=60)
        found = {}
        for request in answer.json():
            user = int(request["params"].get("user_id", 0))
            if request["method"] == "unbanChatMember" and request["status"] == 200:
                found.setdefault(user, datetime.fromisoformat(request["at"]).timestamp())
        return {user: found[user] for user in users if user in found}


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def measure(one_by_one: int, at_once: int, at_their_time: int) -> list[Delays]:
    with tempfile.TemporaryDirectory() as directory:
        options = Options(data_dir=Path(directory), port=0, sweep_minutes=60)
        with Stack(options) as stack:
            ends = Ends(Store(stack), options.settle_seconds)
            return [
                ends.one_by_one(one_by_one),
                ends.at_once(at_once),
                ends.at_their_time(at_their_time),
            ]


def report(measured: Sequence[Delays], where: str) -> str:
    lines = [
        f"Made by `make bench-removals` ({where}).",
        "",
        "| seconds | n | p50 | p99 | max | p99 with AWS's minute | must |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for delays in measured:
        p50, p99 = (quantile(delays.seconds, part) for part in (0.5, 0.99))
        lost = f", {delays.lost} left to the sweep" if delays.lost else ""
        lines.append(
            f"| {delays.name} | {len(delays.seconds)}{lost} | {p50:.1f} | {p99:.1f}"
            f" | {max(delays.seconds):.1f} | {delays.on_aws:.1f} | {delays.most or ''} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="How long after an end the buyer is out")
    parser.add_argument("--one-by-one", type=int, default=20)
    parser.add_argument("--at-once", type=int, default=10)
    parser.add_argument("--at-their-time", type=int, default=20)
    parser.add_argument("--into", type=Path, default=OUT)
    options = parser.parse_args()
    where = machine()
    measured = measure(options.one_by_one, options.at_once, options.at_their_time)
    text = report(measured, f"{where}, after it {os.getloadavg()[0]:.1f}")
    print(text)
    put_into(options.into, "removals", text)
    return 0 if all(delays.is_good for delays in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
