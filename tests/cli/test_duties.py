"""`artifactstore status` and `artifactstore duties run`, on a store without a server."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from artifactstore.bootstrap import open_registry
from artifactstore.domain.instant import MICROSECONDS_PER_DAY, Instant, system_clock
from artifactstore.registry.ingest import ingest
from artifactstore.testing.builders import package_draft
from tests.service import settings_of
from tests.support import run_cli

if TYPE_CHECKING:
    from pathlib import Path


def duties(home: Path) -> dict[str, dict[str, Any]]:
    return {duty["name"]: duty for duty in run_cli(home, "status").document["duties"]}


def record_long_ago(home: Path) -> str:
    """A package whose retention has ended."""
    with closing(open_registry(settings_of(home))) as registry:
        earlier = replace(registry, clock=lambda: Instant(system_clock() - 40 * MICROSECONDS_PER_DAY))
        return ingest(earlier, package_draft()).package_id


def test_without_a_server_what_is_due_is_overdue_until_it_is_run_by_hand(home: Path) -> None:
    package_id = record_long_ago(home)

    before, waiting = duties(home), run_cli(home, "status").document["counts"]
    ran = run_cli(home, "duties", "run")
    again = run_cli(home, "duties", "run")
    after = duties(home)

    assert (True, None, 1) == (before["sweep"]["overdue"], before["sweep"]["outcome"], waiting["packages_due"])
    assert (0, ["sweep", "expire-pushes"]) == (ran.code, [run["duty"] for run in ran.document["ran"]])
    assert {"ran": []} == again.document
    assert (False, {"expired": 1}) == (after["sweep"]["overdue"], after["sweep"]["detail"])
    assert "expired" == run_cli(home, "show", package_id).document["status"]


def test_a_sweep_by_hand_is_the_run_that_status_shows(home: Path) -> None:
    package_id = record_long_ago(home)

    swept = run_cli(home, "retention", "sweep").document

    assert {"expired": [package_id], "count": 1} == swept
    assert {"expired": 1} == duties(home)["sweep"]["detail"]


def test_a_run_of_which_a_part_fails_ends_with_its_own_code(home: Path) -> None:
    record_long_ago(home)
    with closing(open_registry(settings_of(home))) as registry, registry.transaction() as tx:
        tx.connection.execute("INSERT INTO duty (name, next_run_at, failures, position) VALUES ('verify', 0, 0, 0)")
    shutil.rmtree(home / "objects")

    ran = run_cli(home, "duties", "run")

    assert 3 == ran.code
    assert "verify failed: STORAGE_UNAVAILABLE" in ran.stderr
    assert "STORAGE_UNAVAILABLE" == duties(home)["verify"]["error"]["code"]


def test_standard_error_is_silent_where_nobody_watches(home: Path) -> None:
    assert "" == run_cli(home, "status").stderr


def test_duties_are_run_on_the_host_of_the_store(home: Path) -> None:
    answer = run_cli(home, "duties", "run", "--server", "http://127.0.0.1:1")

    assert (1, True) == (answer.code, "works on the host of the store" in answer.stderr)
