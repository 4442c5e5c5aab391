"""Every command on the local run, and on the same stack as a deployed one.

One store per place, with a connected Stripe account of its own, so that nothing here depends on
what other tests do on the stack.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from customers_cli import console
from local.stack import ROOT, Stack
from shared.storage.dynamo import Table, unmarshal
from shared.storage.registry import Registry
from shared.tenant import Tenant
from tests.customers_cli.conftest import PLACES
from tests.customers_cli.invoking import Ended, clean, customers, files_in, process

NAME = "Ottilie Kommando"


@dataclass(frozen=True)
class Shop:
    """A store that was registered by the command.

    Attributes:
        place: ``local`` or ``deployed``.
        environment: that names the place.
        customer: Stripe's id of its first customer, whose events came before the registration.
    """

    stack: Stack
    place: str
    environment: dict[str, str]
    target: str
    customer: str

    @property
    def store(self) -> str:
        return f"cli-{self.place}"

    @property
    def account(self) -> str:
        return f"acct_cli{self.place}"

    def run(self, *arguments: str) -> Ended:
        """Run a command on the place; it has said what it works on."""
        ran = customers(*arguments, **self.environment)
        assert ran.target == self.target, ran.err
        return ran

    def items(self, table: str) -> list[dict[str, Any]]:
        """Every item of this store in a table, by the name of its output."""
        pages = (
            self.stack.client("dynamodb")
            .get_paginator("scan")
            .paginate(TableName=self.stack.outputs[table], ConsistentRead=True)
        )
        items = (unmarshal(item) for page in pages for item in page["Items"])
        return [item for item in items if item["pk"].startswith(f"{self.store}#")]

    def customer_id(self, name: str) -> str:
        token = self.stack.token(self.store)
        found = requests.get(
            f"{self.stack.url}/v1/customers",
            params={"search": name},
            headers={"Authorization": f"Bearer {token}"},
            timeout=20,
        ).json()
        (row,) = found["items"]
        return str(row["customer_id"])


def happen(stack: Stack, account: str, do: str, **args: Any) -> str:
    """Let something happen in a connected account, and wait for its events; the object's id."""
    control = f"{stack.stripe_url}/_control"
    steps = [{"do": do, "args": args, "account": account}]
    answer = requests.post(f"{control}/scenarios", json={"steps": steps}, timeout=60)
    assert answer.ok, answer.text
    requests.post(f"{control}/drain", json={"timeout": 60}, timeout=90).raise_for_status()
    return str(answer.json()["list"][0]["id"])


@pytest.fixture(scope="module", params=PLACES)
def shop(request: pytest.FixtureRequest, stack: Stack, cli_folder: Path) -> Shop:
    place = str(request.param)
    environment = PLACES[place](stack, cli_folder)
    target = "stack customers in us-east-1"
    if place == "local":
        target = f"local run in {stack.data_dir}"
    account = f"acct_cli{place}"
    customer = happen(stack, account, "create_customer", name=NAME, email="o@cli.example")
    product = happen(stack, account, "create_product", name="Without a chat")
    happen(stack, account, "buy_one_off", customer=customer, product=product)
    made = Shop(stack, place, environment, target, customer)
    ran = made.run("store", "add", made.store, account)
    assert (ran.code, ran.out) == (0, f"{account} belongs to the store {made.store}.\n")
    # What came before the registration was parked, and is applied now.
    ran = made.run("replay", made.store, "--rate", "100")
    assert ran.code == 0, ran
    assert re.search(r"parked events: \d+ applied", ran.out)
    assert "The sweep did: {" in ran.out
    return made


# -- stores ----------------------------------------------------------------------------------------


def test_replay_applied_what_was_parked(shop: Shop) -> None:
    profiles = [item for item in shop.items("RecordsTableName") if item["sk"] == "PROFILE"]
    assert [item["pk"] for item in profiles] == [Tenant(shop.store).account_pk(shop.customer)]


def test_stores_are_listed_with_their_accounts(shop: Shop) -> None:
    ran = shop.run("store", "list")
    assert ran.code == 0
    lines = dict(line.split(maxsplit=1) for line in ran.out.splitlines())
    assert lines[shop.store] == shop.account
    assert lines["demo"] == "the platform's own account, default store"


def test_an_account_of_another_store_is_not_taken(shop: Shop) -> None:
    ran = customers("store", "add", "cli-thief", shop.account, **shop.environment)
    assert ran.code == 1
    assert ran.sentence.startswith(f"{shop.account} belongs to another store")
    assert ran.target is None
    assert "cli-thief" not in customers("store", "list", **shop.environment).out


