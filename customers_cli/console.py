"""Puts the built console into the bucket of a deployment.

Files with a digest of their content in their name come first and are kept for good; then those
that say which of them to load, and are asked for anew each time. Files of earlier builds stay: a
page that is open still asks for them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

DIST = Path(__file__).parent.parent / "console" / "dist"

# The machine's own list of types may be missing, or say otherwise.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
_LASTING = "public, max-age=31536000, immutable"
_FRESH = "no-cache"


def publish(s3: Any, bucket: str, configuration: str, dist: Path = DIST) -> list[str]:
    """Put a build and its ``config.json`` into a bucket; the keys, in the order they were put.

    Args:
        s3: client.
        bucket: of the console.
        configuration: text of ``config.json``, the stack's output ``ConsoleConfig``.
        dist: folder of the build.

    Raises:
        FileNotFoundError: the console is not built.
        ValueError: the build holds a kind of file that is not served.
    """
    if not (dist / "index.html").is_file():
        raise FileNotFoundError(f"{dist} holds no console: make console")
    # CloudFront compresses by itself; the .gz beside each text are for the local run.
    files = [file for file in dist.rglob("*") if file.is_file() and file.suffix != ".gz"]
    bodies = {file.relative_to(dist).as_posix(): file.read_bytes() for file in files}
    bodies["config.json"] = configuration.encode()
    if unknown := sorted(key for key in bodies if Path(key).suffix not in _TYPES):
        raise ValueError(f"of no known type: {', '.join(unknown)}")
    # index.html last: what it names is there by then.
    keys = sorted(bodies, key=lambda key: (not key.startswith("assets/"), key == "index.html", key))
    for key in keys:
        s3.put_object(
            Bucket=bucket,
            Key=key,
            Body=bodies[key],
            ContentType=_TYPES[Path(key).suffix],
            CacheControl=_LASTING if key.startswith("assets/") else _FRESH,
        )
    return keys


def advice(outputs: Mapping[str, str]) -> str | None:
    """What is left to do before anybody can log in; ``None`` if nothing is."""
    url = outputs["ConsoleUrl"]
    if outputs["ConsoleOrigin"] == url:
        return None
    return (
        f"The login does not know this address yet:\n"
        f"  sam deploy --parameter-overrides ConsoleOrigin={url}"
    )


def main() -> int:
    stack = os.environ.get("STACK")
    if not stack:
        print("make deploy-console STACK=<name of the deployed stack>", file=sys.stderr)
        return 2
    try:
        described = boto3.client("cloudformation").describe_stacks(StackName=stack)
        outputs = {o["OutputKey"]: o["OutputValue"] for o in described["Stacks"][0]["Outputs"]}
        bucket = outputs["ConsoleBucketName"]
        keys = publish(boto3.client("s3"), bucket, outputs["ConsoleConfig"])
    except KeyError as error:
        print(f"{stack} has no output {error}: deploy this template first", file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(keys)} files are in {bucket}; the console is at {outputs['ConsoleUrl']}")
    if (left := advice(outputs)) is not None:
        print(left)
    return 0


if __name__ == "__main__":
    sys.exit(main())
