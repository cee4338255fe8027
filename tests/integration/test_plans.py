"""What the catalog is asked costs the same however much is stored: measured on 30,000 packages, or ``LONG`` a million.

Every function that executes statements is called, with what is common, rare and absent; a new one without a case fails.
"""

from __future__ import annotations

import inspect
import pkgutil
from contextlib import ExitStack, suppress
from dataclasses import fields
from functools import partial
from importlib import import_module
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore import catalog as catalog_package
from artifactstore.bootstrap import open_registry
from artifactstore.catalog import accounting, overview, projections
from artifactstore.catalog.catalog import Transaction
from artifactstore.catalog.package_filter import PackageFilter
from artifactstore.catalog.queries import Queries
from artifactstore.config import Settings
from artifactstore.domain import events
from artifactstore.pilots import testing_os
from artifactstore.registry.open_packages import MAX_OPEN
from tests.catalog_calls import EVENTS, FUNCTIONS, LATE, PACKAGES, PAGE, POSITIONS, QUERIES, TRANSACTIONS
from tests.conftest import DATABASES
from tests.large_catalog import OLD_PRODUCER, RARE_PRODUCER, address, fill
from tests.plans import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from artifactstore.registry.registry import Registry
    from tests.plans import Measured
    from tests.postgres_server import PostgresServer

FEWEST = 500
"""Rows that any statement may read; a whole table has 60 times as many, or 2,000."""
UNINFORMED, INFORMED = "as-filled", "with-statistics"
PLANNERS = (UNINFORMED, INFORMED)
COUNTS = {
    "overview.counts": 8 * overview.COUNT_TO,
    "overview.damaged_blobs": 8 * overview.COUNT_TO,
    "overview.damaged_by_kind": 8 * overview.COUNT_TO,
    "overview.damaged_objects": 8 * overview.COUNT_TO,
    "overview.expired_since": 8 * overview.COUNT_TO,
    "pushes.count_open": MAX_OPEN,
}
"""What counts up to a number reads so many rows, and answers one."""
BY_DESIGN_WHOLE = {
    "accounting.settle",
    "event_log.checked",
    "projections.project",
    "provenance_projections.envelope_indexed",
    "provenance_projections.source_indexed",
    "replay.replay",
    "replay.take_over",
    "replay.differences",
    "stored.held_by_pushes",
}
"""Replay reads everything, what pushes hold is bounded. Projections, and what is settled of them: ``EVENTS``."""


# the databases, filled once


@pytest.fixture(scope="module")
def stores(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Registry]]:
    """Stores with very many packages, each made when it is first asked for."""
    with ExitStack() as until_the_end:
        opened: dict[str, Registry] = {}

        def store(database: str) -> Registry:
            if database not in opened:
                settings = {"ARTIFACTSTORE_HOME": str(tmp_path_factory.mktemp(database))}
                if database == "postgresql":
                    server: PostgresServer = request.getfixturevalue("postgres")
                    settings["ARTIFACTSTORE_DATABASE_URL"] = server.empty_database()
                registry = open_registry(Settings.from_environment(settings), actor="local:tester")
                until_the_end.callback(registry.close)
                fill(registry, PACKAGES)
                opened[database] = registry
            return opened[database]

        yield store


@pytest.fixture(scope="module", params=product(DATABASES, PLANNERS), ids="-".join)
def large(request: pytest.FixtureRequest, stores: Callable[[str], Registry]) -> Registry:
    """A store as its planner has never looked at it, then the same one when it has."""
    database, planner = request.param
    store = stores(database)
    if planner == INFORMED:
        with store.transaction() as tx:
            tx.connection.execute("ANALYZE")
    return store


class _TakeBack(Exception):  # noqa: N818 - not an error
    pass


def measured(large: Registry, ask: Callable[[Transaction], object]) -> list[Measured]:
    """The statements that it takes to ask; nothing changes."""
    watch = Watch(large.catalog._database)
    with suppress(_TakeBack), watch.write() as connection:
        ask(Transaction(connection, "local:tester"))
        raise _TakeBack
    return watch.seen


def unbounded(seen: list[Measured], fewest: int = FEWEST) -> str:
    """Those that have read too much, to be shown."""
    return "\n\n".join(str(each) for each in seen if not each.is_bounded(fewest))


# the tests


def test_what_goes_through_a_whole_table_or_index_is_noticed(large: Registry) -> None:
    wrong = ("SELECT id FROM package WHERE opened_by = 'x'", "SELECT seq FROM event WHERE subject || '' = 'x' LIMIT 1")

    seen = measured(large, lambda tx: [tx.connection.execute(sql) for sql in wrong])

    assert seen
    assert not [each for each in seen if each.is_bounded(FEWEST)]


