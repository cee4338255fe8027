# ruff: noqa: D103, T201 - a script
"""Check an event log, without artifactstore.

    python check_event_log.py DATABASE [SEQ CHAIN]

DATABASE is a copy of artifactstore.db. SEQ and CHAIN (64 hex digits) are what you wrote down earlier: the event of that
number must still have that chain value. Needs Python 3.11 and: pip install blake3 cbor2. events.md describes the bytes.
Exit code 1: the log does not hold, and the first event that does not is named.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import cbor2
from blake3 import blake3

LOG_TAG = b"artifactstore event log v1\x00"
CHAIN_TAG = b"artifactstore event v1\x00"
REPEATED = ("seq", "at", "type", "subject", "actor")


def main(database: Path, known: dict[int, str]) -> int:
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return check(connection, known)


def check(connection: sqlite3.Connection, known: dict[int, str]) -> int:
    ((log_id,),) = connection.execute("SELECT log_id FROM event_log")
    rows = connection.execute("SELECT seq, at, type, subject, actor, header, chain, payload FROM event ORDER BY seq")
    chain, seq, latest_at = blake3(LOG_TAG + log_id).digest(), 0, 0
    for expected, row in enumerate(rows, start=1):
        *columns, header, recorded, payload = row
        chain = blake3(CHAIN_TAG + chain + header).digest()
        if recorded != chain:
            sys.exit(f"event {expected}: its chain value does not follow")
        document = cbor2.loads(header)
        seq = document["seq"]
        problems = {
            "its number is not the next one": seq != expected,
            "its time runs backwards": document["at"] < latest_at,
            "its columns disagree with its header": columns != [document[name] for name in REPEATED],
            "its payload is not the one of its header": document["payload_digest"] != blake3(payload).digest(),
            "its chain value is not the one you know": known.pop(seq, chain.hex()) != chain.hex(),
        }
        for problem in (text for text, found in problems.items() if found):
            sys.exit(f"event {expected}: {problem}")
        latest_at = document["at"]
    for missing in known:
        sys.exit(f"event {missing}: it is not in the log")
    print(f"log {log_id.hex()}\n{seq} events, chain {chain.hex()}")
    return 0


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if len(arguments) not in {1, 3}:
        sys.exit(__doc__)
    sys.exit(main(Path(arguments[0]), {int(arguments[1]): arguments[2]} if arguments[1:] else {}))
