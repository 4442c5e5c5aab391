"""The driver, put together: for the functions that change something.

Apart from :mod:`shared.wiring`, so that the functions that only read load neither Stripe nor
Telegram.
"""

from __future__ import annotations

from functools import cache

from aws_lambda_powertools.metrics import MetricUnit

from shared.ending.drive import Driver
from shared.ending.removal import AccessRemover
from shared.integrations.stripe_gateway import StripeGateway
from shared.integrations.telegram_gateway import TelegramGateway, new_session
from shared.observability import metrics
from shared.storage import aws
from shared.storage.chats import Chats
from shared.storage.products import Products
from shared.storage.registry import Registry
from shared.storage.schedules import Schedules
from shared.wiring import customers, records, records_table, secrets, settings

# Connecting and reading, in seconds. A person waits ten at the most, and a cancel may have to look
# first and to ask Telegram after.
PATIENT_TIMEOUTS = (3.05, 20.0)
IMPATIENT_TIMEOUTS = (1.0, 3.5)


def telegram_token(*, fresh: bool = False) -> str:
    """The bot's token; empty where none is stored yet, which pauses the bot like a bad one."""
    arn = settings().telegram_secret_arn
    secret = secrets().refresh(arn) if fresh else secrets().get(arn)
    token = secret.get("token")
    return token if isinstance(token, str) else ""


@cache
def registry() -> Registry:
    return Registry(records_table(), settings().default_store)


@cache
def stripe_gateway(*, interactive: bool) -> StripeGateway:
    arn = settings().stripe_api_secret_arn
    connect, read = IMPATIENT_TIMEOUTS if interactive else PATIENT_TIMEOUTS
    return StripeGateway(
        lambda: secrets().get(arn),
        settings().stripe_api_base,
        refresh_keys=lambda: secrets().refresh(arn),
        connect_timeout=connect,
        read_timeout=read,
    )


@cache
def chats() -> Chats:
    return Chats(records_table())


@cache
def products(*, interactive: bool) -> Products:
    return Products(records(), chats(), registry(), stripe_gateway(interactive=interactive))


@cache
def driver(*, interactive: bool) -> Driver:
    """The driver of this process.

    Args:
        interactive: Stripe is given less time to answer, because a person waits.
    """
    return Driver(
        records=records(),
        customers=customers(),
        products=products(interactive=interactive),
        registry=registry(),
        stripe=stripe_gateway(interactive=interactive),
        remover=AccessRemover(
            records_table(),
            TelegramGateway(new_session(), settings().telegram_api_base, telegram_token),
            count=lambda name: metrics.add_metric(name=name, unit=MetricUnit.Count, value=1),
        ),
        schedules=Schedules(
            aws.client("scheduler"),
            group=settings().schedule_group,
            revoker_arn=settings().revoker_arn,
            role_arn=settings().schedule_role_arn,
        ),
    )


def reset() -> None:
    """Forget everything made so far (tests)."""
    for made in (registry, stripe_gateway, chats, products, driver):
        made.cache_clear()
