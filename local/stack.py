"""The local run: everything the project needs, on loopback, with data that lasts.

``python -m local.stack`` (``make run``) starts

- **dynoxide**: DynamoDB in one SQLite file;
- **ministack**: Lambda, API Gateway, Scheduler, EventBridge, SQS and Secrets Manager, with the
  project's own template.yaml deployed to it;
- the stand-ins for **Stripe** and **Telegram**, where no others are named;
- the **front**: console, API and login on one port.

Every port but the front's is chosen free, so several stacks run side by side. What must last is
in DynamoDB and in the stand-ins' files; ministack is deployed to afresh at every start and its
one-time schedules are made again from the records. A process that dies is started again.
"""

from __future__ import annotations

import fcntl
import json
import os
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from local.deploy import Aws, deploy
from local.function_logs import FunctionLogs
from local.issuer import AUDIENCE, STORE_CLAIM, Issuer, issuer_url
from local.processes import (
    LOOPBACK,
    Child,
    NotReady,
    answers,
    clean_environment,
    free_port,
    is_free,
    listens,
)
from local.running import ACCOUNT, REGION, SECRET_KEY, Running, State

ROOT = Path(__file__).parent.parent
DYNOXIDE = ROOT / ".tools" / "dynoxide"
DEFAULT_STORE = "demo"
REVOKER = "RevokerFunctionArn"

FRONT = "front"
DYNAMODB = "dynoxide"
AWS = "ministack"
STRIPE = "stripe"
TELEGRAM = "telegram"


@dataclass(frozen=True)
class Options:
    """How to run; all but ``root``, ``stripe_event_source`` and ``sweep_minutes`` are variables of
    ``make run``.

    Attributes:
        data_dir: folder of everything that lasts.
        port: of the front, 0 for a free one.
        seed: demo customers to make at the first start.
        stripe_api_base: where Stripe's API answers; ``None`` starts the stand-in.
        stripe_secret_key: one or two keys, comma-separated; of two the prefix tells the mode.
        stripe_webhook_secret: one or more secrets, comma-separated.
        stripe_events: how the stand-in sends events: ``snapshot``, ``thin`` or ``both``.
        telegram_api_base: where the Bot API answers; ``None`` starts the stand-in.
        telegram_bot_token: of the bot.
        root: the checkout whose template and functions run.
        stripe_event_source: partner event source whose bus, rule and queue are made; empty: none.
            Only for trials of the queue: nobody can put events on such a bus here.
        sweep_minutes: minutes between two sweeps.
        settle_seconds: how long an end that an event told waits before anybody is removed.
    """

    data_dir: Path
    port: int = 8080
    seed: int = 0
    stripe_api_base: str | None = None
    stripe_secret_key: str = "sk_live_local,sk_test_local"
    stripe_webhook_secret: str = "whsec_local"
    stripe_events: str = "snapshot"
    telegram_api_base: str | None = None
    telegram_bot_token: str = "123456:LOCAL"
    root: Path = field(default=ROOT)
    stripe_event_source: str = ""
    sweep_minutes: int = 1
    settle_seconds: int = 5

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Options:
        """The variables of ``make run``; an empty one counts as not given.

        Raises:
            ValueError: PORT or SEED is no number, or STRIPE_EVENTS no way there is.
        """
        given = {name: value for name, value in environment.items() if value}
        return cls(
            data_dir=Path(given.get("DATA_DIR", ".data")),
            port=int(given.get("PORT", "8080")),
            seed=int(given.get("SEED", "200")),
            settle_seconds=int(given.get("SETTLE_SECONDS", cls.settle_seconds)),
            stripe_api_base=given.get("STRIPE_API_BASE"),
            stripe_secret_key=given.get("STRIPE_SECRET_KEY", cls.stripe_secret_key),
            stripe_webhook_secret=given.get("STRIPE_WEBHOOK_SECRET", cls.stripe_webhook_secret),
            stripe_events=_one_of(("snapshot", "thin", "both"), given.get("STRIPE_EVENTS")),
            telegram_api_base=given.get("TELEGRAM_API_BASE"),
            telegram_bot_token=given.get("TELEGRAM_BOT_TOKEN", cls.telegram_bot_token),
        )


