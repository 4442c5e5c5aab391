"""Makes the one-time schedules again from the records. Runs in the revoker's environment.

The local Scheduler forgets them when it is stopped, which the real one never does. The sweep
would find everything all the same, but up to a minute late.
"""

from __future__ import annotations

from shared import compose
from shared.ending.drive import restore_schedules
from shared.storage.keys import DUE_INDEX, DUE_SHARDS, Key


def main() -> None:
    acting = compose.function("period_end_revoker").driver
    waiting = 0
    for shard in DUE_SHARDS:
        for item in acting.records.table.query_all(
            "due_shard = :shard", index=DUE_INDEX, shard=shard
        ):
            key = Key(item["pk"], item["sk"])
            if key.kind == "PURCHASE":
                restore_schedules(acting, key)
                waiting += 1
    print(f"purchases that wait for something: {waiting}")


if __name__ == "__main__":
    main()
