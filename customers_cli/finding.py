"""What a check of the doctor says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        mend: what to do; ``None`` where all is well.
    """

    subject: str
    found: str
    mend: str | None = None
