"""Fixtures of the tests of the documentation: the shop in a box runs on these."""

from tests.functions.conftest import environ, secrets_manager, wired

__all__ = ["environ", "secrets_manager", "wired"]
