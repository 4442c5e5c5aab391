"""Whose chat is whose, where there are several stores."""

from __future__ import annotations

from typing import Annotated

import typer

from customers_cli.command import Run, Store, command, new_app
from customers_cli.exits import Exit, Refused
from shared.domain.telegram import is_chat_id
from shared.tenant import Tenant

app = new_app("Show a store's Telegram chats, and approve those whose owner is not proven.")


def _chat(text: str) -> str:
    if not is_chat_id(text):
        raise typer.BadParameter("a chat has a numeric id below zero, like -1001234567890")
    return text


ChatId = Annotated[
    str, typer.Argument(metavar="CHAT_ID", callback=_chat, help="Id of the chat: -100…")
]


@command(app, "list")
def list_(run: Run, store: Store) -> Exit:
    """Print the chats that a store's products open, and what the bot may do there.

    The exit code is 1 where nobody can be removed from one of them.
    """
    tenant = Tenant(store)
    run.target.require(tenant)
    run.begin()
    chats = run.target.parts.chat_list.of(tenant)["items"]
    width = max((len(chat["chat_id"]) for chat in chats), default=0)
    for chat in chats:
        state = chat["bot"] or "not looked at yet"
        text = f"{chat['chat_id']:{width}}  {state}"
        print(text if chat["detail"] is None else f"{text}: {chat['detail']}")
    if not chats:
        print(f"No product of the store {store} names a chat.")
    return Exit.FOUND if any(c["bot"] not in (None, "can_remove") for c in chats) else Exit.DONE


@command(app, takes_numbers=True)
def approve(run: Run, store: Store, chat_id: ChatId) -> Exit:
    """Make a chat a store's, unless it is another's.

    Its members can be removed for this store from then on, and removals that waited for it are made
    by the next sweep.
    """
    tenant = Tenant(store)
    run.target.require(tenant)
    chats = run.target.parts.chats
    if chats.standings(tenant, [chat_id])[chat_id].reason == "other_store":
        raise Refused(f"The chat {chat_id} belongs to another store already")
    run.begin()
    if not chats.approve(tenant, chat_id):
        raise Refused(f"The chat {chat_id} belongs to another store already")
    chats.look_soon(tenant)
    print(f"The chat {chat_id} belongs to the store {store}.")
    return Exit.DONE
