"""Processes that ingest; the store is that of the environment.

    python -m tests.pilots.testing_os.recording_process many NAME COUNT   # waits for a line; prints the answers
    python -m tests.pilots.testing_os.recording_process killed           # a child for each line HIT RUN_ID [ROOT]
    python -m tests.pilots.testing_os.recording_process killed-feed      # the same with a feed of three of this name

With a root a child also writes the tree there.
"""

from __future__ import annotations

import json
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.pilots.testing_os import run
from artifactstore.pilots.testing_os.feed import Failed, Submitted, ingest_each
from artifactstore.pilots.testing_os.provenance import stub_provenance
from tests.killed_children import kill_each
from tests.pilots.testing_os.judging import AS_OF, submission
from tests.pilots.testing_os.store import RecordStore, rules

if TYPE_CHECKING:
    from artifactstore.pilots.testing_os.ingesting import Outcome
    from artifactstore.pilots.testing_os.running import RunResult
    from artifactstore.registry.registry import Registry

PROGRAM = "tests.pilots.testing_os.recording_process"
SURFACES = ("cli", "web", "api")


def numbered(name: str, number: int) -> dict[str, object]:
    """A submission like no other's: several of them are of one repository and surface."""
    repo = f"org/repo-{number % 5}"
    return submission(
        {
            "/run_id": f"{name}-{number}",
            "/repo": repo,
            "/source/run_url": f"https://github.com/{repo}/actions/runs/1",
            "/timing/finished_at": f"2026-03-19T{number % 24:02}:00:00Z",
            "/scenario_results/0/product_surface": SURFACES[number % 3],
            "/overall_verdict": "pass" if number % 2 else "fail",
        }
    )


def record_store(registry: Registry) -> RecordStore:
    return RecordStore(registry, Settings.from_environment())


def many(name: str, count: int) -> None:
    with closing(open_registry()) as registry:
        store = record_store(registry)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        shared = [store.ingest(numbered("shared", number)).answer for number in range(count // 5)]
        own = [each.answer for each in feed(store, name, count) if not isinstance(each, Failed)]
    json.dump([shared, own], sys.stdout)


def run_one(store: RecordStore, run_id: str, root: Path) -> RunResult:
    payload = json.dumps(submission({"/run_id": run_id})).encode()
    return run(store.context, payload, root, stub_provenance, as_of=AS_OF)


def feed(store: RecordStore, name: str, count: int) -> list[Outcome | Failed]:
    texts = [json.dumps(numbered(name, number)).encode() for number in range(count)]
    submitted = [Submitted(name, partial(bytes, text)) for text in texts]
    return list(ingest_each(store.context, submitted, rules(), lambda _: None))


def record_as_told(registry: Registry, told: list[str]) -> None:
    store = record_store(registry)
    run_id, *root = told
    if root:
        run_one(store, run_id, Path(root[0]))
    else:
        store.ingest(submission({"/run_id": run_id}))


def feed_as_told(registry: Registry, told: list[str]) -> None:
    feed(record_store(registry), told[0], 3)


if __name__ == "__main__":
    if sys.argv[1] == "many":
        many(sys.argv[2], int(sys.argv[3]))
    else:
        kill_each(feed_as_told if sys.argv[1] == "killed-feed" else record_as_told)