def test_a_store_is_removed_with_all_its_accounts_and_its_data_stays(shop: Shop) -> None:
    store, accounts = f"{shop.store}-2", [f"{shop.account}{n}" for n in (1, 2)]
    for account in accounts:
        assert shop.run("store", "add", store, account).code == 0
    key = Tenant(store).products_pk()
    records = Table(shop.stack.client("dynamodb"), shop.stack.outputs["RecordsTableName"])
    records.put({"pk": key, "sk": "PRODUCT#1", "name": "kept"})
    try:
        ran = shop.run("store", "remove", store)
        assert ran.code == 0
        assert ran.out.startswith(f"The store {store} is no longer registered for ")
        assert all(account in ran.out for account in accounts)
        assert "Its data stays." in ran.out
        assert store not in shop.run("store", "list").out.split()
        for account in accounts:
            assert records.get("REGISTRY", f"STORE#{account}") is None
        assert records.get(key, "PRODUCT#1") is not None
        again = customers("store", "remove", store, **shop.environment)
        assert (again.code, again.target) == (1, None)
        assert "is not registered" in again.sentence
        # By its data it is known still; without an account there is nothing to read.
        ran = customers("backfill", store, **shop.environment)
        assert (ran.code, ran.target) == (1, None)
        assert "has no Stripe account" in ran.sentence
    finally:
        records.delete(key, "PRODUCT#1")


# -- work on a store -------------------------------------------------------------------------------


def test_backfill_reads_the_stores_account(shop: Shop) -> None:
    before = shop.items("RecordsTableName")
    ran = shop.run("backfill", shop.store, "--rate", "100")
    assert ran.code == 0, ran
    assert re.search(r"^ +\d+ customers$", ran.out, re.MULTILINE)
    assert "requests to Stripe. The sweep did: {" in ran.out
    assert any(re.match(r" *\d+% live: customers: ", line) for line in ran.err)
    assert {item["pk"] for item in shop.items("RecordsTableName")} == {i["pk"] for i in before}
    assert not list(Path(shop.environment["DATA_DIR"]).glob("backfill-*"))


def test_reindex_tells_and_repairs_what_differs(shop: Shop) -> None:
    ran = shop.run("reindex", shop.store)
    assert (ran.code, ran.out.split()[0]) == (0, "0")
    row = next(item for item in shop.items("CustomerIndexTableName") if "#G|" in item["pk"])
    key = {name: {"S": row[name]} for name in ("pk", "sk")}
    table = shop.stack.outputs["CustomerIndexTableName"]
    shop.stack.client("dynamodb").delete_item(TableName=table, Key=key)
    ran = shop.run("reindex", shop.store)
    assert (ran.code, ran.out) == (
        1,
        "1 differences between the list and the records, now repaired.\n",
    )
    assert row in shop.items("CustomerIndexTableName")
    assert shop.run("reindex", shop.store).code == 0


@pytest.mark.parametrize("buys", [True, False], ids=["a buyer", "who never bought"])
def test_a_person_is_exported_and_forgotten(shop: Shop, buys: bool) -> None:
    customer = happen(shop.stack, shop.account, "create_customer", name="Gerda Vergissmich")
    if buys:
        made = happen(shop.stack, shop.account, "create_product", name="Without a chat")
        sold = {"customer": customer, "product": made}
        bought = happen(shop.stack, shop.account, "subscribe", **sold)
        happen(shop.stack, shop.account, "cancel_subscription", id_=bought)
        customer = shop.customer_id("Vergissmich")
    ran = shop.run("export", shop.store, customer)
    assert ran.code == 0
    assert "Gerda Vergissmich" in ran.out
    assert json.loads(ran.out)["store"] == shop.store
    ran = shop.run("forget", shop.store, customer)
    assert ran.code == 0
    assert ran.out.startswith(f"{customer} is forgotten: ")
    kept = json.dumps(shop.items("RecordsTableName"), default=sorted)
    assert "Vergissmich" not in kept
    assert NAME in kept
    if buys:  # what money moved stays, without a name
        return
    for command in ("export", "forget"):
        ran = customers(command, shop.store, customer, **shop.environment)
        assert (ran.code, ran.target, ran.out) == (1, None, "")
        assert ran.sentence == f"The store {shop.store} has no customer with this id."


# -- work on the stack -----------------------------------------------------------------------------


