"""The tree of commands."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from customers_cli.command import DataDir, Profile, Region, Stack
from customers_cli.exits import MEANINGS, NOTHING_DONE, Exit, tell
from customers_cli.target import Given

# In the order of the help: the modules of this package that hold the commands.
COMMANDS = (
    "token",
    "store",
    "chat",
    "sweep",
    "reindex",
    "backfill",
    "replay",
    "send-event",
    "doctor",
    "bot",
    "export",
    "forget",
    "console",
)
_CODES = "\n".join(f"{code.value:>5}  {meaning}" for code, meaning in MEANINGS.items())


def command(name: str) -> Any:
    """A command, or a group of them, with its module imported."""
    made = get_command(importlib.import_module(f"customers_cli.{name.replace('-', '_')}").app)
    made.name = name
    return made


class Commands(TyperGroup):
    """The commands; a module is imported when its command is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        del ctx
        return command(cmd_name) if cmd_name in COMMANDS else None

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command, and end the process with its exit code."""
        del prog_name, standalone_mode
        try:
            code = super().main(
                args, "customers", complete_var, False, windows_expand_args, **extra
            )
        except typer.TyperException as error:
            tell(_usage(error))
            code = Exit.COULD_NOT_RUN
        except OSError as error:  # stdout can't be written to
            tell(f"The output could not be written: {error.strerror or type(error).__name__}")
            code = Exit.COULD_NOT_RUN
        if code == Exit.STOPPED and not isinstance(code, Exit):
            # Typer's own, for a Ctrl-C before the command began: nobody has told it yet.
            tell(NOTHING_DONE)
        sys.exit(int(code or 0))


def _usage(error: typer.TyperException) -> str:
    """What is wrong with the arguments, in one sentence."""
    message = error.format_message().rstrip(".").replace(". ", "; ")
    context = getattr(error, "ctx", None)
    return message if context is None else f"{message} (see {context.command_path} --help)"


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    rich_markup_mode=None,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"\b\nExit codes:\n{_CODES}",
)


@app.callback()
def customers(
    context: typer.Context,
    stack: Stack = None,
    data_dir: DataDir = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Operate stores: on the local run, or with --stack on a deployed stack.

    The options that name a stack may also follow the command. What a command works on is told on
    stderr before anything is changed.
    """
    context.obj = (Given(stack, data_dir, region, profile),)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(Exit.COULD_NOT_RUN)


def run(arguments: Sequence[str] | None = None) -> int:
    """The exit code of what the arguments ask for."""
    try:
        get_command(app).main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
