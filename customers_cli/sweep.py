"""Runs the sweep once, now, and prints what it did."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from local.deploy import Aws
from local.running import Running
from local.stack import REVOKER, invoke


def main() -> int:
    running = Running(Path(os.environ.get("DATA_DIR") or ".data")).read()
    if running.aws_url is None or running.dynamodb_url is None or REVOKER not in running.outputs:
        print("Nothing is running: start it with `make run`.", file=sys.stderr)
        return 1
    aws = Aws(url=running.aws_url, dynamodb_url=running.dynamodb_url)
    try:
        done = invoke(aws, running.outputs[REVOKER], {})
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(done, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
