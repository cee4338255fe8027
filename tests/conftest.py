"""What many tests need: a store of their own, real parts throughout."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings as hypothesis_settings

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from tests.postgres_server import running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry
    from tests.postgres_server import PostgresServer

hypothesis_settings.register_profile("any machine", deadline=None)  # no test asserts a time
hypothesis_settings.load_profile("any machine")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what it puts into the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests interrupt the processes they start

DATABASES = ("sqlite", "postgresql")
ON_BOTH_DATABASES = (
    "integration.test_quotas",
    "integration.test_accounting",
    "integration.test_backups",
    "integration.test_backups_meanwhile",
    "integration.test_blob_index",
    "integration.test_certificates",
    "integration.test_clocks",
    "integration.test_collecting",
    "integration.test_collecting_killed",
    "integration.test_collecting_meanwhile",
    "integration.test_copying",
    "integration.test_duties",
    "integration.test_duties_taken_over",
    "integration.test_duty_processes",
    "integration.test_emptying",
    "integration.test_events",
    "integration.test_files",
    "integration.test_healing",
    "integration.test_ingest",
    "integration.test_ingest_together",
    "integration.test_observing",
    "integration.test_observing_at_once",
    "integration.test_placing",
    "integration.test_retention_meanwhile",
    "integration.test_retention_plans",
    "integration.test_reconciling",
    "integration.test_scrubbing",
    "integration.test_subscriptions",
    "integration.test_subscription_processes",
    "integration.test_tokens",
    "integration.test_verify",
    "integration.test_webhooks",
    "integration.test_writers",
    "testing_os.test_adopting",
    "testing_os.test_feed",
    "testing_os.test_indexes",
    "testing_os.test_recording",
)
"""Modules whose tests with a ``registry`` are run on each; what they say must be so on either."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", action="store_true", help="run tests/faults, which need strace and mounts")
    parser.addoption("--servers", action="store_true", help="run tests/servers, which need LocalStack")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    needs = {"faults": "--faults", "servers": "--servers"}.get(collection_path.name)
    return True if needs and collection_path.is_dir() and not config.getoption(needs) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database" in metafunc.fixturenames and metafunc.module.__name__.endswith(ON_BOTH_DATABASES):
        metafunc.parametrize("database", DATABASES, indirect=True)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests that ask for it; there are none without."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The setting that names the store's database; none is the embedded default, a SQLite file."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield {}
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    with postgres.database() as url:
        yield {"ARTIFACTSTORE_DATABASE_URL": url}


@pytest.fixture
def registry(home: Path, database: dict[str, str]) -> Iterator[Registry]:
    """A store on a local directory and, as the embedded default has it, a SQLite file, or on PostgreSQL."""
    settings = Settings.from_environment({"ARTIFACTSTORE_HOME": str(home), **database})
    registry = open_registry(settings, actor="local:tester")
    yield registry
    registry.close()
