"""A store on the local stack, and what happens to it at Stripe and Telegram."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from local.stack import Stack

ROOT = Path(__file__).resolve().parent.parent.parent

CHAT = -1001900000001
PHRASE = "CANCEL PURCHASE"
DAY = 86_400


class Store:
    """The stack as a store owner and its stand-ins see it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {stack.token()}"

    def scenario(self, *steps: dict[str, Any]) -> list[dict[str, Any]]:
        """Let things happen at Stripe, and wait until their events were delivered."""
        answer = requests.post(
            f"{self.stack.stripe_url}/_control/scenarios", json={"steps": list(steps)}, timeout=60
        )
        assert answer.ok, answer.text
        drained = requests.post(
            f"{self.stack.stripe_url}/_control/drain", json={"timeout": 60}, timeout=90
        )
        assert drained.ok, drained.text
        results: list[dict[str, Any]] = answer.json()["list"]
        return results

    def get(self, path: str, **query: Any) -> Any:
        answer = self.session.get(f"{self.stack.url}/v1/{path}", params=query, timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def customer(self, email: str) -> dict[str, Any]:
        """The detail of the customer with an e-mail address."""
        (found,) = self.get("customers", search=email)["items"]
        detail: dict[str, Any] = self.get(f"customers/{found['customer_id']}")
        return detail

    def cancel(self, detail: dict[str, Any], when: str) -> tuple[int, Any]:
        customer_id = detail["customer"]["customer_id"]
        (purchase,) = detail["purchases"]
        answer = self.session.post(
            f"{self.stack.url}/v1/customers/{customer_id}/purchases/"
            f"{purchase['purchase_id']}/cancel",
            json={"when": when, "confirmation": PHRASE},
            timeout=20,
        )
        return answer.status_code, answer.json()

    def asked_telegram(self, method: str, user: int) -> list[dict[str, Any]]:
        answer = requests.get(f"{self.stack.telegram_url}/_control/requests", timeout=20)
        return [
            request
            for request in answer.json()
            if request["method"] == method and str(request["params"].get("user_id")) == str(user)
        ]

    def asked_stripe(self) -> list[dict[str, Any]]:
        answer = requests.get(f"{self.stack.stripe_url}/_control/requests", timeout=20)
        asked: list[dict[str, Any]] = answer.json()["requests"]
        return asked

    def join(self, user: int) -> None:
        self.telegram("join", user_id=user)

    def telegram(self, what: str, **body: Any) -> None:
        """Let something happen in the chat."""
        answer = requests.post(
            f"{self.stack.telegram_url}/_control/{what}",
            json={"chat_id": CHAT, **body},
            timeout=20,
        )
        assert answer.ok, answer.text

    def approve(self, chat_id: int) -> None:
        """Make a chat the store's: other tests register stores on this stack, and then naming a
        chat proves nothing."""
        approved = self.command("chat", "approve", "demo", str(chat_id))
        assert approved.returncode == 0, approved.stderr

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the operators' command on the stack."""
        return subprocess.run(
            [sys.executable, "-m", "customers_cli", *arguments],
            cwd=ROOT,
            env={**os.environ, "DATA_DIR": str(self.stack.data_dir)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def until(condition: Callable[[], Any], seconds: float) -> Any:
    """Wait for a condition; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.5)
    return value


def subscribe(store: Store, product: str, *, name: str, user: int, **more: Any) -> dict[str, Any]:
    args = {
        "product": product,
        "name": name,
        "email": f"{name.lower()}@example.com",
        "telegram_user_id": user,
        "interval": "day",
    }
    results = store.scenario({"do": "subscribe", "args": args, **more})
    store.join(user)
    return results[0]
