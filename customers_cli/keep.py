"""How far unfinished work got, kept in a file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any


def keep(file: Path, progress: Any) -> None:
    """Write a dataclass to a file, in one step: whoever is stopped leaves the old or the new."""
    aside = file.with_suffix(".new")
    aside.write_text(json.dumps(asdict(progress)))
    os.replace(aside, file)
