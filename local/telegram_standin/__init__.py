"""A small but truthful Telegram: the Bot API methods that ending access needs, with state.

``BotApi`` is the state and its rules, without I/O; ``server`` puts HTTP, faults and a control API
around it; ``TelegramStandin`` runs both in a thread for tests.
"""

from local.telegram_standin.bot_api import Answer, BotApi, Settings
from local.telegram_standin.server import Fault, TelegramStandin

__all__ = ["Answer", "BotApi", "Fault", "Settings", "TelegramStandin"]
