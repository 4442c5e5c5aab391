"""Runs in the process that is measured: `python call.py PLAN`.

PLAN is a JSON file: either ``{"handler", "events", "milliseconds"}`` to invoke a function with
events one after the other, or ``{"library", "calls"}`` to make bare calls of DynamoDB's client.
Its last ``{"count"}`` events or calls are timed. What was found goes to the file ``{"report"}``.
Standard output is left to the function's log. Where instructions are counted, everything takes
``{"slowness"}`` times as long: the clock that deadlines are measured by is slowed down likewise, or
a cancel would leave half of its work to the sweep.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any


class Context:
    """Lambda's context object."""

    function_name = "bench"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:bench"
    aws_request_id = "00000000-0000-0000-0000-000000000000"

    def __init__(self, milliseconds: int) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


def functions(plan: dict[str, Any]) -> list[Callable[[], Any]]:
    handler = importlib.import_module(plan["handler"]).lambda_handler
    context = Context(plan["milliseconds"])
    return [partial(handler, event, context) for event in plan["events"]]


def bare(plan: dict[str, Any]) -> list[Callable[[], Any]]:
    client = importlib.import_module("boto3").client("dynamodb")
    return [
        partial(getattr(client, call["operation"]), **call["request"]) for call in plan["calls"]
    ]


def slow_down(times: int) -> None:
    monotonic = time.monotonic
    time.monotonic = lambda: monotonic() / times


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    if plan["slowness"] > 1:
        slow_down(plan["slowness"])
    steps = functions(plan) if "handler" in plan else bare(plan)
    first = len(steps) - plan["count"]
    answers = [step() for step in steps[:first]]
    started = time.process_time()
    answers += [step() for step in steps[first:]]
    seconds = time.process_time() - started
    modules = sorted(sys.modules)
    report = {"seconds": seconds, "modules": modules, "answers": answers[-1:]}
    with open(plan["report"], "w", encoding="utf-8") as file:
        json.dump(report, file, default=str)


if __name__ == "__main__":
    main()
