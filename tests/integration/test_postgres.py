"""PostgreSQL: the schema, the same record as on SQLite, questions by index, errors as ours."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from artifactstore.bootstrap import database_revision, open_database, open_registry
from artifactstore.catalog.contributions import all_tables, head
from artifactstore.catalog.database import DatabaseLimits
from artifactstore.catalog.package_filter import PackageFilter
from artifactstore.catalog.queries import Queries
from artifactstore.config import Settings
from artifactstore.domain.instant import Instant
from artifactstore.errors import (
    CatalogUnavailableError,
    ConcurrentUpdateError,
    ConfigurationError,
    DatabaseVersionError,
    StorageDeniedError,
    UsageError,
)
from artifactstore.registry.events import list_events
from artifactstore.registry.ingest import ingest
from artifactstore.registry.metadata_schemas import list_schemas, register_schema
from artifactstore.registry.packages import list_packages
from artifactstore.registry.retention import extend_retention, place_hold, release_hold, sweep
from artifactstore.registry.tokens import create_token
from artifactstore.registry.verify import verify_all
from artifactstore.testing.builders import package_draft, some_bytes
from tests.api.pushing import finalize, send_zip, zipped
from tests.api.pushing import opened as opened_package
from tests.at_once import at_once, kinds
from tests.first_version import take_back_to_0001
from tests.integration.test_queries import QUESTIONS
from tests.service import Answer, serving
from tests.support import replay_is_exact, start_cli

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.catalog.database import Connection
    from artifactstore.registry.registry import Registry
    from tests.postgres_server import PostgresServer

NOT_KEPT_ON_POSTGRESQL = {("blob_location", "blob_id"), ("blob_location", "object_id")} | {
    ("package_file", "blob_id"),
    ("package_file", "package"),
}
"""Foreign keys of the tables with a row for every file."""


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database() as url:
        yield url


@pytest.fixture
def store(url: str, home: Path) -> Iterator[Registry]:
    with closing(opened(url, home)) as registry:
        yield registry


def opened(url: str, home: Path, **more: str) -> Registry:
    settings = {"ARTIFACTSTORE_HOME": str(home), "ARTIFACTSTORE_DATABASE_URL": url, **more}
    return open_registry(Settings.from_environment(settings), actor="local:tester")


# the schema


def test_the_migrated_database_is_what_the_tables_say(url: str) -> None:
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool)

    with engine.connect() as bound:
        differences: list[Any] = compare_metadata(MigrationContext.configure(bound), all_tables())

    index = [each for each in differences if each[0].endswith("_index")]
    assert [["package_file_by_blob"]] * 2 == [[each[1].name] for each in index]
    keys = {
        (each[1].table.name, column) for each in differences if each[0] == "add_fk" for column in each[1].column_keys
    }
    assert NOT_KEPT_ON_POSTGRESQL == keys
    assert len(differences) == len(index) + len(keys)


def test_text_is_in_the_order_of_its_bytes_whatever_the_database_collates_by(
    url: str, postgres: PostgresServer
) -> None:
    with postgres.asked(url) as connection:
        rows = connection.execute(
            "SELECT relname, attname, collname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
            " JOIN pg_collation ON pg_collation.oid = attcollation WHERE relkind = 'r'"
            " AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'"
        ).fetchall()

    assert len(rows) > 40
    assert {"C"} == {collation for *_, collation in rows}


def test_four_processes_that_upgrade_a_new_database_make_one_store(postgres: PostgresServer, home: Path) -> None:
    url = postgres.empty_database()
    assert database_revision(url) is None

    running = [start_cli(home, "db", "upgrade", settings={"ARTIFACTSTORE_DATABASE_URL": url}) for _ in range(4)]
    answers = [(*process.communicate(timeout=120), process.returncode) for process in running]

    assert [head()] * 4 == [json.loads(stdout)["revision"] for stdout, _, _ in answers], answers
    assert database_revision(url) == head()
    with postgres.asked(url) as connection:
        assert [(1,)] == connection.execute("SELECT count(*) FROM event_log").fetchall()


def test_a_server_is_not_started_on_a_database_that_is_not_at_head(postgres: PostgresServer, home: Path) -> None:
    settings = {"ARTIFACTSTORE_HOME": str(home), "ARTIFACTSTORE_DATABASE_URL": postgres.empty_database()}

    with pytest.raises(DatabaseVersionError, match="is not there"):
        open_registry(Settings.from_environment(settings), upgrade=False)


def test_a_database_of_a_newer_version_is_refused(url: str, home: Path, postgres: PostgresServer) -> None:
    with postgres.asked(url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999' WHERE version_num = '0005'")

    with pytest.raises(DatabaseVersionError, match="9999"):
        opened(url, home)


def test_only_who_asks_upgrades_a_database_and_its_packages_are_found_by_their_metadata_then(
    postgres: PostgresServer, home: Path
) -> None:
    url = postgres.empty_database()
    with closing(opened(url, home)) as registry:
        metadata: Any = {"branch": "main", "ok": True, "ratio": 0.5, "tags": ["x"], "long": "x" * 257}
        ingest(registry, package_draft({"a": b"a"}, metadata=metadata))
    with postgres.asked(url) as connection:
        take_back_to_0001(connection.execute)

    with pytest.raises(DatabaseVersionError, match="is at revision 0001"):
        opened(url, home)
    open_database(url, is_asked_to_upgrade=True).close()

    with closing(opened(url, home)) as registry:
        found = list_packages(registry, limit=10, wanted=PackageFilter(metadata=("ok", "true")))
        replay_is_exact(registry)

    assert 1 == len(found)


# the same record


def live(registry: Registry) -> list[str]:
    """One of everything, at times and with ids that are always the same; the digests of the manifests."""
    times, ids = count(1_800_000_000_000_000, 1_000_000), count(1)
    registry = replace(registry, clock=lambda: Instant(next(times)), new_id=lambda: f"id-{next(ids):04}")
    registry.catalog._clock = registry.clock
    register_schema(registry, "t.v1", {"type": "object"})
    draft = package_draft(
        {"a": b"1", "B": b"2", "b/ü": b"3" * 2_000_000}, metadata={"x": [1, 2.5, None, "é"], "k": "v"}
    )
    first = ingest(registry, replace(draft, schema="t.v1"))
    second = ingest(registry, package_draft({"a": b"1", "c": b""}), as_revision=True)
    hold_id = place_hold(registry, first.package_id, reason="audit")
    release_hold(registry, first.package_id, hold_id, reason="done")
    extend_retention(registry, first.package_id, Instant(2_000_000_000_000_000), reason="asked for")
    assert [] == sweep(registry)
    return [first.manifest_digest, second.manifest_digest]


def test_the_same_history_has_the_same_chain_and_digests_on_either_database(
    store: Registry, home: Path, tmp_path: Path
) -> None:
    other = open_registry(
        Settings.from_environment({"ARTIFACTSTORE_HOME": str(tmp_path / "other")}), actor="local:tester"
    )
    for registry in (store, other):
        with registry.transaction() as tx:
            tx.connection.execute("UPDATE event_log SET log_id = ?", (bytes(32),))

    digests, other_digests = live(store), live(other)

    assert other_digests == digests
    events, other_events = list_events(store, limit=100), list_events(other, limit=100)
    assert len(events) >= 12
    assert other_events == events
    assert replay_is_exact(store)._replace(events=0) == replay_is_exact(other)._replace(events=0)
    assert [] == verify_all(store).damage
    other.close()


def test_lists_are_in_the_order_of_bytes(store: Registry) -> None:
    slugs = ["a-b", "a.b", "a0", "a_b", "ab"]
    for slug in slugs:
        register_schema(store, slug, {"type": "object"})

    pages = [list_schemas(store, after=after, limit=1)[0].slug for after in ["", *slugs[:-1]]]

    assert slugs == pages


def test_the_longest_names_and_keys_are_stored_and_found(store: Registry) -> None:
    wide = "\U00010348"
    draft = package_draft(
        {f"{wide * 255}": b"1"}, external_id=wide * 512, metadata={wide * 256: wide * 256, "k" * 257: 1}
    )

    ingest(store, replace(draft, subject=wide * 512))

    wanted = PackageFilter(external_id=wide * 512, subject=wide * 512, metadata=(wide * 256, wide * 256))
    assert 1 == len(list_packages(store, limit=10, wanted=wanted))


def test_metadata_with_a_nul_is_kept_and_not_searched(store: Registry) -> None:
    ingest(store, package_draft({"a": b"a"}, metadata={"nul": "a\0b", "\0": 1, "plain": "x"}))

    (package,) = list_packages(store, limit=10, wanted=PackageFilter(metadata=("plain", "x")))

    assert {"nul": "a\0b", "\0": 1, "plain": "x"} == json.loads(str(package.metadata_json))
    replay_is_exact(store)


def test_text_with_a_nul_is_the_callers_mistake(store: Registry) -> None:
    with pytest.raises(UsageError, match="NUL"):
        list_packages(store, limit=10, wanted=PackageFilter(subject="a\0b"))


# questions


class Explaining:
    """A connection that has every statement explained before it is run."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.plans: list[str] = []

    def execute(self, sql: str, parameters: Any = ()) -> Iterator[Any]:
        if "1 = 1" not in sql:
            self.plans += [line for (line,) in self._connection.execute(f"EXPLAIN {sql}", parameters)]
        result: Iterator[Any] = self._connection.execute(sql, parameters)
        return result

    stream = execute


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_question_reads_or_sorts_a_whole_table(store: Registry, question: str) -> None:
    """What the planner is told to avoid is in a plan only if there is no other way."""
    ingest(store, package_draft())
    with store.catalog.snapshot() as queries:
        for avoided in ("seqscan", "sort", "bitmapscan", "mergejoin", "hashjoin"):
            list(queries.connection.execute(f"SET LOCAL enable_{avoided} = off"))
        explaining = Explaining(queries.connection)

        QUESTIONS[question](Queries(explaining))  # type: ignore[arg-type]

    assert explaining.plans
    assert [] == [line for line in explaining.plans if "Seq Scan" in line]
    if question.startswith(("a page", "packages", "objects")):
        assert [] == [line for line in explaining.plans if "Sort" in line]
        assert [] == read_whole(explaining.plans)


