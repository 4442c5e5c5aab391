"""What the store's own platform may tell us over the bus, and nothing else.

Source ``grouptizer.store``; the detail type is the model's name. Fields that aren't named here
are ignored, so that a newer platform may say more.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    field_validator,
)

from shared.domain import dates
from shared.domain.stripe_objects import MOST_CHATS, chat_ids
from shared.tenant import Tenant

# As in Stripe's metadata: ids are numbers written as text, "@names" can change hands.
TelegramUserId = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,15}$")]
ChatId = Annotated[str, StringConstraints(pattern=r"^-[1-9][0-9]{0,18}$")]
Id = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
# Seconds since the epoch, however the store writes a date.
Moment = Annotated[
    int,
    BeforeValidator(dates.moment),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "number"}],
            "description": "ISO 8601, or seconds or milliseconds since the epoch",
        }
    ),
]
Text = Annotated[str, StringConstraints(max_length=500)]


class Message(BaseModel):
    """What all of them say: which store they are about."""

    model_config = ConfigDict(coerce_numbers_to_str=True, frozen=True)

    store_id: str

    @field_validator("store_id")
    @classmethod
    def _is_a_store(cls, value: str) -> str:
        return Tenant(value).store_id

    @property
    def tenant(self) -> Tenant:
        return Tenant(self.store_id)


class AccessCodeRedeemed(Message):
    """Somebody redeemed an access code; without ``expires_at`` access is for life.

    ``expires_at`` is anything: what nobody understands still redeems the code
    (:func:`shared.domain.stripe_objects.term`).
    """

    grouptizer_id: Id
    access_code: Id
    product_id: Id
    redeemed_at: Moment
    expires_at: Any = None
    telegram_user_id: TelegramUserId | None = None
    livemode: bool | None = None


class TelegramLinked(Message):
    """A buyer linked a Telegram account to a purchase, or another one than before.

    ``invite_links``: by chat, the links this buyer got in by; they are revoked with the access.
    """

    purchase_id: Id
    telegram_user_id: TelegramUserId
    invite_links: dict[ChatId, Text] = Field(default_factory=dict, max_length=MOST_CHATS)


class ProductChanged(Message):
    """A product's name, or the chats it opens; as in Stripe's metadata or as a list."""

    product_id: Id
    name: Text
    telegram_chat_ids: list[str] = Field(default_factory=list)
    deleted: bool = False
    livemode: bool | None = None

    @field_validator("telegram_chat_ids", mode="before")
    @classmethod
    def _as_list(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("telegram_chat_ids")
    @classmethod
    def _separated(cls, value: list[str]) -> list[str]:
        return chat_ids(" ".join(value))


class CustomerProfileChanged(Message):
    """Who somebody is, by their Grouptizer ID."""

    grouptizer_id: Id
    name: Text | None = None
    email: Text | None = None
    avatar_url: Annotated[str, StringConstraints(max_length=2000)] | None = None
    created_at: Moment | None = None
