"""Puts the built console into the bucket of a deployment.

Files with a digest of their content in their name are uploaded first and cached for ever. Then come
the files that name them; browsers check these each time. Files of earlier builds stay, because a
page that is open may still load them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from customers_cli.command import Run, command, new_app
from customers_cli.exits import Exit, Failure

app = new_app("Publish the console of a deployed stack.")

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


@command(app, again="run it again to finish it")
def deploy(run: Run) -> Exit:
    """Publish the built console (`make console`) in the bucket of a deployed stack.

    It says what is left to do before somebody can log in.
    """
    if run.choice.is_local:
        raise Failure("The local run shows the built console itself: name a deployed --stack")
    target = run.target
    bucket, configuration = target.output("ConsoleBucketName"), target.output("ConsoleConfig")
    url, left = target.output("ConsoleUrl"), advice(target.outputs)
    if not (DIST / "index.html").is_file():
        raise Failure(f"{DIST} holds no console: run `make console`")
    run.begin()
    try:
        keys = publish(target.aws("s3"), bucket, configuration, DIST)
    except ValueError as error:
        raise Failure(f"The build holds files {error}") from None
    print(f"{len(keys)} files are in {bucket}; the console is at {url}")
    if left is not None:
        print(left)
    return Exit.DONE