def read_whole(plans: list[str]) -> list[str]:
    """The indexes that are gone through without a condition."""
    scans = zip(plans, [*plans[1:], ""], strict=True)
    return [
        line.split(" using ")[1].split()[0]
        for line, next_line in scans
        if " using " in line and "Index" in line and "Index Cond" not in next_line
    ]


def test_a_transaction_prefers_indexes_whatever_the_statistics_say(store: Registry) -> None:
    with store.catalog.snapshot() as queries:
        shown = {name: list(queries.connection.execute(f"SHOW {name}")) for name in ("enable_seqscan", "jit")}

    assert {"enable_seqscan": [("off",)], "jit": [("off",)]} == shown


def test_a_long_answer_comes_in_pieces_and_other_questions_between(store: Registry) -> None:
    with store.catalog.snapshot() as queries:
        numbers = queries.connection.stream("SELECT generate_series(1, ?)", (1_000_000_000,))

        first = [next(numbers), next(numbers)]
        between = list(queries.connection.execute("SELECT 'a%b?', ?", ("c",)))
        third = next(numbers)

    assert ([(1,), (2,)], [("a%b?", "c")], (3,)) == (first, between, third)


# errors


def test_a_statement_that_takes_too_long_ends_and_may_be_tried_again(url: str) -> None:
    with closing(open_database(url, DatabaseLimits(statement_timeout_s=1))) as database:
        with pytest.raises(CatalogUnavailableError, match="timeout") as caught, database.read() as connection:
            connection.execute("SELECT pg_sleep(30)")

        assert caught.value.retryable
        with database.read() as connection:
            assert [(1,)] == list(connection.execute("SELECT 1"))


