"""The bot's pause, and the switch that stops all removals."""

from __future__ import annotations

from customers_cli.command import Run, command, new_app
from customers_cli.exits import Exit
from shared.domain.clock import iso
from shared.storage.bot import Bot

app = new_app("Show, pause and resume the removals from chats, of all stores.")


def state_of(bot: Bot) -> str:
    """The bot's state in a sentence."""
    state = bot.state()
    if not state.removals_enabled:
        return "Removals are switched off: nobody is removed from any chat."
    if state.paused_until > bot.clock():
        return f"Paused until {iso(state.paused_until)}: {state.pause_reason}"
    return "Removals are made."


@command(app)
def show(run: Run) -> Exit:
    """Print whether people are removed from chats, and if not, why."""
    return _tell(_begin(run))


@command(app)
def resume(run: Run) -> Exit:
    """End a pause: the bot goes on at once."""
    bot = _begin(run)
    bot.resume()
    return _tell(bot)


@command(app)
def off(run: Run) -> Exit:
    """Stop all removals of all stores; nothing else stops."""
    bot = _begin(run)
    bot.switch_removals(enabled=False)
    return _tell(bot)


@command(app)
def on(run: Run) -> Exit:
    """Let removals be made again, after they were switched off."""
    bot = _begin(run)
    bot.switch_removals(enabled=True)
    return _tell(bot)


def _begin(run: Run) -> Bot:
    bot = run.target.parts.bot
    run.begin()
    return bot


def _tell(bot: Bot) -> Exit:
    print(state_of(bot))
    return Exit.DONE