@pytest.mark.parametrize("name", QUERIES)
def test_a_question_reads_no_more_than_it_answers(large: Registry, name: str) -> None:
    seen = measured(large, QUERIES[name])

    assert "" == unbounded(seen)


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_a_transaction_reads_no_more_than_it_changes(large: Registry, name: str) -> None:
    seen = measured(large, TRANSACTIONS[name])

    assert "" == unbounded(seen)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_the_catalog_reads_no_more_than_it_answers(large: Registry, name: str) -> None:
    seen = measured(large, lambda tx: FUNCTIONS[name](tx.connection))

    assert "" == unbounded(seen, COUNTS.get(name, FEWEST))


def test_a_projection_reads_no_more_than_it_changes(large: Registry) -> None:
    seen = measured(large, project_all)

    assert {event.type for event in EVENTS} == set(events.EVENT_TYPES)
    assert "" == unbounded(seen)


def project_all(tx: Transaction) -> None:
    for event in EVENTS:
        change = projections.project(tx.connection, event, "local:x")
        accounting.settle(tx.connection, [] if change is None else [change])


VALUES: dict[str, tuple[Any, ...]] = {
    "producer": ("producer-3", OLD_PRODUCER, RARE_PRODUCER, "nobody"),
    "external_id": ("nightly", f"run-{LATE - 9}", "nothing"),
    "subject": ("subject-7", "nothing"),
    "schema_slug": ("schema-3", "schema-9", "nothing"),
    "retention_class": ("raw-evidence", "transient", "nothing"),
    "status": ("finalized", "expired", "open"),
    "metadata": (("branch", "main"), ("build", "7"), ("build", "main"), ("nothing", "7")),
    "blob": (address(1), address(LATE), address(-1)),
}
"""For every member of ``PackageFilter`` something that many packages have, some that few have, and what none has."""
SINGLE = [{name: value} for name, values in VALUES.items() for value in values]
PAIRS = [{**one, **other} for one, other in combinations(SINGLE, 2) if one.keys() != other.keys()]
ALL = [{name: values[which] for name, values in VALUES.items()} for which in (0, 1)]
SOME_PAIRS = PAIRS[::7]
MATCHES = {
    **{column: f"{column} = ?" for column in VALUES},
    "metadata": "id IN (SELECT package FROM package_metadata WHERE key = ? AND value = ?)",
    "blob": "id IN (SELECT package FROM package_file JOIN blob ON blob.id = blob_id WHERE blake3 = ?)",
}
ROWS_OF_A_PACKAGE = 4
"""Besides the package a file, its blob and a member of the metadata."""


@pytest.mark.parametrize("filters", [SINGLE, SOME_PAIRS, ALL], ids=["one", "two", "all"])
def test_a_list_is_read_along_an_index(large: Registry, filters: list[dict[str, Any]]) -> None:
    """With one filter nothing else is read; with several, what the index they are found by has."""
    too_much = ""
    for members in filters:
        most = 0 if len(members) == 1 else ROWS_OF_A_PACKAGE * count_of(large, found_by(members))
        for after in POSITIONS:
            seen = measured(large, partial(a_page, members, after))
            too_much += unbounded(seen, FEWEST + most)

    assert VALUES.keys() == {field.name for field in fields(PackageFilter)}
    assert "" == too_much


def a_page(members: dict[str, Any], after: int, tx: Transaction) -> object:
    return tx.packages(after=after, limit=PAGE, wanted=PackageFilter(**members))


def found_by(members: dict[str, Any]) -> dict[str, Any]:
    """Those of several filters that an index is for: never one that also holds what other producers have."""
    if "metadata" in members:
        names = {"metadata", "producer"}
    elif "producer" in members:
        names = {"producer", *[name for name in ("external_id", "subject") if name in members][:1]}
    else:
        names = {next(name for name in ("blob", *VALUES) if name in members)}
    return {name: value for name, value in members.items() if name in names}


def count_of(large: Registry, members: dict[str, Any]) -> int:
    """How many packages there are of these."""
    conditions = " AND ".join(MATCHES[name] for name in members)
    values = [part for value in members.values() for part in (value if isinstance(value, tuple) else (value,))]
    with large.catalog.snapshot() as queries:
        ((count,),) = queries.connection.execute(f"SELECT count(*) FROM package WHERE {conditions}", values)
    return int(count)


def test_every_function_that_executes_statements_is_measured() -> None:
    packages = (catalog_package, testing_os)
    modules = [(each.__name__, info.name) for each in packages for info in pkgutil.iter_modules(each.__path__)]
    found = {
        f"{module}.{name}"
        for package, module in modules
        for name, function in vars(import_module(f"{package}.{module}")).items()
        if inspect.isfunction(function) and not name.startswith("_") and function.__module__.endswith(f".{module}")
        and any("Connection" == kind for kind in function.__annotations__.values())
    }  # fmt: skip

    assert {*FUNCTIONS, *BY_DESIGN_WHOLE} == found
    assert QUERIES.keys() == _public(Queries)
    assert TRANSACTIONS.keys() == _public(Transaction)


def _public(kind: type) -> set[str]:
    return {name for name, member in vars(kind).items() if inspect.isfunction(member) and not name.startswith("_")}
