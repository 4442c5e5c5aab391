"""A small but truthful Stripe for the local run, the tests and the demo data."""

from standins.stripe.account import StripeAccount
from standins.stripe.errors import StripeError
from standins.stripe.events import HANDLED_EVENTS
from standins.stripe.faults import Fault
from standins.stripe.request_log import RequestRecord
from standins.stripe.server import StandinServer
from standins.stripe.shapes import NEWEST, OLDEST, shape
from standins.stripe.standin import StripeStandin

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
