"""Which Stripe account belongs to which store."""

from __future__ import annotations

from typing import Annotated

import typer

from customers_cli.command import Run, Store, command, new_app
from customers_cli.exits import Exit, Failure, Refused
from shared.domain.clock import iso
from shared.domain.telegram import is_user_id
from shared.storage.registry import AccountTaken, Connection
from shared.tenant import Tenant

app = new_app("Register stores for connected Stripe accounts.")


def _account(text: str | None) -> str | None:
    if text is not None and (
        not text.startswith("acct_") or not text.isascii() or not text[5:].isalnum()
    ):
        raise typer.BadParameter("a connected account is named like acct_1234")
    return text


def _user(text: str | None) -> str | None:
    if text is not None and not is_user_id(text):
        raise typer.BadParameter("a Telegram user has a numeric id, like 123456789")
    return text


Account = Annotated[
    str | None,
    typer.Argument(metavar="ACCOUNT", callback=_account, help="Connected account: acct_…"),
]
TelegramOwner = Annotated[
    str | None,
    typer.Option(
        "--telegram-owner",
        metavar="USER",
        callback=_user,
        help="Telegram user: chats that this user created are the store's.",
    ),
]
NotTelegramOwner = Annotated[
    str | None,
    typer.Option(
        "--not-telegram-owner",
        metavar="USER",
        callback=_user,
        help="Telegram user who is no owner any more; the store keeps its chats.",
    ),
]


@command(app)
def add(
    run: Run,
    store: Store,
    account: Account = None,
    telegram_owner: TelegramOwner = None,
    not_telegram_owner: NotTelegramOwner = None,
) -> Exit:
    """Register a store for a connected Stripe account, or change a store that is there.

    Events of the account are the store's from then on, and the store's purchases are ended in this
    account. It may be repeated. A store that is registered again is asked through the newest
    account. Without an account, only the store's Telegram owners change.
    """
    if account is None and telegram_owner is None and not_telegram_owner is None:
        raise Failure("Name an ACCOUNT, or a Telegram user with --telegram-owner")
    parts, tenant = run.target.parts, Tenant(store)
    registry = parts.registry
    if account is None:
        run.target.require(tenant)
    else:
        taken = f"{account} belongs to another store already: `customers store list` shows to which"
        connection = registry.of_account(account)
        if connection is not None and connection.tenant != tenant:
            raise Refused(taken)
    run.begin()
    if account is not None:
        try:
            registry.register(tenant, account)
        except AccountTaken:
            raise Refused(taken) from None
        print(f"{account} belongs to the store {store}.")
    if not_telegram_owner is not None:
        registry.remove_telegram_owner(tenant, not_telegram_owner)
        print(f"Telegram user {not_telegram_owner} is no owner of the store {store}.")
    if telegram_owner is not None:
        registry.add_telegram_owner(tenant, telegram_owner)
        parts.chats.look_soon(tenant)
        print(
            f"Telegram user {telegram_owner} is an owner of the store {store}. "
            "The next sweep looks whose its unverified chats are."
        )
    return Exit.DONE


@command(app, "list")
def list_(run: Run) -> Exit:
    """Print every store and the Stripe account it is asked through."""
    parts = run.target.parts
    run.begin()
    registered = {one.tenant.store_id: one for one in parts.registry.connections()}
    default = parts.settings.default_store
    names = sorted({default, *registered})
    width = max(map(len, names))
    for name in names:
        print(f"{name:{width}}  {_connection(registered.get(name), is_default=name == default)}")
    return Exit.DONE


def _connection(connection: Connection | None, *, is_default: bool) -> str:
    text = "the platform's own account"
    if connection is not None and connection.account is not None:
        text = connection.account
        if connection.disconnected_at is not None:
            text += f", disconnected since {iso(connection.disconnected_at)}"
    return f"{text}, default store" if is_default else text


@command(app, again="run it again to finish it")
def remove(run: Run, store: Store) -> Exit:
    """Remove a store's registration; its data stays.

    Its customers and purchases stay as they are. Events of its accounts are parked from then on,
    because no store has registered their account. Cancel what is to be cancelled first: afterwards
    the store's subscriptions can't be reached in Stripe any more.
    """
    registry, tenant = run.target.parts.registry, Tenant(store)
    if registry.of_store(tenant).account is None:
        raise Refused(f"The store {store} is not registered in the {run.name}")
    run.begin()
    accounts = registry.remove(tenant)
    print(
        f"The store {store} is no longer registered for {', '.join(accounts)}. Its data stays. "
        "Functions that know the registration use it for a minute longer."
    )
    return Exit.DONE
