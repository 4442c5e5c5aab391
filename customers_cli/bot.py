"""The bot's pause and the kill switch of all removals; prints the state.

``STACK=name`` works on a deployment, otherwise on the stack that runs in ``DATA_DIR``.
"""

from __future__ import annotations

import sys
import time

from customers_cli.target import NothingRuns, connect
from shared.domain.clock import iso
from shared.storage.bot import Bot


def state_of(bot: Bot) -> str:
    """The bot's state in a sentence."""
    state = bot.state()
    if not state.removals_enabled:
        return "Removals are switched off: nobody is removed from any chat."
    if state.paused_until > time.time():
        return f"Paused until {iso(state.paused_until)}: {state.pause_reason}"
    return "Removals are made."


def main() -> int:
    action = next(iter(sys.argv[1:]), "")
    if action not in ("", "resume", "off", "on"):
        print("make bot DO=resume, DO=off or DO=on", file=sys.stderr)
        return 2
    try:
        bot = Bot(connect().records)
    except NothingRuns as error:
        print(error, file=sys.stderr)
        return 1
    if action == "resume":
        bot.resume()
    elif action:
        bot.switch_removals(enabled=action == "on")
    print(state_of(bot))
    return 0


if __name__ == "__main__":
    sys.exit(main())
