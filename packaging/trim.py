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
from pathlib import Path
from typing import Any

SERVICES = ("dynamodb", "scheduler", "secretsmanager")
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
    # Resources of S3 and EC2, and the documentation's examples.
    "boto3/data",
    "boto3/ec2",
    "boto3/examples",
    # Utilities that the functions don't use; each brings data or modules of its own.
    "aws_lambda_powertools/event_handler/openapi/swagger_ui",
    "aws_lambda_powertools/utilities/batch",
    "aws_lambda_powertools/utilities/circuit_breaker",
    "aws_lambda_powertools/utilities/data_masking",
    "aws_lambda_powertools/utilities/feature_flags",
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
    for service in SERVICES:
        _trim_service(data / service)
    _trim_endpoints(data / "endpoints.json")
    _write_authorities(root)


def _trim_service(folder: Path) -> None:
    """Keep the newest version of a service's model, without its documentation, uncompressed."""
    *older, newest = sorted(folder.iterdir())
    for version in older:
        shutil.rmtree(version)
    kept = {name: _read(newest / f"{name}.json.gz") for name in SERVICE_FILES}
    shutil.rmtree(newest)
    newest.mkdir()
    for name, model in kept.items():
        _write(newest / f"{name}.json", _without_documentation(model))


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
