"""The trimmed layer serves every function, and no function loads what it doesn't need."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from bench.measure import ROOT, Ran, Runner, fresh_bytecode
from bench.world import World, get, world
from shared.compose import BUDGETS
from shared.storage.dynamo import DynamoClient
from shared.storage.schedules import SchedulerClient
from shared.storage.secrets import SecretsClient
from tests.functions.shop import forget_what_was_made, queue_message

# By its path: "packaging" is a library's name.
_spec = importlib.util.spec_from_file_location("trim", ROOT / "packaging" / "trim.py")
assert _spec is not None
assert _spec.loader is not None
trimming = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(trimming)
SERVICES: dict[str, tuple[str, ...]] = trimming.SERVICES
# The calls that storage makes of each service: mypy allows it no others.
CLIENTS = {"dynamodb": DynamoClient, "scheduler": SchedulerClient, "secretsmanager": SecretsClient}

pytestmark = pytest.mark.xdist_group("packaging")
OF_THE_RUNTIME = pytest.mark.skipif(
    sys.version_info[:2] != (3, 13), reason="the functions' Python is 3.13"
)

# What isn't in a function's process after its first event. The driver brings Stripe, Telegram and
# the schedules, which reading and most events don't need.
UNNEEDED = ("pydantic", "fastjsonschema", "stripe", "requests", "shared.ending.drive")
FORBIDDEN = {
    "list_customers": UNNEEDED,
    "get_customer": (*UNNEEDED, "shared.storage.customer_index"),
    "stripe_webhook": (
        *UNNEEDED,
        "aws_lambda_powertools.event_handler",
        "shared.storage.customer_index",
    ),
    "stripe_bus": (
        *UNNEEDED,
        "aws_lambda_powertools.event_handler",
        "shared.storage.customer_index",
    ),
    "period_end_revoker": ("pydantic", "fastjsonschema", "stripe"),
    "cancel_purchase": ("pydantic", "shared.storage.customer_index"),
    "store_events": ("fastjsonschema", "stripe", "aws_lambda_powertools.event_handler"),
}

SUBSCRIPTION_UPDATED = "customer.subscription.updated"
PROFILE_CHANGED = {
    "id": "event-1",
    "detail-type": "CustomerProfileChanged",
    "time": "2026-11-01T10:00:00Z",
    "detail": {"store_id": "demo", "grouptizer_id": "gz_00000001", "name": "Alexandra"},
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layer's packages, trimmed, as they are installed in the tests' own environment."""
    root = tmp_path_factory.mktemp("layer")
    locked = re.findall(r"(?m)^([A-Za-z0-9-]+)==", (ROOT / "requirements/runtime.txt").read_text())
    site = Path(sysconfig.get_path("purelib"))
    for name in locked:
        for file in distribution(name).files or ():
            source = Path(str(file.locate()))
            if source.is_relative_to(site) and source.suffix != ".pyc":
                target = root / source.relative_to(site)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
    trimming.trim(root)
    return root


@pytest.fixture(scope="module")
def first_events(packages: Path) -> Iterator[dict[str, Ran]]:
    """Every function's first event in a process of its own, on the trimmed packages."""
    forget_what_was_made()
    with world(2) as here:
        runner = Runner(sys.executable, here.environ, packages, packages, ROOT)
        yield {
            name: runner.invoke(name, [event], timed=0, count=False)
            for name, event in _events(here).items()
        }
    forget_what_was_made()


def make(target: str, into: Path) -> None:
    command = ("make", "-s", "-C", str(ROOT / "packaging"), target)
    subprocess.run([*command, f"ARTIFACTS_DIR={into}", f"PYTHON={sys.executable}"], check=True)


def _events(here: World) -> dict[str, dict[str, Any]]:
    return {
        "list_customers": get("/v1/customers"),
        "get_customer": get(here.customer_of(here.subscriptions[0])),
        "stripe_webhook": here.renewed(SUBSCRIPTION_UPDATED),
        "stripe_bus": queue_message(json.loads(here.renewed(SUBSCRIPTION_UPDATED)["body"])),
        "period_end_revoker": {},
        "cancel_purchase": here.cancel("immediately"),
        "store_events": PROFILE_CHANGED,
    }


@pytest.mark.parametrize("function", sorted(FORBIDDEN))
def test_a_function_serves_its_first_event_without_what_it_does_not_need(
    first_events: dict[str, Ran], function: str
) -> None:
    ran = first_events[function]
    report = ran.report
    (answer,) = report["answers"]
    assert answer.get("statusCode", 200) == 200, answer
    assert ran.warned == ""
    assert set(report["modules"]).isdisjoint(FORBIDDEN[function])


def test_every_client_is_built_from_the_trimmed_data(packages: Path) -> None:
    code = (
        "import boto3, json; s = boto3.session.Session();"
        f"clients = {{n: s.client(n) for n in {list(SERVICES)}}};"
        "print(json.dumps({n: c.meta.method_to_api_mapping for n, c in clients.items()}))"
    )
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(packages),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    methods = {service: set(found) for service, found in json.loads(done.stdout).items()}
    assert methods == {
        service: {name for name in vars(client) if not name.startswith("_")}
        for service, client in CLIENTS.items()
    }


def test_the_authorities_the_functions_trust_aws_by_are_in_the_layer(packages: Path) -> None:
    template = (ROOT / "template.yaml").read_text()
    (name,) = re.findall(r"AWS_CA_BUNDLE: /opt/python/(\S+)", template)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(packages / name)
    certificates: list[Any] = list(context.get_ca_certs())
    issuers = {dict(part[0] for part in c["subject"])["commonName"] for c in certificates}
    assert {f"Amazon Root CA {number}" for number in (1, 2, 3, 4)} <= issuers
    assert "Starfield Services Root Certificate Authority - G2" in issuers
    assert len(issuers) < 12


def test_the_services_of_the_layer_are_those_the_functions_may_call() -> None:
    assert {name for budget in BUDGETS.values() for name in budget.services} == set(SERVICES)


@OF_THE_RUNTIME
def test_the_layer_holds_fresh_bytecode_of_every_module(packages: Path) -> None:
    make("compiled", packages)
    fresh, modules = fresh_bytecode(packages)
    assert fresh == modules > 500


@OF_THE_RUNTIME
def test_an_artefact_holds_the_code_and_its_fresh_bytecode_and_nothing_else(tmp_path: Path) -> None:
    make("build-GetCustomerFunction", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"functions", "shared"}
    fresh, modules = fresh_bytecode(tmp_path)
    assert fresh == modules > 50
