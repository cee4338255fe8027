"""Eight writers, plans that are applied, holds, readers, a collection every two seconds: space is exact to the byte.

Each is a process of its own. Thirty seconds on SQLite, ten minutes with ``LONG``; less on PostgreSQL and on S3.
Whatever was acknowledged is there or was deleted by a plan, and nothing lies in storage that nothing refers to.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.errors import PackageDeletedError
from artifactstore.registry.collecting import collect, space
from artifactstore.registry.packages import find_package
from artifactstore.registry.reconciling import reconcile
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKind
from tests.ledger import LONG, assert_no_gap, tell
from tests.retention import delete_all_expired, without_grace
from tests.s3_servers import BUCKET, S3Server, aws_environment, moto, take_as_probed  # noqa: F401 - fixtures
from tests.service import clean_environment, serving
from tests.soak_collection import Ledger, files_of, stays
from tests.support import fetch, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from artifactstore.registry.registry import Registry
    from tests.postgres_server import PostgresServer

# ruff: noqa: F811 - fixtures that are imported are named as arguments

WRITERS = 8
CYCLES = 300 if LONG else 3
"""Collections at least, however slow the machine."""
READERS = 2


def soak(environment: Mapping[str, str], folder: Path, seconds: float, cycles: int, writers: int) -> Counter[str]:
    """Let all of them run for so long; what they have counted."""
    folder.mkdir()
    cast = [("write", f"w{n}") for n in range(writers)] + [("read", f"r{n}") for n in range(READERS)]
    cast += [("delete", "deleter"), ("collect", "collector")]
    with ExitStack() as started:
        processes = []
        for role, label in cast:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.soak_collection", role, label, str(seconds), str(cycles), str(folder)],
                env={**clean_environment(), **environment},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            started.callback(process.communicate)
            started.callback(process.kill)
            processes.append(process)
        assert ["ready\n"] * len(cast) == [process.stdout.readline() for process in processes if process.stdout]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=3 * seconds + 180)[0] for process in processes]
        assert [0] * len(cast) == [process.returncode for process in processes]
    return sum((Counter(json.loads(each)) for each in said), Counter())


def check_what_was_acknowledged(registry: Registry, ledger: Ledger, folder: Path) -> list[str]:
    """Raises unless all that must be there is, byte for byte; what was deleted."""
    folder.mkdir()
    deleted = []
    for package_id, name in ledger.names.items():
        if find_package(registry, package_id)[0].status == "deleted":
            assert not ledger.must_be_there(package_id), f"{package_id} was deleted"
            with pytest.raises(PackageDeletedError):
                fetch(registry, package_id, folder / package_id)
            deleted.append(package_id)
        else:
            assert files_of(name) == fetch(registry, package_id, folder / package_id), package_id
    return deleted


def bytes_in(registry: Registry) -> dict[str, int]:
    return {info.key.path: info.size_bytes for kind in ObjectKind for info in registry.store.list(kind)}


def recorded(registry: Registry) -> dict[str, int]:
    with registry.catalog.snapshot() as queries:
        found = queries.objects(after=0, limit=10**6)
    return {f"{each.kind}s/blake3/{each.blake3.hex()}": each.size_bytes for each in found}


def check_that_space_is_exact(registry: Registry) -> int:
    """Delete and collect what is left; the bytes of all that stays. Raises unless the catalog has exactly that."""
    delete_all_expired(registry)
    hasty = without_grace(registry)
    left_behind = collect(hasty, wait_s=0, unrecorded=True)
    assert left_behind.is_done, left_behind
    planned = space(hasty, unrecorded=True).backends["default"]
    there = bytes_in(registry)
    total = sum(there.values())
    assert [total] * 4 == [
        planned.bytes_before,
        planned.expected_bytes_after,
        left_behind.backends["default"].bytes_after,
        sum(recorded(registry).values()),
    ]
    assert 0 == planned.unrecorded_objects == planned.dead_objects == planned.condemned_objects
    assert sorted(there.values()) == sorted(recorded(registry).values())
    assert reconcile(registry, limit=10).is_clean
    return total


def soaked(
    registry: Registry,
    environment: Mapping[str, str],
    tmp_path: Path,
    seconds: float,
    *,
    cycles: int = 3,
    writers: int = WRITERS,
) -> tuple[Counter[str], str]:
    """A whole soak, and all that must be so when it is over; what was counted, and that in words."""
    counted, ledger = soak(environment, tmp_path / "ledger", seconds, cycles, writers), Ledger()
    ledger.read_on(tmp_path / "ledger")

    check_what_was_acknowledged(registry, ledger, tmp_path / "between")
    total = check_that_space_is_exact(registry)
    deleted = check_what_was_acknowledged(registry, ledger, tmp_path / "out")

    assert {package_id for package_id in ledger.names if not ledger.must_be_there(package_id)} == set(deleted)
    assert [] == verify_all(registry).damage
    assert_no_gap(registry)
    events = replay_is_exact(registry).events
    assert counted["cycles"] >= cycles, counted
    assert min(counted["cycles that deleted"], counted["deleted"], counted["read"], counted["repacked"]) > 0, counted
    kept = sum(map(stays, ledger.names.values()))
    return counted, (
        f"{len(ledger.names)} packages acknowledged ({kept} to stay, {len(ledger.held)} held at the end),"
        f" {len(deleted)} deleted, 0 lost; {total} bytes in the end, exact; {events} events;"
        f" {dict(sorted(counted.items()))}"
    )


def test_a_soak(home: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    seconds = 600 if LONG else 30
    environment = {"ARTIFACTSTORE_HOME": str(home)}
    with closing(open_registry(Settings.from_environment(environment), actor="local:tester")) as registry:
        _, said = soaked(registry, environment, tmp_path, seconds, cycles=CYCLES)
        ledger = Ledger()
        ledger.read_on(tmp_path / "ledger")
        gone = [each for each in ledger.names if find_package(registry, each)[0].status == "deleted"]
    with serving(home) as server:
        for package_id in gone[:20]:
            answer = server.ask("GET", f"/packages/{package_id}/files/own/0")
            assert (410, "PACKAGE_DELETED") == (answer.status, answer.json["code"])
    tell(request, said)


def test_a_soak_on_postgresql(
    home: Path, tmp_path: Path, postgres: PostgresServer, request: pytest.FixtureRequest
) -> None:
    with ExitStack() as opened:
        environment = {
            "ARTIFACTSTORE_HOME": str(home),
            "ARTIFACTSTORE_DATABASE_URL": opened.enter_context(postgres.database()),
        }
        registry = opened.enter_context(
            closing(open_registry(Settings.from_environment(environment), actor="local:tester"))
        )
        tell(request, soaked(registry, environment, tmp_path, 120 if LONG else 10)[1])


def test_a_soak_on_s3(home: Path, tmp_path: Path, moto: S3Server, request: pytest.FixtureRequest) -> None:
    options = moto.settings()
    place = {"ARTIFACTSTORE_HOME": str(home), "ARTIFACTSTORE_STORAGE_URL": f"s3://{BUCKET}/{tmp_path.name}"}
    with closing(open_registry(Settings.from_environment({**options, **place}), actor="local:tester")) as registry:
        take_as_probed(registry)
        tell(request, soaked(registry, {**options, **place}, tmp_path, 60 if LONG else 10, writers=2)[1])
