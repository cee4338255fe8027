"""The benchmark of observations runs, and its floor writes the very rows that ours writes. No times are asserted."""

from __future__ import annotations

import json
import random
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.catalog import event_log
from artifactstore.config import Settings
from benchmarks.__main__ import main
from benchmarks.processes import FailedError
from benchmarks.provenance.bare import TABLES, bare, transactions
from benchmarks.provenance.filled import fill
from benchmarks.provenance.in_turn import _expect_same_rows
from benchmarks.provenance.observations import GRANT, context_of, said
from benchmarks.report import as_markdown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.catalog.database import Connection
    from benchmarks.provenance.observations import Said
    from tests.postgres_server import PostgresServer

CASES = ["ours observe on SQLite", "ours observe on PostgreSQL"]
OBSERVATIONS = 3


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    work = tmp_path_factory.mktemp("provenance")
    output = work / "results.json"
    assert main(["--only", "provenance", "--quick", "--work", str(work), "--output", str(output)]) == 0
    found: dict[str, Any] = json.loads(output.read_text())
    return found


def test_observations_are_measured_on_both_databases(results: dict[str, Any]) -> None:
    workloads = results["workloads"]

    assert {"I-1000": {}, "I-flat": {}} == {name: workload["missing"] for name, workload in workloads.items()}
    assert [CASES, CASES] == [list(workload["cases"]) for workload in workloads.values()]


def test_every_target_has_its_figures(results: dict[str, Any]) -> None:
    assert ["I-1000", "I-1000", "I-flat"] * 2 == [target["workload"] for target in results["targets"]]
    assert all(target["measured"] > 0 and target["divided_by"] > 0 for target in results["targets"])


def test_the_report_has_ours_beside_the_floor(results: dict[str, Any]) -> None:
    markdown = as_markdown(results)  # type: ignore[arg-type]

    assert "| Case | ours s | floor s | again s |" in markdown
    assert "one INSERT for each of the four tables" in markdown


# the floor


@pytest.fixture
def observations() -> list[Said]:
    return said(OBSERVATIONS, random.Random("observations"))


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Settings, Settings]]:
    """Ours and the floor's, at head."""
    if request.param == "sqlite":
        yield _made(tmp_path / "ours"), _made(tmp_path / "floor")
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    with postgres.database() as ours, postgres.database() as floor:
        yield _made(tmp_path / "ours", ours), _made(tmp_path / "floor", floor)


def test_the_floor_writes_the_rows_that_ours_writes(
    databases: tuple[Settings, Settings], observations: list[Said]
) -> None:
    ours, floor = databases

    _record(ours, observations)
    with bare(floor.database_url) as write:
        for statements in transactions(observations):
            write(statements)

    _expect_same_rows(ours, floor)
    assert _named(ours) == _named(floor)
    assert {"source": 3, "envelope": 3, "party": 6, "event": 9} == _counts(floor)


def test_a_floor_that_writes_less_is_refused(databases: tuple[Settings, Settings], observations: list[Said]) -> None:
    ours, floor = databases

    _record(ours, observations)
    with bare(floor.database_url) as write:
        for statements in transactions(observations):
            write([statement for statement in statements if "INTO party" not in statement.sql])

    with pytest.raises(FailedError, match="the floor wrote other rows"):
        _expect_same_rows(ours, floor)


# many


def test_a_filled_catalog_is_as_large_as_a_recorded_one_and_goes_on(
    databases: tuple[Settings, Settings], observations: list[Said]
) -> None:
    recorded, filled = databases
    fill(filled.database_url, 250)

    _record(filled, observations)
    _record(recorded, said(250, random.Random("as many")))

    assert {"source": 253, "envelope": 253, "party": 506, "event": 759} == _counts(filled)
    with closing(open_registry(filled)) as registry, registry.catalog.snapshot() as queries:
        assert event_log.latest_seq(queries.connection) == 759
    for table, size_bytes in _row_bytes(recorded).items():
        assert size_bytes == pytest.approx(_row_bytes(filled)[table], rel=0.01), table


def _made(home: Path, url: str | None = None) -> Settings:
    database = {} if url is None else {"ARTIFACTSTORE_DATABASE_URL": url}
    settings = Settings.from_environment({"ARTIFACTSTORE_HOME": str(home), **database, **GRANT})
    open_registry(settings).close()
    return settings


def _record(settings: Settings, observations: list[Said]) -> None:
    with closing(open_registry(settings)) as registry:
        context = context_of(registry, settings)
        for one in observations:
            assert one.to(context).envelope.was_created


def _counts(settings: Settings) -> dict[str, int]:
    with closing(open_registry(settings)) as registry, registry.catalog.snapshot() as queries:
        return {table: _one(queries.connection, f"SELECT count(*) FROM {table}") for table in TABLES}


def _row_bytes(settings: Settings) -> dict[str, float]:
    """The bytes of texts and blobs in a row, on average."""
    numbers = {"id", "source", "envelope", "ordinal", "seq", "at", "received_at", "indexed_at", "is_declared"}
    found = {}
    with closing(open_registry(settings)) as registry, registry.catalog.snapshot() as queries:
        for table, columns in TABLES.items():
            lengths = [f"coalesce(length({name}), 0)" for name in columns.split(", ") if name not in numbers]
            found[table] = float(_one(queries.connection, f"SELECT avg({' + '.join(lengths)}) FROM {table}"))
    return found


def _named(settings: Settings) -> list[Any]:
    """What was observed, and the subjects of its events."""
    with closing(open_registry(settings)) as registry, registry.catalog.snapshot() as queries:
        rows = queries.connection.execute(
            "SELECT path_id, envelope_id, raw_payload FROM source JOIN envelope ON envelope.source = source.id"
            " ORDER BY envelope.id"
        )
        events = queries.connection.execute("SELECT type, subject FROM event ORDER BY seq")
        return [*rows, *events]


def _one(connection: Connection, sql: str) -> Any:
    ((found,),) = connection.execute(sql)
    return found
