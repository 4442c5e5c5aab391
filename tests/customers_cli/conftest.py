"""The fixtures that ``shop`` is made of."""

from tests.functions.conftest import context, log, secrets_manager, wired

__all__ = ["context", "log", "secrets_manager", "wired"]
