"""``python -m standins.stripe``: the stand-in as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from aiohttp import web

from standins.stripe.events import HANDLED_EVENTS
from standins.stripe.server import application
from standins.stripe.shapes import NEWEST
from standins.stripe.standin import StripeStandin


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="standins.stripe", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=12111, help="0 chooses a free one")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--webhook-url", default="", help="where events are sent; none: nowhere")
    parser.add_argument("--webhook-secret", default="whsec_local")
    parser.add_argument(
        "--api-key",
        action="append",
        default=[],
        help="refuse other keys (repeatable, or several with commas)",
    )
    parser.add_argument("--api-version", default=NEWEST, help="the accounts' default version")
    parser.add_argument("--all-events", action="store_true", help="send every type of event")
    parser.add_argument("--payload", choices=("snapshot", "thin", "both"), default="snapshot")
    parser.add_argument("--workers", type=int, default=4, help="deliveries at the same time")
    return parser.parse_args()


async def serve(standin: StripeStandin, host: str, port: int, workers: int) -> None:
    runner = web.AppRunner(application(standin), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    standin.deliveries.start(workers=workers)
    print(f"stripe stand-in on http://{host}:{runner.addresses[0][1]}", flush=True)
    stopped = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    await stopped.wait()
    await runner.cleanup()


def main() -> None:
    given = arguments()
    keys = [key for text in given.api_key for key in text.split(",") if key]
    standin = StripeStandin(given.data_dir, api_keys=keys, api_version=given.api_version)
    if given.webhook_url:
        for payload in ("snapshot", "thin") if given.payload == "both" else (given.payload,):
            standin.add_endpoint(
                given.webhook_url,
                given.webhook_secret,
                enabled_events=("*",) if given.all_events else HANDLED_EVENTS,
                payload=payload,
                id="we_1StandInThin" if payload == "thin" else "we_1StandInEndpoint",
            )
    try:
        asyncio.run(serve(standin, given.host, given.port, given.workers))
    finally:
        standin.close()


if __name__ == "__main__":
    main()