def test_a_lock_that_is_held_too_long_may_be_waited_for_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifactstore.catalog.postgres.LOCK_TIMEOUT_S", 1)
    with closing(open_database(url)) as database, database.write() as holder:
        holder.lock("x")

        with pytest.raises(CatalogUnavailableError, match="lock timeout"), database.write() as other:
            other.lock("x")


def test_when_all_connections_are_in_use_the_next_one_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifactstore.catalog.postgres_pool.WAIT_S", 0.1)
    with closing(open_database(url, DatabaseLimits(max_connections=2))) as database:
        with ExitStack() as both:
            both.enter_context(database.read())
            both.enter_context(database.read())
            with pytest.raises(CatalogUnavailableError, match="all 2 connections"), database.read():
                pass

        with database.read() as connection:
            assert [(1,)] == list(connection.execute("SELECT 1"))


def test_a_lock_ends_with_its_transaction(url: str, postgres: PostgresServer) -> None:
    """Whatever lends a connection for one transaction at a time may stand between: a pooler lends it to others next."""
    with closing(open_database(url)) as database, closing(open_database(url)) as other:
        with database.write() as connection:
            connection.lock("run of somebody")
            connection.lock_append()

        with other.read() as connection:
            assert [] == list(connection.execute("SELECT objid FROM pg_locks WHERE locktype = 'advisory'"))


def test_an_error_that_was_swallowed_is_no_commit(url: str) -> None:
    with closing(open_database(url)) as database:
        with pytest.raises(ConcurrentUpdateError, match="rolled"), database.write() as connection:
            delete_and_swallow_an_error(connection)

        with database.read() as connection:
            assert 1 == len(list(connection.execute("SELECT 1 FROM event_log")))


