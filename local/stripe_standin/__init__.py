"""A small but truthful Stripe for the local run, the tests and the demo data."""

from local.stripe_standin.account import StripeAccount
from local.stripe_standin.errors import StripeError
from local.stripe_standin.server import StandinServer
from local.stripe_standin.shapes import NEWEST, OLDEST, shape
from local.stripe_standin.standin import HANDLED_EVENTS, Fault, RequestRecord, StripeStandin

__all__ = [
    "HANDLED_EVENTS",
    "NEWEST",
    "OLDEST",
    "Fault",
    "RequestRecord",
    "StandinServer",
    "StripeAccount",
    "StripeError",
    "StripeStandin",
    "shape",
]
