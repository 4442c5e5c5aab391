"""Prints a JWT for a store, and nothing else."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from local.front import issuer_url
from local.issuer import Issuer
from local.running import Running


def main() -> None:
    store = sys.argv[1] if len(sys.argv) > 1 else "demo"
    data_dir = Path(os.environ.get("DATA_DIR") or ".data")
    port = Running(data_dir).read().port or int(os.environ.get("PORT") or "8080")
    print(Issuer(issuer_url(port), data_dir / "issuer.pem").token(store))


if __name__ == "__main__":
    main()
