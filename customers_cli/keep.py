"""How far unfinished work got, kept in a file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any


def keep(file: Path, progress: Any) -> None:
    """Replace a file with a dataclass, in one step: it never holds half of it."""
    aside = file.with_suffix(".new")
    aside.write_text(json.dumps(asdict(progress)))
    os.replace(aside, file)
