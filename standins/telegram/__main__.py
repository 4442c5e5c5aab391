"""``python -m standins.telegram --port P --data-dir D --token T``"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from pathlib import Path

from standins.telegram.server import TelegramStandin


def main() -> None:
    parser = argparse.ArgumentParser(prog="standins.telegram", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--data-dir", type=Path, help="without it nothing lasts")
    parser.add_argument("--token", default="123456:LOCAL")
    options = parser.parse_args()
    standin = TelegramStandin(token=options.token, data_dir=options.data_dir, port=options.port)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(standin.serve())


if __name__ == "__main__":
    main()
