"""The fixtures that ``shop`` is made of."""

from tests.functions.conftest import context, environ, log, secrets_manager, wired

__all__ = ["context", "environ", "log", "secrets_manager", "wired"]
