"""Sends an event from a file, as Stripe or the store's own platform would."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Annotated, Any

import requests
import typer

from customers_cli.command import Run, command, new_app
from customers_cli.exits import Exit, Failure, Refused
from customers_cli.target import REVOKER, Target
from shared.stripe_events.event import OBJECTS

app = new_app()

SECONDS = 30.0

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="An event as JSON, for example one of events/.", dir_okay=False
    ),
]
Print = Annotated[
    bool,
    typer.Option("--print", help="Print the event for `sam local invoke -e -`, and send nothing."),
]


@command(app, "send-event")
def send_event(run: Run, file: File, only_print: Print = False) -> Exit:
    """Send an event from a file, and print what became of it.

    An event of Stripe's, snapshot or thin, is signed with the webhook's secret and posted to the
    webhook. An event of a bus (with `detail-type` and `detail`) is given to the function behind
    that bus. The folder events/ holds one event of every type.
    """
    told = _read(file)
    target = run.target
    if told.get("object") in OBJECTS:
        body = json.dumps(told).encode()
        headers = _signed(body, _secret_of(target))
        if only_print:
            print(json.dumps(_invocation(body, headers), indent=2))
            return Exit.DONE
        return _post(run.begin(), body, headers)
    if only_print:
        print(json.dumps(told, indent=2))
        return Exit.DONE
    return _invoke(run.begin(), told)


def _read(file: Path) -> dict[str, Any]:
    try:
        told = json.loads(file.read_text())
    except OSError:
        raise Failure(f"{file} can't be read") from None
    except (ValueError, RecursionError):
        raise Failure(f"{file} is not JSON") from None
    if not isinstance(told, dict) or not (
        told.get("object") in OBJECTS or {"detail-type", "detail"} <= told.keys()
    ):
        raise Failure(f"{file} holds no event of Stripe's or of a bus")
    return told


# -- the webhook -----------------------------------------------------------------------------------


def _secret_of(target: Target) -> str:
    secrets = target.aws("secretsmanager")
    answer = secrets.get_secret_value(SecretId=target.output("StripeWebhookSecretArn"))
    found: list[str] = json.loads(answer["SecretString"])["secrets"]
    if not found:
        raise Failure("The webhook has no secret: `customers doctor` says what to do")
    return found[0]


def _signed(body: bytes, secret: str) -> dict[str, str]:
    """The headers of a delivery: https://docs.stripe.com/webhooks#verify-manually."""
    at = int(time.time())
    mark = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Content-Type": "application/json", "Stripe-Signature": f"t={at},v1={mark}"}


def _post(target: Target, body: bytes, headers: dict[str, str]) -> Exit:
    url = target.output("WebhookUrl")
    if target.choice.is_local:
        url = f"http://localhost:{target.choice.running().port}/v1/webhooks/stripe"
    answer = requests.post(url, data=body, headers=headers, timeout=SECONDS)
    print(answer.text)
    if not answer.ok:
        raise Refused(f"The webhook answered {answer.status_code}")
    return Exit.DONE


def _invocation(body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    """What API Gateway gives the webhook's function."""
    path = "/v1/webhooks/stripe"
    return {
        "version": "2.0",
        "routeKey": f"POST {path}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {name.lower(): value for name, value in headers.items()},
        "requestContext": {"http": {"method": "POST", "path": path}, "requestId": "send-event"},
        "body": body.decode(),
        "isBase64Encoded": False,
    }


# -- a bus -----------------------------------------------------------------------------------------


def _invoke(target: Target, told: dict[str, Any]) -> Exit:
    """Give an event to the function behind its bus, and wait for the answer."""
    of_stripe = str(told.get("source", "")).startswith("aws.partner/stripe.com/")
    name = "stripe-bus" if of_stripe else "store-events"
    event = _message(told) if of_stripe else told
    function = target.output(REVOKER).replace("period-end-revoker", name)
    answer = target.aws("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
    result = answer["Payload"].read().decode()
    print(result)
    if "FunctionError" in answer:
        raise Refused(f"The function failed: see the log of {name}")
    return Exit.DONE


def _message(told: dict[str, Any]) -> dict[str, Any]:
    """What the queue of Stripe's events gives its function."""
    return {"Records": [{"messageId": "send-event", "body": json.dumps(told)}]}
