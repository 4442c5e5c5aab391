"""Where the command works in the tests: the local run, and the same stack as a deployed one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import botocore.loaders
import botocore.session
import pytest

from local.deploy import STACK
from local.running import ACCOUNT, REGION, SECRET_KEY
from local.stack import Stack
from tests.functions.conftest import context, environ, log, secrets_manager, wired

__all__ = ["context", "environ", "log", "secrets_manager", "wired"]

Place = Callable[[Stack, Path], dict[str, str]]


def local(stack: Stack, folder: Path) -> dict[str, str]:
    del folder
    return {"DATA_DIR": str(stack.data_dir)}


def deployed(stack: Stack, folder: Path) -> dict[str, str]:
    """An environment with credentials for the emulator, which has the stack's own tables."""
    return {
        "STACK": STACK,
        "DATA_DIR": str(folder),
        "AWS_ENDPOINT_URL": stack.aws.url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }


PLACES: dict[str, Place] = {"local": local, "deployed": deployed}


@pytest.fixture(scope="session")
def cli_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of commands that work on the deployed stack."""
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="session", autouse=True)
def _models_are_read_once() -> Iterator[None]:
    """Every run of the command makes its own clients; botocore reads AWS's models once for all."""
    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(botocore.loaders.create_loader)
        patch.setattr(botocore.session, "create_loader", once)
        yield
