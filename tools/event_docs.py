"""``make docs``: writes the list of events in docs/stripe-events.md anew.

``python -m tools.event_docs snapshot`` (or ``thin``) prints the names as a JSON list, and ``form``
prints them as fields of a form: what Stripe is given when a destination is made.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from shared.stripe_events.events import HANDLERS
from shared.stripe_events.thin import thin_type

PAGE = Path(__file__).resolve().parent.parent / "docs" / "stripe-events.md"
BEGIN, END = "<!-- written by make docs: begin -->", "<!-- written by make docs: end -->"


def listed(kind: str) -> str:
    """The names of all events: ``snapshot`` and ``thin`` as JSON, ``form`` as a form's fields."""
    if kind == "form":
        return "&".join(f"enabled_events[]={name}" for name in HANDLERS)
    thin = [name for name in map(thin_type, HANDLERS) if name is not None]
    return json.dumps(list(HANDLERS) if kind == "snapshot" else thin)


def table() -> str:
    """One row for each event."""
    rows = ["| snapshot event | thin event | why |", "|---|---|---|"]
    for name, row in HANDLERS.items():
        thin = thin_type(name)
        rows.append(f"| `{name}` | {f'`{thin}`' if thin else '-'} | {row.why} |")
    return "\n".join(rows)


def page() -> str:
    """The text of docs/stripe-events.md, with the list as it is in the code."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", nargs="?", choices=("snapshot", "thin", "form"))
    kind = parser.parse_args().kind
    if kind is None:
        PAGE.write_text(page())
    else:
        print(listed(kind))


if __name__ == "__main__":
    main()
