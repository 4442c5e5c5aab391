"""``python -m bench.hanging`` (part of ``make bench-webhook``): the webhook while Stripe's API and
Telegram hang.

Two workers take the same events of a month's mix (:mod:`bench.webhook`), each on its own copy of
one filled database. One worker has a Stripe and a Telegram that answer, the other has servers that
accept connections and never answer. Event by event both are asked, one right after the other, and
every second time in the other order: a machine that is slow for a while is slow for both.

Events that need something from Stripe are left out of that comparison; a run before it finds them.
They are measured by themselves.

Puts its figures into docs/bench/webhook.md. Linux only, as :mod:`bench.webhook` is.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bench.figures import machine, put_into, quantile
from bench.webhook import DAY, OUT, WARM_UP, Bench, Store, bench, bodies, mixed, undecidable
from bench.world import WEBHOOK_SECRET
from standins.stripe.deliveries import signature
from tests.dynamo import create_tables, make_client, running_dynoxide
from tests.functions.http import api_event
from tests.silence import SilentServer

MOST_RATIO = 1.5
ANSWER_SECONDS = 10


@dataclass(frozen=True)
class Answer:
    """What one event took.

    Attributes:
        seconds: until the handler answered.
        asked: requests to Stripe.
    """

    seconds: float
    status: int
    asked: int


def work(pipe: Connection) -> None:
    """Take events from a pipe until there are no more; runs in a process of its own."""
    # The function logs to standard output, which multiprocessing's parent shares.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    from functions.stripe_webhook.handler import lambda_handler
    from shared.integrations.stripe_gateway import StripeGateway

    asked = 0
    send = StripeGateway._send

    def counted(self: StripeGateway, *request: Any) -> Any:
        nonlocal asked
        asked += 1
        return send(self, *request)

    StripeGateway._send = counted  # type: ignore[method-assign, assignment]
    while (text := pipe.recv()) is not None:
        signed = signature(text.encode(), (WEBHOOK_SECRET,), int(time.time()))
        headers = {"Stripe-Signature": signed}
        event = api_event("POST", "/v1/webhooks/stripe", body=text, headers=headers, store=None)
        asked, began = 0, time.perf_counter()
        answer = lambda_handler(event, None)
        seconds = time.perf_counter() - began
        pipe.send(Answer(seconds, int(answer["statusCode"]), asked))


class Worker:
    """A process that runs the webhook on a database of its own."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def take(self, text: str) -> Answer:
        self._pipe.send(text)
        answer: Answer = self._pipe.recv()
        return answer


@contextlib.contextmanager
def worker(around: Bench, filled: Path, **environ: str) -> Iterator[Worker]:
    """A worker on a copy of a filled database."""
    directory = around.directory / f"worker{time.monotonic_ns()}"
    directory.mkdir()
    for file in filled.parent.glob(f"{filled.name}*"):
        shutil.copy(file, directory)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with running_dynoxide(directory / filled.name) as endpoint:
        given = {**around.environ, "AWS_ENDPOINT_URL_DYNAMODB": endpoint, **environ}
        process = context.Process(target=work, args=(theirs,), daemon=True)
        # Some of it is read when modules are imported.
        with patch.dict(os.environ, given):
            process.start()
        theirs.close()
        try:
            yield Worker(ours)
        finally:
            with contextlib.suppress(OSError):
                ours.send(None)
            process.join(30)
            process.terminate()


@dataclass(frozen=True)
class Measured:
    """Both workers' answers to the same events, and those to events that need Stripe."""

    answering: list[Answer]
    hanging: list[Answer]
    left_out: int
    needing: list[Answer]
    connections: tuple[int, int]

    def ratio(self, part: float) -> float:
        return _at(self.hanging, part) / _at(self.answering, part)

    @property
    def is_good(self) -> bool:
        return (
            {answer.status for answer in (*self.answering, *self.hanging)} == {200}
            and self.connections == (0, 0)
            and self.ratio(0.99) <= MOST_RATIO
            and all(answer.status >= 500 for answer in self.needing)
            and max(answer.seconds for answer in self.needing) < ANSWER_SECONDS
        )


def _at(answers: Sequence[Answer], part: float) -> float:
    return quantile([answer.seconds for answer in answers], part)


def measure(subscriptions: int, happenings: int, needing: int) -> Measured:
    now = int(time.time())
    with bench() as around, SilentServer() as stripe, SilentServer() as telegram:
        store = Store(around.stripe, random.Random(7))
        store.fill(subscriptions, now - 45 * DAY)
        first = [body.decode() for body in bodies(store.stripe.events(account=store.live))]
        filled = around.directory / "filled.sqlite"
        with running_dynoxide(filled) as endpoint:
            create_tables(make_client(endpoint))
        around.run_on(filled, "work", {"events": first, "warm_up": 0, "counted": False})
        events = [body.decode() for body in mixed(store, happenings, now - 30 * DAY, now - 2 * DAY)]
        with worker(around, filled) as trying:
            needs = [trying.take(text).asked > 0 for text in events]
        calm = [text for text, asks in zip(events, needs, strict=True) if not asks]
        silence = {"STRIPE_API_BASE": stripe.url, "TELEGRAM_API_BASE": telegram.url}
        with worker(around, filled) as answering, worker(around, filled, **silence) as hanging:
            answers: dict[Worker, list[Answer]] = {answering: [], hanging: []}
            for number, text in enumerate(calm):
                for each in list(answers)[:: 1 if number % 2 else -1]:
                    answers[each].append(each.take(text))
            connections = stripe.connections(), telegram.connections()
            pairs = [body.decode() for body in undecidable(store, needing, now - DAY)]
            asking = [hanging.take(text) for text in pairs][1::2]
        return Measured(
            answers[answering][WARM_UP:],
            answers[hanging][WARM_UP:],
            sum(needs),
            asking,
            connections,
        )


def report(measured: Measured, where: str) -> str:
    rows = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    n = len(measured.hanging)
    lines = [
        f"Made by `python -m bench.hanging` ({where}). {n} events of the mix that need nothing from"
        f" Stripe ({measured.left_out} that do are left out), each given to two workers in turn.",
        "",
        f"| ms until the answer, n = {n} | both answer | both hang | ratio | must |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {1000 * _at(measured.answering, part):.1f}"
        f" | {1000 * _at(measured.hanging, part):.1f} | {measured.ratio(part):.2f}"
        f" | {MOST_RATIO if name == 'p99' else ''} |"
        for name, part in rows
    ]
    statuses = sorted({answer.status for answer in measured.needing})
    longest = max(answer.seconds for answer in measured.needing)
    lines += [
        "",
        f"The worker opened {sum(measured.connections)} connections to the two that hang. Events"
        f" that need Stripe ({len(measured.needing)}, one after the other) were answered"
        f" {', '.join(map(str, statuses))} after {longest:.1f} s at most"
        f" (must: 5xx within {ANSWER_SECONDS} s).",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="The webhook while Stripe and Telegram hang")
    parser.add_argument("--subscriptions", type=int, default=150)
    parser.add_argument("--happenings", type=int, default=400)
    parser.add_argument("--needing", type=int, default=10)
    parser.add_argument("--into", type=Path, default=OUT)
    options = parser.parse_args()
    where = machine()
    measured = measure(options.subscriptions, options.happenings, options.needing)
    text = report(measured, f"{where}, after it {os.getloadavg()[0]:.1f}")
    print(text)
    put_into(options.into, "hanging", text)
    return 0 if measured.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
