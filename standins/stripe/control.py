"""The control API under ``/_control``: what a test, the seeder or a person does to the stand-in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from standins.stripe.account import ACTIONS
from standins.stripe.errors import invalid
from standins.stripe.history import history
from standins.stripe.shapes import Object, shape
from standins.stripe.standin import StripeStandin


def scenario_names() -> list[str]:
    """The names a step's ``do`` may have: the actions at an account."""
    return sorted(ACTIONS)


def run_steps(standin: StripeStandin, body: Mapping[str, Any]) -> Object:
    """Carry out scenarios one after another, undisturbed by the clock.

    ``steps``: ``{"do": name, "args": {...}, "at": epoch seconds, "as": name, "account": id,
    "livemode": bool}``. An argument ``"$name.field"`` is taken from an earlier step's result.
    Before a step with ``at``, what fell due for the customers of these steps until then happens;
    after the last one, what fell due until now. ``catch_up: false`` leaves that out. ``mark``
    (``{"name", "value"}``) is stored in the same transaction.
    """
    results: dict[str, Any] = {}
    listed: list[Any] = []
    touched: set[str] = set()
    catch_up = body.get("catch_up", True)
    with standin.store.transaction():
        for step in body["steps"]:
            name = step["do"]
            account = standin.account(
                step.get("account", body.get("account")),
                livemode=step.get("livemode", body.get("livemode", True)),
            )
            at = step.get("at", body.get("at"))
            if at is not None and touched and catch_up:
                standin.run_due(until=at, customers=touched)
            arguments = _resolved(step.get("args", {}), results)
            with standin.at(at):
                if name == "history":
                    result: Any = history(account, **arguments)
                elif name in ACTIONS:
                    positional = arguments.pop("_", [])
                    result = getattr(account, name)(*positional, **arguments)
                else:
                    raise invalid(f"Unknown scenario: {name}", param="do")
            if isinstance(result, dict):
                owner = result["id"] if result.get("object") == "customer" else None
                touched |= {c for c in (owner, result.get("customer")) if c}
            shown = shape(result, standin.api_version)
            listed.append(shown)
            if "as" in step:
                results[step["as"]] = shown
        if catch_up and touched:
            standin.run_due(customers=touched)
        if "mark" in body:
            standin.set_mark(body["mark"]["name"], body["mark"]["value"])
    return {"results": results, "list": listed}


def _resolved(value: Any, results: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(item, results) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, results) for item in value]
    if isinstance(value, str) and value.startswith("$"):
        name, *path = value[1:].split(".")
        found = results[name]
        for key in path:
            found = found[int(key)] if isinstance(found, list) else found[key]
        return found
    return value


def _faults(standin: StripeStandin, body: Mapping[str, Any]) -> Object:
    standin.fail(
        body.get("method", "*"), body.get("path", ".*"), **_without(body, "method", "path")
    )
    return {"faults": [asdict(fault) for fault in standin.faults]}


def _without(body: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in names}


def _clear_faults(standin: StripeStandin, _body: Mapping[str, Any]) -> Object:
    standin.faults.clear()
    standin.outage = False
    return {"faults": []}


def _outage(standin: StripeStandin, body: Mapping[str, Any]) -> Object:
    standin.outage = bool(body.get("on", True))
    return {"outage": standin.outage}


def _disconnect(standin: StripeStandin, body: Mapping[str, Any]) -> Object:
    (standin.disconnect if body.get("on", True) else standin.reconnect)(body.get("account"))
    return {"disconnected": sorted(standin.access.withdrawn)}


def _close(standin: StripeStandin, body: Mapping[str, Any]) -> Object:
    run = standin.close_account if body.get("on", True) else standin.reopen_account
    run(body.get("account"))
    return {"closed": sorted(standin.access.closed)}


def _search(standin: StripeStandin, body: Mapping[str, Any]) -> Object:
    """``lag`` (seconds); ``refuse`` (400, 404 or null) for an ``account``, or the platform's."""
    index = standin.search_index
    if "lag" in body:
        index.set_lag(float(body["lag"]))
    if "refuse" in body:
        index.refuse(body["refuse"], body.get("account"))
    return {"lag": index.lag, "refused": dict(index.refused)}


def _clock(standin: StripeStandin, body: Mapping[str, Any]) -> Object:
    """``freeze`` (true or a time), ``resume``, ``advance`` (seconds), ``advance_to`` (a time)."""
    if "freeze" in body:
        standin.freeze(None if body["freeze"] is True else int(body["freeze"]))
    if body.get("resume"):
        standin.resume()
    if "advance" in body:
        standin.advance(int(body["advance"]))
    if "advance_to" in body:
        standin.advance_to(int(body["advance_to"]))
    return {"now": standin.clock.now(), "frozen": standin.clock.frozen_at is not None}


