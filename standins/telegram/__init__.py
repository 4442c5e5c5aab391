"""A small but truthful Telegram: the Bot API methods that ending access needs, with state.

``BotApi`` is the state and its rules, without I/O; ``server`` puts HTTP, faults and a control API
around it; ``TelegramStandin`` runs both in a thread for tests.
"""

from standins.telegram.bot_api import Answer, BotApi, Settings
from standins.telegram.server import Fault, TelegramStandin

__all__ = ["Answer", "BotApi", "Fault", "Settings", "TelegramStandin"]