def test_the_sweep_runs_and_is_told_as_json(shop: Shop) -> None:
    ran = shop.run("sweep")
    assert ran.code == 0
    assert json.loads(ran.out)["finished"] is True


def test_the_bot_is_switched_off_and_on_and_goes_on_after_a_pause(shop: Shop) -> None:
    made = "Removals are made.\n"
    assert shop.run("bot", "show").out == made
    try:
        assert shop.run("bot", "off").out.startswith("Removals are switched off")
        assert shop.run("bot", "show").out.startswith("Removals are switched off")
    finally:
        assert shop.run("bot", "on").out == made
    records = Table(shop.stack.client("dynamodb"), shop.stack.outputs["RecordsTableName"])
    state = {"pk": "BOT", "sk": "STATE", "paused_until": 4_000_000_000, "pause_reason": "Wait."}
    records.put(state)
    try:
        assert shop.run("bot", "show").out.startswith("Paused until ")
    finally:
        assert shop.run("bot", "resume").out == made


def test_the_doctor_checks_the_place_it_was_asked_about(shop: Shop) -> None:
    ran = shop.run("doctor")
    subjects = dict(re.findall(r"^(?:ok  |MEND) (.+?): (.*)$", ran.out, re.MULTILINE))
    assert subjects["cursor secret"] == "there"
    if shop.place == "deployed":
        # The emulator has no backups, and Stripe's stand-in sends to the local run's address.
        assert ran.code == 1
        assert "Add one at Stripe: https://" in ran.out
        assert subjects["point-in-time recovery"] == "off"
    else:
        assert subjects["webhook endpoint, live mode"].startswith("gets all")
        assert "point-in-time recovery" not in subjects
    assert ran.out.endswith("to mend.\n" if ran.code else "All is well.\n")


def test_a_token_is_printed_for_the_local_run_only(shop: Shop) -> None:
    ran = customers("token", shop.store, **shop.environment)
    if shop.place == "deployed":
        assert (ran.code, ran.out) == (2, "")
        assert "are made by its login" in ran.sentence
        return
    assert (ran.code, ran.err) == (0, [])
    token = ran.out.removesuffix("\n")
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", token)
    headers = {"Authorization": f"Bearer {token}"}
    listed = requests.get(f"{shop.stack.url}/v1/customers", headers=headers, timeout=20)
    assert listed.status_code == 200


def test_the_console_is_published_to_a_deployed_stack_only(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "DIST", tmp_path)
    if shop.place == "local":
        ran = customers("console", "deploy", **shop.environment)
        assert (ran.code, ran.target) == (2, None)
        assert "--stack" in ran.sentence
        return
    ran = customers("console", "deploy", **shop.environment)
    assert (ran.code, ran.target) == (2, None)
    assert ran.sentence == f"{tmp_path} holds no console: run `make console`."
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "notes.docx").write_text("?")
    ran = customers("console", "deploy", **shop.environment)
    assert ran.code == 2
    assert ran.sentence == "The build holds files of no known type: notes.docx."
    (tmp_path / "notes.docx").unlink()
    ran = shop.run("console", "deploy")
    assert ran.code == 0, ran
    bucket = shop.stack.outputs["ConsoleBucketName"]
    assert ran.out.startswith(f"2 files are in {bucket}; the console is at https://")
    listed = shop.stack.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert {one["Key"] for one in listed} == {"config.json", "index.html"}


# -- options, and processes ------------------------------------------------------------------------


def test_the_target_may_be_named_before_within_and_after_the_command(
    stack: Stack, cli_folder: Path
) -> None:
    environment = PLACES["deployed"](stack, cli_folder)
    del environment["STACK"], environment["AWS_REGION"]
    target = ("--stack", "customers", "--region", "us-east-1")
    for arguments in (
        (*target, "bot", "show"),
        ("bot", *target, "show"),
        ("bot", "show", *target),
        ("--stack", "customers", "bot", "--region", "us-east-1", "show", "--stack", "customers"),
    ):
        ran = customers(*arguments, **environment)
        assert (ran.code, ran.target) == (0, "stack customers in us-east-1"), ran


def test_an_option_counts_more_than_the_environment(stack: Stack, cli_folder: Path) -> None:
    environment = {**PLACES["deployed"](stack, cli_folder), "STACK": "nowhere"}
    ran = customers("--stack", "customers", "bot", "show", **environment)
    assert ran.target == "stack customers in us-east-1"
    ran = customers("bot", "show", "--data-dir", str(stack.data_dir), DATA_DIR="/nowhere")
    assert ran.target == f"local run in {stack.data_dir}"