def _deliveries(standin: StripeStandin, body: Mapping[str, Any]) -> Object:
    deliveries = standin.deliveries
    if "held" in body:
        (deliveries.hold if body["held"] else deliveries.release)()
    if "shuffled" in body:
        deliveries.shuffled = bool(body["shuffled"])
    if "duplicates" in body:
        deliveries.duplicates = int(body["duplicates"])
    if "drop" in body:
        deliveries.drop = frozenset(body["drop"])
    if "drop_next" in body:
        deliveries.drop_next = int(body["drop_next"])
    if "api_version" in body:
        deliveries.api_version = body["api_version"]
    if "max_attempts" in body:
        deliveries.max_attempts = int(body["max_attempts"])
    if "workers" in body:
        deliveries.start(workers=int(body["workers"]))
    return deliveries_state(standin)


def deliveries_state(standin: StripeStandin) -> Object:
    """How many deliveries are in each state, and the switches."""
    deliveries = standin.deliveries
    return {
        **deliveries.counts(),
        "held": deliveries.held,
        "shuffled": deliveries.shuffled,
        "duplicates": deliveries.duplicates,
        "drop": sorted(deliveries.drop),
        "drop_next": deliveries.drop_next,
        "api_version": deliveries.api_version,
    }


def _drain(standin: StripeStandin, body: Mapping[str, Any]) -> Object:
    started = time.monotonic()
    done = standin.deliveries.drain(float(body.get("timeout", 30)))
    return {"drained": done, "seconds": time.monotonic() - started, **deliveries_state(standin)}


def _redeliver(standin: StripeStandin, body: Mapping[str, Any]) -> Object:
    standin.deliveries.redeliver(body["event"])
    return deliveries_state(standin)


def _endpoint(standin: StripeStandin, body: Mapping[str, Any]) -> Object:
    endpoint = standin.add_endpoint(**body)
    return {"id": endpoint.id, "url": endpoint.url}


def _remove_endpoint(standin: StripeStandin, body: Mapping[str, Any]) -> Object:
    standin.remove_endpoint(body["id"])
    return {"endpoints": sorted(standin.deliveries.endpoints)}


def _event_destination(standin: StripeStandin, body: Mapping[str, Any]) -> Object:
    fields: Any = dict(body)
    if "enabled_events" in fields:
        fields["enabled_events"] = tuple(fields["enabled_events"])
    return {"id": standin.add_event_destination(**fields).id}


def _clear_event_destinations(standin: StripeStandin, _body: Mapping[str, Any]) -> Object:
    standin.event_destinations.clear()
    return {"event_destinations": []}


def _requests(standin: StripeStandin, query: Mapping[str, Any]) -> Object:
    """``method`` and ``path`` (a prefix) narrow it down."""
    with standin.lock:
        found = [
            asdict(record)
            for record in standin.requests
            if query.get("method") in (None, record.method)
            and record.path.startswith(query.get("path", ""))
        ]
    return {"requests": found}


def _clear_requests(standin: StripeStandin, _body: Mapping[str, Any]) -> Object:
    standin.clear_requests()
    return {"requests": []}


def _settings(standin: StripeStandin, body: Mapping[str, Any]) -> Object:
    standin.settings |= body
    return dict(standin.settings)


def _mark(standin: StripeStandin, body: Mapping[str, Any]) -> Object:
    if "value" in body:
        standin.set_mark(body["name"], body["value"])
    return {"name": body["name"], "value": standin.mark(body["name"])}


Route = Callable[[StripeStandin, Mapping[str, Any]], Object]

ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "ready"): lambda _standin, _body: {"ready": True},
    ("GET", "state"): lambda standin, _body: standin.dump(),
    ("GET", "scenarios"): lambda _standin, _body: {"scenarios": scenario_names()},
    ("POST", "scenarios"): run_steps,
    ("GET", "requests"): _requests,
    ("DELETE", "requests"): _clear_requests,
    ("POST", "faults"): _faults,
    ("DELETE", "faults"): _clear_faults,
    ("POST", "outage"): _outage,
    ("POST", "disconnect"): _disconnect,
    ("POST", "close"): _close,
    ("GET", "search"): lambda standin, _body: _search(standin, {}),
    ("POST", "search"): _search,
    ("GET", "clock"): lambda standin, _body: _clock(standin, {}),
    ("POST", "clock"): _clock,
    ("GET", "deliveries"): lambda standin, _body: deliveries_state(standin),
    ("POST", "deliveries"): _deliveries,
    ("POST", "drain"): _drain,
    ("POST", "redeliver"): _redeliver,
    ("POST", "endpoints"): _endpoint,
    ("DELETE", "endpoints"): _remove_endpoint,
    ("POST", "event_destinations"): _event_destination,
    ("DELETE", "event_destinations"): _clear_event_destinations,
    ("POST", "settings"): _settings,
    ("POST", "mark"): _mark,
}
