"""Takes out of the layer what no function ever loads: `python trim.py DIRECTORY`.

DIRECTORY holds installed packages. What is left still builds every client and imports every
module the functions import (tests/packaging). Files are replaced, never written to: an installer
may have linked them to its cache.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# What the functions ask of AWS: the methods of the client protocols in shared/storage, which
# tests/packaging compares with these. A client is made from the whole model of its service.
SERVICES = {
    "dynamodb": (
        "BatchGetItem",
        "DeleteItem",
        "GetItem",
        "PutItem",
        "Query",
        "Scan",
        "TransactWriteItems",
        "UpdateItem",
    ),
    "scheduler": ("CreateSchedule", "DeleteSchedule", "UpdateSchedule"),
    "secretsmanager": ("GetSecretValue",),
}
# botocore reads these of a service when it makes a client; paginators, waiters and examples are
# for features that are not used.
SERVICE_FILES = ("service-2", "endpoint-rule-set-1")

# The authorities behind AWS's own addresses (https://www.amazontrust.com/repository; DigiCert in
# China). A new connection reads its whole bundle, which for the usual one of over a hundred takes
# longer than everything else about it.
AUTHORITIES = ("Amazon Root CA", "Starfield Services Root", "DigiCert Global Root")
AUTHORITIES_FILE = "aws-authorities.pem"

# Of packages, what is imported by nothing that the functions import.
UNUSED = (
    # Type hints only, behind TYPE_CHECKING.
    "stripe/params",
    # Resources, each imported when it is asked for; the gateway sends raw requests.
    "stripe/apps",
    "stripe/billing",
    "stripe/billing_portal",
    "stripe/checkout",
    "stripe/climate",
    "stripe/entitlements",
    "stripe/events",
    "stripe/financial_connections",
    "stripe/forwarding",
    "stripe/identity",
    "stripe/issuing",
    "stripe/product_catalog",
    "stripe/radar",
    "stripe/reporting",
    "stripe/reserve",
    "stripe/sigma",
    "stripe/tax",
    "stripe/terminal",
    "stripe/test_helpers",
    "stripe/treasury",
    "stripe/v2/billing",
    "stripe/v2/commerce",
    "stripe/v2/money_management",
    # Guesses encodings where a server names none, for requests' Response.text, which neither
    # Stripe's SDK nor the Telegram gateway reads. Without it requests warns; see
    # PYTHONWARNINGS in template.yaml.
    "charset_normalizer",
    # Utilities that the functions don't use; each brings data or modules of its own.
    "aws_lambda_powertools/event_handler/openapi/swagger_ui",
    "aws_lambda_powertools/utilities/batch",
    "aws_lambda_powertools/utilities/circuit_breaker",
    "aws_lambda_powertools/utilities/data_masking",
    "aws_lambda_powertools/utilities/feature_flags",
    "aws_lambda_powertools/utilities/idempotency",
    "aws_lambda_powertools/utilities/kafka",
    "aws_lambda_powertools/utilities/parser",
    "aws_lambda_powertools/utilities/streaming",
    "aws_lambda_powertools/utilities/validation",
    "bin",
    ".lock",
)


def trim(root: Path) -> None:
    """Trim the packages installed in ``root``."""
    for name in UNUSED:
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for cache in list(root.rglob("__pycache__")):
        shutil.rmtree(cache)
    data = root / "botocore" / "data"
    for path in data.iterdir():
        if path.is_dir() and path.name not in SERVICES:
            shutil.rmtree(path)
    for service, operations in SERVICES.items():
        _trim_service(data / service, operations)
    _trim_endpoints(data / "endpoints.json")
    _write_authorities(root)


def _trim_service(folder: Path, operations: Sequence[str]) -> None:
    """Keep some operations of the newest version of a service's model, without documentation,
    uncompressed."""
    *older, newest = sorted(folder.iterdir())
    for version in older:
        shutil.rmtree(version)
    kept = {name: _read(newest / f"{name}.json.gz") for name in SERVICE_FILES}
    shutil.rmtree(newest)
    newest.mkdir()
    _keep_operations(kept["service-2"], operations)
    for name, model in kept.items():
        _write(newest / f"{name}.json", _without_documentation(model))


def _keep_operations(model: dict[str, Any], names: Sequence[str]) -> None:
    """Take out the other operations, and the shapes that only they refer to."""
    model["operations"] = {name: model["operations"][name] for name in names}
    shapes, needed = model["shapes"], set[str]()
    todo = _shapes_in(model["operations"])
    while todo:
        needed |= todo
        todo = {name for shape in todo for name in _shapes_in(shapes[shape])} - needed
    model["shapes"] = {name: shape for name, shape in shapes.items() if name in needed}


def _shapes_in(part: Any) -> set[str]:
    """The shapes that a part of a model refers to."""
    if isinstance(part, list):
        return {name for value in part for name in _shapes_in(value)}
    if not isinstance(part, dict):
        return set()
    referred = {part["shape"]} if isinstance(part.get("shape"), str) else set[str]()
    return referred | {name for value in part.values() for name in _shapes_in(value)}


def _without_documentation(model: Any) -> Any:
    """A model without its ``documentation`` texts (a member of a shape may have that name too)."""
    if isinstance(model, dict):
        return {
            name: _without_documentation(value)
            for name, value in model.items()
            if not (name == "documentation" and isinstance(value, str))
        }
    if isinstance(model, list):
        return [_without_documentation(value) for value in model]
    return model


def _trim_endpoints(path: Path) -> None:
    endpoints = _read(path)
    for partition in endpoints["partitions"]:
        services = partition["services"]
        partition["services"] = {name: services[name] for name in SERVICES if name in services}
    _write(path, endpoints)


def _write_authorities(root: Path) -> None:
    bundle = (root / "certifi" / "cacert.pem").read_text(encoding="utf-8")
    certificates = bundle.split("\n# Issuer: ")
    wanted = [text for text in certificates if any(f"CN={n}" in text for n in AUTHORITIES)]
    path = root / AUTHORITIES_FILE
    path.write_text("".join(f"# Issuer: {text}\n" for text in wanted), encoding="utf-8")


def _read(path: Path) -> Any:
    raw = path.read_bytes()
    return json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)


def _write(path: Path, value: Any) -> None:
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(value, separators=(",", ":")), encoding="utf-8")


if __name__ == "__main__":
    trim(Path(sys.argv[1]))