def _one_of(known: Sequence[str], given: str | None) -> str:
    """One of several words; the first where none is given."""
    if given is not None and given not in known:
        raise ValueError(f"{given!r} is none of {', '.join(known)}")
    return given or known[0]


class Stack:
    """A running stack.

    ``with Stack(Options(data_dir=tmp_path, port=0)) as stack:`` starts and stops one;
    :meth:`kill` ends one of its processes as a crash would, and the stack starts it again.

    Attributes:
        url: of the front; the API is below ``/v1``.
        webhook_url: of the Stripe webhook.
        stripe_url: of Stripe's API, stand-in or not.
        telegram_url: of the Bot API, stand-in or not.
        aws: clients of the local AWS and DynamoDB.
        outputs: of the deployed template.
        children: the processes by name.
    """

    def __init__(self, options: Options) -> None:
        self.options = replace(options, data_dir=options.data_dir.resolve())
        self.data_dir = self.options.data_dir
        self.port = options.port or free_port()
        self.url = f"http://localhost:{self.port}"
        self.webhook_url = f"{self.url}/v1/webhooks/stripe"
        self._ports = {name: free_port() for name in (DYNAMODB, AWS, STRIPE, TELEGRAM)}
        self.aws = Aws(url=self._at(AWS), dynamodb_url=self._at(DYNAMODB))
        self.stripe_url = options.stripe_api_base or self._at(STRIPE)
        self.telegram_url = options.telegram_api_base or self._at(TELEGRAM)
        self.outputs: dict[str, str] = {}
        self.children: dict[str, Child] = {}
        self._running = Running(self.data_dir)
        self._api_host: str | None = None
        self._stopping = threading.Event()
        self._changing = threading.RLock()
        self._keeper: threading.Thread | None = None
        self._lock: IO[str] | None = None

    def _at(self, name: str) -> str:
        return f"http://{LOOPBACK}:{self._ports[name]}"

    # -- life ----------------------------------------------------------------------------------

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything; returns when the API answers and the demo data is there.

        Raises:
            NotReady: a process did not come up; the message names its log.
            RuntimeError: the port or the data folder is in use, or the deployment failed.
        """
        if not is_free(self.port):
            raise RuntimeError(f"port {self.port} is in use: choose another one with PORT=")
        self._claim_data()
        started = threading.Event()
        failure: list[BaseException] = []

        def keep() -> None:
            # Children live as long as the thread that started them: this one.
            try:
                self._start_all()
            except BaseException as error:  # noqa: BLE001 - raised by start()
                failure.append(error)
                return
            finally:
                started.set()
            while not self._stopping.wait(0.2):
                self._restart_dead()

        def collect() -> None:
            logs = FunctionLogs(self.client("logs"), self.data_dir / "logs" / "functions.log")
            while not self._stopping.wait(1):
                logs.collect()

        keeper = threading.Thread(target=keep, name="local-stack", daemon=True)
        keeper.start()
        self._keeper = keeper  # once it runs: stop() joins it, and may come at any moment
        threading.Thread(target=collect, name="function-logs", daemon=True).start()
        while not started.wait(0.2):
            pass
        if failure:
            self.stop()
            raise failure[0]

    def stop(self) -> None:
        """Stop everything; the data stays."""
        self._stopping.set()
        with self._changing:
            for child in self.children.values():
                child.terminate()
            for child in self.children.values():
                child.wait_ended()
        if self._keeper is not None:
            self._keeper.join()
        self._running.remove()
        shutil.rmtree(self.data_dir / "tmp", ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    def kill(self, name: str) -> None:
        """End one process as a crash would; it is started again."""
        self.children[name].kill()

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait until every process runs and the API answers.

        Raises:
            NotReady: the time is up.
        """
        deadline = time.monotonic() + seconds
        answering = answers(f"{self.url}/v1/openapi.json")
        children = self.children.values()
        while not (all(child.alive and child.ready() for child in children) and answering()):
            if self._stopping.is_set():
                raise NotReady("the stack was stopped")
            if time.monotonic() > deadline:
                logs = self.data_dir / "logs"
                raise NotReady(f"the stack did not answer within {seconds:g} s: see {logs}")
            time.sleep(0.1)

    # -- use -----------------------------------------------------------------------------------

    @property
    def issuer(self) -> Issuer:
        return Issuer(issuer_url(self.port), self.data_dir / "issuer.pem")

    def token(self, store: str = DEFAULT_STORE, **claims: Any) -> str:
        """A JWT for a store; ``claims`` replace the usual ones."""
        return self.issuer.token(store, claims=claims)

    def sweep(self) -> Any:
        """Run the sweep once, now; what the revoker answered is returned."""
        return invoke(self.aws, self.outputs[REVOKER], {})

    def client(self, service: str) -> Any:
        """A boto3 client of the local AWS."""
        return self.aws.client(service)

    # -- starting ------------------------------------------------------------------------------

    def _claim_data(self) -> None:
        for folder in ("logs", "tmp"):
            (self.data_dir / folder).mkdir(parents=True, exist_ok=True)
        # What a killed stack left of its functions' working copies.
        for left in (self.data_dir / "tmp").iterdir():
            shutil.rmtree(left, ignore_errors=True)
        lock = (self.data_dir / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise RuntimeError(f"another stack runs on {self.data_dir}") from None
        self._lock = lock

    def _start_all(self) -> None:
        self._running.remove()
        self.children = {child.name: child for child in self._define()}
        with self._changing:
            if self._stopping.is_set():
                raise NotReady("the stack was stopped")
            for child in self.children.values():
                child.start()
        for child in self.children.values():
            if child.name != FRONT:
                child.wait_ready()
        self._deploy()
        self.children[FRONT].wait_ready()
        self._seed()
        self._tell(ready=True)
        self.wait_ready()

    def _define(self) -> list[Child]:
        environment = clean_environment()
        data = self.data_dir
        python = [sys.executable, "-m"]

        def child(name: str, command: list[str], ready: Any, **more: str) -> Child:
            return Child(
                name,
                command,
                {**environment, **more},
                ready,
                log=data / "logs" / f"{name}.log",
                directory=ROOT,
            )

        file = str(data / "dynamodb.sqlite")
        children = [
            child(
                DYNAMODB,
                [str(DYNOXIDE), "serve", "--port", str(self._ports[DYNAMODB]), "--db-path", file],
                listens(self._ports[DYNAMODB]),
            ),
            child(
                AWS,
                [*python, "ministack"],
                answers(f"{self._at(AWS)}/_ministack/ready"),
                GATEWAY_PORT=str(self._ports[AWS]),
                BIND_HOST=LOOPBACK,
                AWS_ENDPOINT_URL_DYNAMODB=self._at(DYNAMODB),
                MINISTACK_ACCOUNT_ID=ACCOUNT,
                MINISTACK_REGION=REGION,
                IOT_MTLS_ENABLED="0",
                SFTP_ENABLED="0",
                PERSIST_STATE="0",
                AUTH="true",  # roles' policies hold, but for the tables, which are not its own
                AWS_ACCESS_KEY_ID=ACCOUNT,
                AWS_SECRET_ACCESS_KEY=SECRET_KEY,
                TMPDIR=str(data / "tmp"),
            ),
        ]
        if self.options.stripe_api_base is None:
            arguments = {
                "--port": str(self._ports[STRIPE]),
                "--data-dir": str(data / "stripe"),
                "--webhook-url": self.webhook_url,
                "--webhook-secret": self.options.stripe_webhook_secret.split(",")[0],
                "--api-key": self.options.stripe_secret_key,
                "--payload": self.options.stripe_events,
            }
            flat = [text for pair in arguments.items() for text in pair]
            children.append(
                child(
                    STRIPE,
                    [*python, "standins.stripe", *flat],
                    listens(self._ports[STRIPE]),
                )
            )
        if self.options.telegram_api_base is None:
            arguments = {
                "--port": str(self._ports[TELEGRAM]),
                "--data-dir": str(data / "telegram"),
                "--token": self.options.telegram_bot_token,
            }
            flat = [text for pair in arguments.items() for text in pair]
            children.append(
                child(
                    TELEGRAM,
                    [*python, "standins.telegram", *flat],
                    answers(f"{self._at(TELEGRAM)}/_control/ready"),
                )
            )
        arguments = {"--data-dir": str(data), "--port": str(self.port)}
        flat = [text for pair in arguments.items() for text in pair]
        children.append(
            child(
                FRONT,
                [*python, "local.front", *flat],
                answers(f"{issuer_url(self.port)}/jwks.json"),
            )
        )
        return children

    def _deploy(self) -> None:
        """Deploy to an empty ministack, and give it back what it had to remember."""
        deployed = deploy(
            self.aws,
            root=self.options.root,
            parameters={
                "JwtIssuer": issuer_url(self.port),
                "JwtAudience": AUDIENCE,
                "StoreClaim": STORE_CLAIM,
                "DefaultStore": DEFAULT_STORE,
                "ConsoleOrigin": self.url,
                "SweepMinutes": str(self.options.sweep_minutes),
                "SettleSeconds": str(self.options.settle_seconds),
                "StripeEventSource": self.options.stripe_event_source,
                "StripeApiBase": self.stripe_url,
                "TelegramApiBase": self.telegram_url,
            },
            secrets=self._secrets(),
        )
        self.outputs = deployed.outputs
        self._api_host = f"{deployed.api_id}.execute-api.localhost:{self._ports[AWS]}"
        self._restore_schedules()
        # What became due while nothing ran, without waiting for the first sweep of the schedule.
        self.client("lambda").invoke(
            FunctionName=self.outputs[REVOKER], InvocationType="Event", Payload=b"{}"
        )
        self._tell(ready=False)

    def _secrets(self) -> dict[str, Any]:
        return {
            "StripeApiSecretArn": keys_by_mode(self.options.stripe_secret_key),
            "StripeWebhookSecretArn": {"secrets": self.options.stripe_webhook_secret.split(",")},
            "TelegramSecretArn": {"token": self.options.telegram_bot_token},
            "CursorSecretArn": {"key": self._cursor_key()},
        }

    def _cursor_key(self) -> str:
        """Kept, so that a cursor a caller holds outlives a restart."""
        file = self.data_dir / "cursor.key"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(48))
        return file.read_text()

    def _restore_schedules(self) -> None:
        """Make the one-time schedules again, in the revoker's own environment."""
        configuration = self.client("lambda").get_function_configuration(
            FunctionName=self.outputs[REVOKER]
        )
        environment = {
            **clean_environment(),
            **configuration["Environment"]["Variables"],
            "AWS_ENDPOINT_URL": self.aws.url,
            "AWS_ENDPOINT_URL_DYNAMODB": self.aws.dynamodb_url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }
        log_file = self.data_dir / "logs" / "restore.log"
        with log_file.open("ab") as log:
            restored = subprocess.run(
                [sys.executable, "-m", "local.restore"],
                env=environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=60,
            )
        if restored.returncode != 0 and not self._stopping.is_set():
            print(
                f"One-time schedules are not back, so ends come with the sweep: see {log_file}",
                file=sys.stderr,
            )

    def _seed(self) -> None:
        """Make the demo data once; a start that was cut short goes on where it stopped."""
        done = self.data_dir / "seeded"
        if done.exists() or not self.options.seed or self.options.stripe_api_base is not None:
            return
        with (self.data_dir / "logs" / "seed.log").open("ab") as log:
            seeded = subprocess.run(
                [
                    *(sys.executable, "-m", "local.seed"),
                    *("--stripe", self.stripe_url),
                    *("--customers", str(self.options.seed)),
                ],
                env=clean_environment(),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if seeded.returncode != 0:
            raise NotReady(f"the demo data could not be made: see {self.data_dir}/logs/seed.log")
        done.touch()

    def _tell(self, *, ready: bool) -> None:
        self._running.write(
            State(
                port=self.port,
                ready=ready,
                api_url=self.aws.url if self._api_host else None,
                api_host=self._api_host,
                aws_url=self.aws.url,
                dynamodb_url=self.aws.dynamodb_url,
                outputs=self.outputs,
            )
        )

    def _restart_dead(self) -> None:
        with self._changing:
            for child in self.children.values():
                if child.alive or self._stopping.is_set():
                    continue
                if child.name == AWS:
                    self._api_host = None
                    self._tell(ready=False)
                try:
                    child.start()
                    child.wait_ready()
                    if child.name == AWS:
                        self._deploy()
                        self._tell(ready=True)
                except (NotReady, RuntimeError, OSError) as error:
                    print(f"{child.name}: {error}", file=sys.stderr)
                    child.kill()  # the next round tries again
                    self._stopping.wait(1)


def keys_by_mode(text: str) -> dict[str, str]:
    """Stripe's keys, comma-separated, by mode: ``{"live": "sk_live_...", "test": "sk_test_..."}``.

    A single key is used for both. That a test key opens nothing live is Stripe's to say, and a
    server that stands in for Stripe may see it otherwise.
    """
    keys = [key.strip() for key in text.split(",") if key.strip()]
    modes = {"live" if "_live_" in key else "test": key for key in keys}
    return {mode: modes.get(mode, keys[0]) for mode in ("live", "test")} if keys else {}


def invoke(aws: Aws, function: str, event: Any) -> Any:
    """Invoke a function and wait for its answer.

    Raises:
        RuntimeError: it failed; the message is the function's own.
    """
    answer = aws.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
    payload = json.loads(answer["Payload"].read() or b"null")
    if "FunctionError" in answer:
        raise RuntimeError(f"the function failed: {payload}")
    return payload


def main() -> int:
    try:
        options = Options.from_environment(os.environ)
    except ValueError as error:
        print(
            "PORT, SEED and SETTLE_SECONDS must be numbers, STRIPE_EVENTS snapshot, thin or both: "
            f"{error}",
            file=sys.stderr,
        )
        return 2
    began = time.monotonic()
    stack = Stack(options)
    # A signal's handler runs between any two lines of the main thread, which does nothing but
    # wait. SimpleQueue's put may interrupt its own get; an Event's set would wait for itself.
    # https://docs.python.org/3/library/queue.html#queue.SimpleQueue.put
    happened: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def start() -> None:
        try:
            stack.start()
            happened.put(None)
        except BaseException as error:  # noqa: BLE001 - raised or told by the main thread
            happened.put(error)

    for number in (signal.SIGINT, signal.SIGTERM):
        # SIGINT too: a shell has it ignored by what it starts in the background.
        signal.signal(number, lambda *_: happened.put(KeyboardInterrupt()))
    threading.Thread(target=_end_with, args=(os.getppid(),), name="parent", daemon=True).start()
    starting = threading.Thread(target=start, name="start", daemon=True)
    starting.start()
    print(f"Starting on {stack.url}; logs are in {options.data_dir / 'logs'}.", flush=True)
    try:
        while (ended := happened.get()) is None:
            print(_greeting(stack, time.monotonic() - began), flush=True)
        raise ended
    except KeyboardInterrupt:
        print("\nStopping. The data stays.", flush=True)
        return 0
    except (NotReady, RuntimeError) as error:
        print(f"Could not start: {error}", file=sys.stderr)
        return 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # once is enough
            signal.signal(number, signal.SIG_IGN)
        stack.stop()
        starting.join()


def _end_with(parent: int) -> None:
    """Stop when ``make`` is gone: whoever killed it could not start it again on the same port."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


def _greeting(stack: Stack, seconds: float) -> str:
    token = f"make token STORE={DEFAULT_STORE}"
    if stack.data_dir != Path(".data").resolve():
        token += f" DATA_DIR={stack.data_dir}"
    api = f"{stack.url}/v1"
    return f"""Ready after {seconds:.1f} s.

  Console   {stack.url}/
  API       {api}    (described at {api}/openapi.json)
  Webhook   {stack.webhook_url}
  Stripe    {stack.stripe_url}
  Telegram  {stack.telegram_url}
  Token     {token}

  curl -H "Authorization: Bearer $({token})" {api}/customers

Ctrl-C stops all of it; the data stays in {stack.data_dir}."""


if __name__ == "__main__":
    sys.exit(main())
