"""Prints a JWT for a store, and nothing else."""

from __future__ import annotations

import os

from customers_cli.command import Run, Store, command, new_app
from customers_cli.exits import Exit, Failure

app = new_app()


@command(app)
def token(run: Run, store: Store) -> Exit:
    """Print a JWT for a store of the local run, and nothing else.

    It is signed with the key of the local run, so it is good for nothing else. The tokens of a
    deployed stack are made by the login that it was deployed with.
    """
    choice = run.choice
    if not choice.is_local:
        raise Failure(
            f"Tokens of the {choice.name} are made by its login: log in to its console, or ask the "
            "issuer that JwtIssuer names or the user pool of the output UserPoolId"
        )
    port = choice.running().port or _port()
    key = choice.data_dir / "issuer.pem"
    if not key.is_file():
        raise Failure(f"There is no {choice.name}: start one with `make run`")
    from local.issuer import Issuer, issuer_url  # noqa: PLC0415 - it imports a web server

    print(Issuer(issuer_url(port), key).token(store))
    return Exit.DONE


def _port() -> int:
    """The port of the next run: the only part of the issuer's address that can change."""
    text = os.environ.get("PORT") or "8080"
    if not text.isdecimal():
        raise Failure("PORT is not a number")
    return int(text)