def test_the_command_in_the_virtual_environment_does_the_same(stack: Stack) -> None:
    command = Path(sys.executable).with_name("customers")
    if not command.exists():
        pytest.skip("make install puts it there")
    ran = subprocess.run(
        [command, "token", "demo"],
        cwd=stack.data_dir,
        env=clean({"DATA_DIR": str(stack.data_dir)}),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", ran.stdout)
    assert ran.stderr == ""


def test_make_prints_a_token_and_nothing_else(stack: Stack) -> None:
    ran = subprocess.run(
        ["make", "-s", "token", "STORE=shop-9", f"DATA_DIR={stack.data_dir}"],
        cwd=ROOT,
        env=clean({}),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", ran.stdout)


# A shell's background job ignores Ctrl-C, and so does whatever it starts: these tests, too.
MINDS_CTRL_C = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("customers_cli", run_name="__main__", alter_sys=True)
"""


def test_a_process_that_is_stopped_keeps_how_far_it_got(stack: Stack, cli_folder: Path) -> None:
    """At two requests a second the backfill is somewhere in the middle when Ctrl-C comes."""
    environment = PLACES["deployed"](stack, cli_folder)
    happen(stack, "acct_clistopped", "create_customer", name="Gustav Halt")
    assert customers("store", "add", "cli-stopped", "acct_clistopped", **environment).code == 0
    running = subprocess.Popen(
        [sys.executable, "-c", MINDS_CTRL_C, "backfill", "cli-stopped", "--rate", "2"],
        cwd=ROOT,
        env=clean(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    kept = cli_folder / "backfill-000000000000-us-east-1-customers-cli-stopped.json"
    until = time.monotonic() + 30
    while not kept.exists() and time.monotonic() < until:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    ended = Ended(running.returncode, out, err.splitlines())
    assert (ended.code, ended.target, out) == (130, "stack customers in us-east-1", "")
    assert ended.sentence == "Stopped; it goes on where it stopped when it is run again."
    assert json.loads(kept.read_text())["step"] == "live: customers"
    # The local run has the same store of the same name, and its own progress.
    again = process("backfill", "cli-stopped", "--rate", "100", **environment)
    assert again.code == 0, again
    assert re.search(r"^ +1 customers$", again.out, re.MULTILINE)
    assert not kept.exists()


def test_nothing_is_kept_of_what_was_finished(cli_folder: Path) -> None:
    assert files_in(cli_folder) == {}


# -- chats -----------------------------------------------------------------------------------------


def test_a_chat_is_unverified_until_the_operator_approves_it(shop: Shop) -> None:
    chat = f"-10019000{zlib.crc32(shop.store.encode()):010d}"
    args = {"name": "Club", "telegram_chat_ids": chat}
    happen(shop.stack, shop.account, "create_product", **args)
    ran = shop.run("chat", "list", shop.store)
    assert ran.code == 1
    assert f"{chat}  unverified: It is not proven that {chat} is your chat." in ran.out
    ran = shop.run("chat", "approve", shop.store, chat)
    assert (ran.code, ran.out) == (0, f"The chat {chat} belongs to the store {shop.store}.\n")
    assert "unverified" not in shop.run("chat", "list", shop.store).out
    thief = customers("chat", "approve", "demo", chat, **shop.environment)
    assert (thief.code, thief.target) == (1, None)
    assert thief.sentence == f"The chat {chat} belongs to another store already."


def test_telegram_owners_of_a_store_are_registered_and_taken_back(shop: Shop) -> None:
    ran = shop.run("store", "add", shop.store, "--telegram-owner", "4711")
    assert ran.code == 0
    assert ran.out.startswith(f"Telegram user 4711 is an owner of the store {shop.store}.")
    records = Table(shop.stack.client("dynamodb"), shop.stack.outputs["RecordsTableName"])
    registry = Registry(records, "demo")
    assert registry.telegram_owners(Tenant(shop.store)) == {"4711"}
    ran = shop.run("store", "add", shop.store, "--not-telegram-owner", "4711")
    assert ran.code == 0
    assert registry.telegram_owners(Tenant(shop.store)) == frozenset()


@pytest.mark.parametrize("user", ["-100", "@ada", "0"])
def test_a_telegram_owner_has_a_numeric_id(shop: Shop, user: str) -> None:
    ran = customers("store", "add", shop.store, "--telegram-owner", user, **shop.environment)
    assert (ran.code, ran.target) == (2, None)