def delete_and_swallow_an_error(connection: Connection) -> None:
    connection.execute("DELETE FROM event_log")
    with suppress(psycopg.Error):
        connection.execute("SELECT 1 / 0")


def test_of_two_that_wait_for_each_other_one_may_try_again(url: str) -> None:
    with closing(open_database(url)) as database:
        both_have_one = threading.Barrier(2)

        def lock(number: int) -> str:
            mine, other = ("a", "b") if number else ("b", "a")
            with database.write() as connection:
                connection.lock(mine)
                both_have_one.wait()
                connection.lock(other)
            return other

        answers = at_once(2, lock)

    assert {"ConcurrentUpdateError": 1, "str": 1} == kinds(answers), answers
    assert ConcurrentUpdateError.retryable


@pytest.mark.parametrize(
    "address",
    ["postgresql://u:hunter2@h:notaport/d", "postgresql://u:hunter2@h/d?nosuch=1", "postgresql://u:hunter2@[h/d"],
)
def test_a_url_that_makes_no_sense_is_refused_without_being_repeated(address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_database(address)

    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_password_is_in_no_message(postgres: PostgresServer) -> None:
    nowhere = f"postgresql://u:hunter2@/d?host={postgres.folder / 'nowhere'}"

    with pytest.raises(CatalogUnavailableError) as caught:
        open_database(nowhere)

    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert isinstance(caught.value.__cause__, psycopg.OperationalError)


def test_a_database_that_may_not_be_written_is_said_to_be_so(url: str, home: Path, postgres: PostgresServer) -> None:
    name = url.partition("/test_")[2].partition("?")[0]
    with postgres.asked(url) as connection, closing(opened(url, home)) as registry:
        connection.execute("CREATE ROLE reader LOGIN")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        reader = opened(url.replace("postgres@", "reader@"), home)

        with pytest.raises(StorageDeniedError, match=f"test_{name}"):
            create_token(reader, "ci", ["read"])

        assert [] == list_packages(reader, limit=1)
        reader.close()
        create_token(registry, "ci", ["read"])
        connection.execute("DROP OWNED BY reader; DROP ROLE reader")


def test_the_driver_is_loaded_only_for_its_own_urls(home: Path) -> None:
    program = (
        "import sys; from artifactstore.bootstrap import open_registry; from artifactstore.config import Settings;"
        f"open_registry(Settings.from_environment({{'ARTIFACTSTORE_HOME': {str(home)!r}}})).close();"
        "print(*sys.modules)"
    )

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert not [name for name in answer.stdout.split() if name.startswith("psycopg")]


def test_without_the_driver_it_is_said_what_to_install(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "artifactstore.catalog.postgres", None)

    with pytest.raises(ConfigurationError) as caught:
        open_database(url)

    assert "artifactstore[postgres]" in caught.value.hint


def test_connections_say_whose_they_are_and_are_kept(url: str, postgres: PostgresServer) -> None:
    with closing(open_database(url)) as database:
        processes: Counter[int] = Counter()
        for _ in range(5):
            with database.read() as connection:
                processes[next(connection.execute("SELECT pg_backend_pid()"))[0]] += 1
        with postgres.asked(url) as watching:
            names = watching.execute(
                "SELECT application_name FROM pg_stat_activity WHERE pid = ANY(%s)", (list(processes),)
            ).fetchall()

    assert [5] == list(processes.values())
    assert [("artifactstore",)] == names


def test_two_servers_on_one_database_are_one_store(store: Registry, url: str, home: Path) -> None:
    """Each takes half of a push; each has all of the log."""
    files = {f"f{n}": some_bytes(500, n) for n in range(10)}
    tokens = {"admin": create_token(store, "admin", ["admin"])[0]}
    environment = {"ARTIFACTSTORE_DATABASE_URL": url}
    with (
        serving(home, tokens=tokens, environment=environment) as one,
        serving(home, tokens=tokens, environment=environment) as other,
    ):
        package_id = opened_package(one, files, token="admin")
        sent = send_zip(other, package_id, zipped(files), token="admin")
        answers = at_once(4, lambda n: finalize((one, other)[n % 2], package_id, token="admin"))
        ready = [server.ask("GET", "/ready").status for server in (one, other)]
        logs = [server.ask("GET", "/events").json["events"] for server in (one, other)]
        replayed = other.ask("POST", "/replay:check").status

    assert (200, [200, 200], 200) == (sent.status, ready, replayed)
    receipts = [answer.body for answer in answers if isinstance(answer, Answer) and answer.status == 200]
    assert 4 == receipts.count(receipts[0])
    assert logs[0] == logs[1]
    assert 4 == len(logs[0])
