"""What AWS, Stripe and Telegram take, to compare with every request of every test
(:mod:`tests.guards` asks).

- **AWS**: botocore's own validation against its service models. The functions leave it out for
  speed, so here it is done in their place.
- **Stripe**: the routes and the typed parameters (``TypedDict``) of the installed SDK, which is
  the pinned one. Only three requests may change anything, and none of them moves money.
- **Telegram**: the parameters of the five methods that are used, as
  https://core.telegram.org/bots/api lists them. No other method is ever called.

Every function returns what is wrong, or ``None``.
"""

from __future__ import annotations

import ast
import importlib
import re
import types
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import botocore.session
import stripe
from botocore.validate import ParamValidator
from stripe._request_options import RequestOptions
from typing_extensions import is_typeddict

# -- AWS -------------------------------------------------------------------------------------------


@cache
def _input_shape(service: str, method: str) -> Any:
    model = botocore.session.get_session().get_service_model(service)
    operation = "".join(word.capitalize() for word in method.split("_"))
    return model.operation_model(operation).input_shape


# Requests of one shape are valid or invalid together; some suites make a million of them.
_valid: set[Any] = set()


def _shape(value: Any) -> Any:
    """What validation looks at: names, types, and whether texts and lists are empty."""
    if value.__class__ is dict or isinstance(value, Mapping):
        return tuple([_named(name, part) for name, part in value.items()])
    if isinstance(value, (list, tuple)):
        return list, frozenset(map(_shape, value)), bool(value)
    return value.__class__, bool(value)


def _named(name: str, value: Any) -> Any:
    """A name and its value's shape; at once where it is a text, or a table's attribute."""
    kind = value.__class__
    if kind is str:
        return name, value != ""
    if kind is dict and len(value) == 1:
        for inner_name, inner in value.items():
            if inner.__class__ is str:
                return name, inner_name, inner != ""
    return name, _shape(value)


def aws_problem(service: str, method: str, request: Mapping[str, Any]) -> str | None:
    shape = (service, method, _shape(request))
    if shape in _valid:
        return None
    found = ParamValidator().validate(request, _input_shape(service, method))
    if found.has_errors():
        return f"{service} does not take this {method}: {found.generate_report()}"
    _valid.add(shape)
    return None


# -- Stripe ----------------------------------------------------------------------------------------

CHANGES = (
    ("delete", "/v1/subscriptions/{subscription_exposed_id}"),
    ("post", "/v1/subscriptions/{subscription_exposed_id}"),
    ("post", "/v1/subscription_schedules/{schedule}/release"),
)


@cache
def _stripe_routes() -> list[tuple[str, str, re.Pattern[str], str, str | None]]:
    """(verb, path, the path's pattern, package of the params, name of the params) of the SDK, read
    from its own sources."""
    root = Path(stripe.__file__).parent
    found = []
    for file in root.rglob("_*_service.py"):
        package = ".".join(["stripe", "params", *file.relative_to(root).parts[:-1]])
        for function in ast.walk(ast.parse(file.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            params = [
                ast.unparse(a.annotation or a) for a in function.args.args if a.arg == "params"
            ]
            name = re.search(r"\w+Params", params[0]) if params else None
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "_request":
                    verb, path = (_text(argument) for argument in call.args[:2])
                    pattern = re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))
                    found.append((verb, path, pattern, package, name and name.group()))
    return found


def _text(node: ast.expr) -> str:
    """A literal, or the literal that ``.format(...)`` is called on."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        node = node.func.value
    return str(ast.literal_eval(node))


def stripe_problem(method: str, path: str, params: Mapping[str, Any]) -> str | None:
    routes = [one for one in _stripe_routes() if one[0] == method and one[2].fullmatch(path)]
    # "/v1/customers/search" also looks like a customer's path.
    routes.sort(key=lambda one: one[1].count("{"))
    if not routes:
        return f"Stripe's SDK knows no {method} {path}"
    _, known, _, package, name = routes[0]
    if method != "get" and (method, known) not in CHANGES:
        return f"{method} {known} changes what this system never changes"
    if not params:
        return None
    if name is None:
        return f"{method} {known} takes no parameters"
    wrong = _mismatch(_nested(params), getattr(importlib.import_module(package), name))
    return wrong and f"{method} {known}: {wrong}"


def _nested(params: Mapping[str, Any]) -> dict[str, Any]:
    """``{"created[gte]": 1, "expand[0]": "a"}`` as the SDK's types have it: ``{"created":
    {"gte": 1}, "expand": ["a"]}``."""
    made: dict[str, Any] = {}
    for name, value in params.items():
        first, _, inner = name.rstrip("]").partition("[")
        if not inner:
            made[first] = value
        elif inner.isdecimal():
            made.setdefault(first, []).append(value)
        else:
            made.setdefault(first, {})[inner] = value
    return made


@cache
def _fields(kind: Any) -> dict[str, Any]:
    # Names that only the type checker sees, in options that are no parameters.
    hints = typing.get_type_hints(kind, localns={"StripeContext": str, "Mapping": Mapping})
    return {
        name: hint for name, hint in hints.items() if name not in RequestOptions.__annotations__
    }


def _mismatch(value: Any, kind: Any) -> str | None:
    """Where a value is not of the SDK's type."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        if any(_mismatch(value, one) is None for one in get_args(kind)):
            return None
        return f"{value!r} is no {kind}"
    if origin is typing.Literal:
        return None if value in get_args(kind) else f"{value!r} is none of {get_args(kind)}"
    if origin is list:
        if not isinstance(value, list):
            return f"{value!r} is no list"
        return next(filter(None, (_mismatch(one, get_args(kind)[0]) for one in value)), None)
    if origin is dict:
        return None if isinstance(value, dict) else f"{value!r} is no object"
    if is_typeddict(kind):
        if not isinstance(value, dict):
            return f"{value!r} is no object"
        fields = _fields(kind)
        for name, part in value.items():
            if name not in fields:
                return f"{name} is no parameter"
            if (wrong := _mismatch(part, fields[name])) is not None:
                return f"{name}: {wrong}"
        missing = frozenset[str](getattr(kind, "__required_keys__", ())) - value.keys()
        return f"{sorted(missing)} are missing" if missing else None
    if kind is type(None):
        return None if value is None else f"{value!r} is not null"
    exact = type(value) is kind or (kind is float and type(value) is int)
    return None if exact else f"{value!r} is no {kind.__name__}"


# -- Telegram --------------------------------------------------------------------------------------

# Method → parameter → (types, whether it has to be there).
Parameters = dict[str, tuple[tuple[type, ...], bool]]
_CHAT: Parameters = {"chat_id": ((int, str), True)}
_USER: Parameters = {"user_id": ((int,), True)}
BOT_API: dict[str, Parameters] = {
    "getMe": {},
    "getChat": _CHAT,
    "getChatMember": {**_CHAT, **_USER},
    "getChatAdministrators": _CHAT,
    "unbanChatMember": {**_CHAT, **_USER, "only_if_banned": ((bool,), False)},
    "revokeChatInviteLink": {**_CHAT, "invite_link": ((str,), True)},
}


def telegram_problem(method: str, params: Mapping[str, Any]) -> str | None:
    known = BOT_API.get(method)
    if known is None:
        return f"{method} is no method that this system may call"
    for name, value in params.items():
        if name not in known:
            return f"{method} has no parameter {name}"
        if type(value) not in known[name][0]:
            return f"{method}: {name} is a {type(value).__name__}"
    missing = sorted(n for n, (_, needed) in known.items() if needed and n not in params)
    return f"{method} lacks {missing}" if missing else None
