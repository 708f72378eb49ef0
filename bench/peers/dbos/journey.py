"""The saga benchmark on DBOS: five steps, each recorded in Postgres, none of which does anything.

Each of AT_ONCE threads calls the workflow directly under an id of its own, which is the cheapest way there is: no queue,
no polling, no network before the workflow begins.
"""

import json
import sys
import threading
import time
import uuid

from dbos import DBOS, SetWorkflowID

CONNECTIONS = 32


@DBOS.step()
def first() -> None: ...
@DBOS.step()
def second() -> None: ...
@DBOS.step()
def third() -> None: ...
@DBOS.step()
def fourth() -> None: ...
@DBOS.step()
def fifth() -> None: ...


@DBOS.workflow()
def journey() -> None:
    first()
    second()
    third()
    fourth()
    fifth()


def travel(counts_from: float, until: float, took_ms: list[float]) -> None:
    """Journey after journey; the list takes those that end within the time that counts."""
    while (begun := time.monotonic()) < until:
        with SetWorkflowID(str(uuid.uuid4())):
            journey()
        ended = time.monotonic()
        if counts_from <= ended < until:
            took_ms.append((ended - begun) * 1_000)


def main() -> None:
    url, at_once, warm_up_s, measured_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
    DBOS(
        config={
            "name": "journey-peer",
            "system_database_url": url.replace("postgres://", "postgresql+psycopg://", 1),
            "sys_db_pool_size": CONNECTIONS,
            "log_level": "ERROR",
            "run_admin_server": False,
        }
    )
    DBOS.launch()
    counts_from = time.monotonic() + warm_up_s
    took_ms: list[float] = []
    travelers = [
        threading.Thread(target=travel, args=(counts_from, counts_from + measured_s, took_ms)) for _ in range(at_once)
    ]
    for traveler in travelers:
        traveler.start()
    for traveler in travelers:
        traveler.join()
    DBOS.destroy()
    took_ms.sort()
    at = lambda share: took_ms[min(int(len(took_ms) * share), len(took_ms) - 1)]
    print(json.dumps({"per_s": len(took_ms) / measured_s, "p50_ms": at(0.5), "p99_ms": at(0.99)}))


if __name__ == "__main__":
    main()
