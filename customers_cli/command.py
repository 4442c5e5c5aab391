"""What all commands have in common: the options that name a target, and how they end."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from customers_cli.exits import NOTHING_DONE, Exit, Failure, tell
from customers_cli.target import Choice, Given, Target, choose, connect
from shared.tenant import Tenant

# -- options ---------------------------------------------------------------------------------------

Stack = Annotated[
    str | None,
    typer.Option(
        "--stack",
        metavar="NAME",
        help="Work on this deployed stack, not on the local run. [env: STACK]",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Folder of the local run, and of unfinished work. [env: DATA_DIR; default: .data]",
    ),
]
Region = Annotated[
    str | None,
    typer.Option("--region", metavar="NAME", help="AWS region of the stack. [env: AWS_REGION]"),
]
Profile = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="AWS profile to use. [env: AWS_PROFILE]"),
]
_TARGET = {"stack": Stack, "data_dir": DataDir, "region": Region, "profile": Profile}


def _store(text: str) -> str:
    try:
        return Tenant(text).store_id
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Store = Annotated[str, typer.Argument(metavar="STORE", callback=_store, help="Name of the store.")]
Customer = Annotated[
    str,
    typer.Argument(
        metavar="CUSTOMER",
        help="Id of the customer, as the API has it (cust_…), or as Stripe has it (cus_…).",
    ),
]
Rate = Annotated[
    float,
    typer.Option("--rate", metavar="N", min=0.1, max=100, help="Requests to Stripe a second."),
]

# -- running ---------------------------------------------------------------------------------------


@dataclass
class Run:
    """One run of a command.

    Attributes:
        choice: the target that was named.
        begun: whether it may have changed something.
    """

    choice: Choice
    begun: bool = False
    _target: Target | None = None

    @property
    def target(self) -> Target:
        """The target; it is looked for when this is first asked for."""
        if self._target is None:
            self._target = connect(self.choice)
        return self._target

    def begin(self) -> Target:
        """Say what the command works on; after this it may change something."""
        target = self.target
        typer.echo(target.name, err=True)
        self.begun = True
        return target

    @property
    def name(self) -> str:
        return self.choice.name if self._target is None else self._target.name


def new_app(text: str | None = None) -> typer.Typer:
    """An app for one command; with a text for its help, for a group of commands."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    if text is not None:

        def group(
            context: typer.Context,
            stack: Stack = None,
            data_dir: DataDir = None,
            region: Region = None,
            profile: Profile = None,
        ) -> None:
            context.obj = (*context.obj, Given(stack, data_dir, region, profile))

        app.callback(help=text)(group)
    return app


def command(
    app: typer.Typer, name: str | None = None, *, again: str = "", takes_numbers: bool = False
) -> Callable[[Callable[..., Exit]], Callable[..., Exit]]:
    """Add a function to an app as a command.

    Its first parameter is its :class:`Run`, the others are arguments and options. The options that
    name a target are added to them.

    Args:
        again: what running it again does after it was stopped.
        takes_numbers: whether an argument may be a number below zero, which looks like an option.
    """
    settings = {"ignore_unknown_options": True} if takes_numbers else {}

    def add(work: Callable[..., Exit]) -> Callable[..., Exit]:
        _, *own = inspect.signature(work, eval_str=True).parameters.values()
        kind = inspect.Parameter.KEYWORD_ONLY

        def run(context: typer.Context, **values: Any) -> None:
            given = Given(**{option: values.pop(option) for option in _TARGET})
            raise typer.Exit(_run(work, (*context.obj, given), values, again))

        parameters = [
            inspect.Parameter("context", kind, annotation=typer.Context),
            *(one.replace(kind=kind) for one in own),
            *(inspect.Parameter(n, kind, annotation=a, default=None) for n, a in _TARGET.items()),
        ]
        run.__doc__ = work.__doc__
        run.__name__ = work.__name__
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        setattr(run, "__signature__", inspect.Signature(parameters))  # noqa: B010 - mypy's wish
        app.command(name, context_settings=settings)(run)
        return work

    return add


def _run(
    work: Callable[..., Exit], given: tuple[Given, ...], values: dict[str, Any], again: str
) -> Exit:
    """Do the work; whatever ends it is told in one sentence."""
    run: Run | None = None
    try:
        run = Run(choose(*given, environ=os.environ))
        with _quiet():
            return work(run, **values)
    except KeyboardInterrupt:
        begun = run is not None and run.begun
        tell(f"Stopped; {again or 'what was done stays'}" if begun else NOTHING_DONE)
        return Exit.STOPPED
    except BrokenPipeError:
        # Whoever read our output is gone. Python would find that out once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.COULD_NOT_RUN
    except Failure as failure:
        tell(failure.sentence)
        return failure.code
    except Exception as error:  # noqa: BLE001 - no traceback: it may quote personal data
        assert run is not None
        from customers_cli.explain import explain  # noqa: PLC0415 - it imports all services' errors

        sentence = explain(error, is_local=run.choice.is_local, target=run.name)
        tell(f"{sentence}; {again}" if run.begun and again else sentence)
        return Exit.COULD_NOT_RUN


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the functions' log lines, which are made for CloudWatch, out of the output."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
