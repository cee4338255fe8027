"""The composition root: from settings to a ``Registry`` that is ready for use.

The first use of a home creates it: directories, database, tables. Creating and upgrading happen under a lock file, so
any number of processes may be the first at once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

from artifactstore.built_in import (
    BACKENDS,
    DEFAULT_CAPABILITIES,
    InstalledWords,
    load_entry_point,
    register_contributions,
)
from artifactstore.catalog.catalog import Catalog
from artifactstore.catalog.contributions import head
from artifactstore.catalog.database import DEFAULT_LIMITS
from artifactstore.catalog.sqlite import SqliteDatabase
from artifactstore.catalog.upgrade import current_revision, is_at_head
from artifactstore.catalog.upgrade import upgrade as upgrade_database
from artifactstore.config import Settings, local_user
from artifactstore.domain.instant import system_clock
from artifactstore.errors import ConfigurationError, DatabaseVersionError, StorageDeniedError, StorageFullError
from artifactstore.registry.registry import Registry
from artifactstore.storage.local import sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from artifactstore.catalog.database import DatabaseLimits
    from artifactstore.catalog.upgrade import UpgradableDatabase
    from artifactstore.config import BackendSettings
    from artifactstore.plugins.host import PluginHost, Validator
    from artifactstore.storage.port import ObjectStore

_SQLITE = "sqlite://"

register_contributions()


def open_registry(
    settings: Settings | None = None, *, actor: str | None = None, upgrade: bool = True, backend: str | None = None
) -> Registry:
    """A registry on the database and storage that the settings name; created or upgraded if need be.

    Without ``upgrade`` nothing is: a database that is not at head raises ``DatabaseVersionError``. ``backend`` is the
    one that packages are to lie in, if not just any.
    """
    settings = settings or Settings.from_environment()
    in_memory = [name for name, backend in settings.backends.items() if backend.url.startswith("memory:")]
    if in_memory and not is_in_memory(settings.database_url):
        raise ConfigurationError(
            "storage in memory beside a database on disk would record what is gone with the process"
        )
    if not upgrade:
        _require_head(settings.database_url)
    retention = settings.retention_policy()
    return Registry(
        catalog=Catalog(open_database(settings.database_url, settings.database_limits), system_clock),
        backends=Backends(settings.backends),
        default_backend=settings.default_backend,
        actor=actor or f"local:{local_user()}",
        retention=retention,
        pack_threshold_bytes=settings.pack_threshold_bytes,
        max_files=settings.max_files,
        quotas=settings.quotas,
        race_retries=settings.race_retries,
        verify_every_days=settings.verify_every_days,
        collection=settings.collection,
        retention_approvals=settings.retention_approvals,
        scrub_bytes_per_s=settings.scrub_bytes_per_s,
        sweep_max_leap_hours=settings.sweep_max_leap_hours,
        ready_needs_scrub=settings.ready_needs_scrub,
    ).putting_to(backend)


def host_of(registry: Registry, settings: Settings, *, validator: Validator | None = None) -> PluginHost:
    """What plug-ins use of a store: with the words of all that are installed, and what the settings grant them.

    ``validator`` has the host's own rules for what plug-ins say: a callable, or a pydantic ``TypeAdapter``.
    """
    from artifactstore.plugins.host import PluginHost, Surroundings

    return PluginHost(
        registry,
        vocabulary=InstalledWords(),
        capabilities={**DEFAULT_CAPABILITIES, **settings.plugin_capabilities},
        max_payload_bytes=settings.max_payload_bytes,
        validator=validator,
        surroundings=Surroundings(
            settings.github.token, settings.github.api_url, settings.github.is_ci, settings.testing_os_repo_root
        ),
    )


def is_in_memory(database_url: str) -> bool:
    """Whether a database URL names one that ends with the process."""
    return database_url in {_SQLITE, f"{_SQLITE}/", f"{_SQLITE}/:memory:"}


class Backends(Mapping[str, "ObjectStore"]):
    """The configured backends by name, each opened when it is first asked for: most commands need none, or one."""

    def __init__(self, configured: Mapping[str, BackendSettings]) -> None:
        self._configured = configured
        self._open: dict[str, ObjectStore] = {}
        self._turn = threading.Lock()

    def __getitem__(self, name: str) -> ObjectStore:
        configured = self._configured[name]
        with self._turn:
            if name not in self._open:
                try:
                    self._open[name] = open_store(configured.url, configured.options)
                except ConfigurationError as error:
                    where = "" if len(self._configured) == 1 else f"backend {name!r}: "
                    raise ConfigurationError(f"{where}{error.message}", hint=error.hint) from error
            return self._open[name]

    def __contains__(self, name: object) -> bool:
        return name in self._configured

    def __iter__(self) -> Iterator[str]:
        return iter(self._configured)

    def __len__(self) -> int:
        return len(self._configured)


def open_store(url: str, options: Mapping[str, str]) -> ObjectStore:
    """A backend by its URL and settings. Raises ``ConfigurationError`` for a scheme that nobody provides."""
    found = load_entry_point(BACKENDS, url.partition("://")[0])
    from_url = cast("Callable[[str, Mapping[str, str]], ObjectStore]", found)
    return from_url(url, options)


def open_database(
    url: str, limits: DatabaseLimits = DEFAULT_LIMITS, *, is_asked_to_upgrade: bool = False
) -> UpgradableDatabase:
    """A database at head. Raises ``ConfigurationError`` or ``DatabaseVersionError``.

    One of this host is created and upgraded. One on a server is created, and upgraded only if somebody has asked for
    that: others are at work on it.
    """
    if is_postgresql(url):
        return _on_a_server(url, limits, is_asked_to_upgrade=is_asked_to_upgrade)
    path = _path_of(url)
    if path is None:
        database = _connected(url, limits)
        with _closed_on_error(database):
            upgrade_database(database, now=system_clock())
        return database
    _make_private_directory(path.parent)
    database = SqliteDatabase(path)
    with _closed_on_error(database):
        if not is_at_head(database):
            with _exclusively(path.with_name(f"{path.name}.lock")):
                if not is_at_head(database):
                    upgrade_database(database, now=system_clock())
    return database


def _on_a_server(url: str, limits: DatabaseLimits, *, is_asked_to_upgrade: bool) -> UpgradableDatabase:
    database = _connected(url, limits)
    with _closed_on_error(database):
        if not is_at_head(database):
            if not is_asked_to_upgrade and (revision := current_revision(database)) is not None:
                raise _not_at_head(revision)
            upgrade_database(database, now=system_clock())
    return database


def database_revision(url: str, limits: DatabaseLimits = DEFAULT_LIMITS) -> str | None:
    """Where the database of this URL stands; None if it is not there yet. Nothing is made or upgraded."""
    if not is_postgresql(url):
        path = _path_of(url)
        if path is None or _is_missing(path):
            return None
    database = _connected(url, limits)
    try:
        return current_revision(database)
    finally:
        database.close()


def is_postgresql(database_url: str) -> bool:
    """Whether a database URL names a PostgreSQL server."""
    return database_url.startswith(("postgresql://", "postgres://"))


def _connected(url: str, limits: DatabaseLimits) -> UpgradableDatabase:
    if not is_postgresql(url):
        return SqliteDatabase(_path_of(url))
    try:
        from artifactstore.catalog.postgres import PostgresDatabase
    except ImportError as error:
        raise ConfigurationError(
            f"the driver for PostgreSQL cannot be loaded: {error}", hint="pip install 'artifactstore[postgres]'"
        ) from error
    return PostgresDatabase(url, limits)


@contextmanager
def _closed_on_error(database: UpgradableDatabase) -> Iterator[None]:
    with ExitStack() as on_error:
        on_error.callback(database.close)
        yield
        on_error.pop_all()


@contextmanager
def scratch_database() -> Iterator[SqliteDatabase]:
    """An empty database at head, a SQLite file for as long as the context is open, whatever the store's own is."""
    with TemporaryDirectory(prefix="artifactstore-") as folder:
        database = SqliteDatabase(Path(folder) / "scratch.db")
        upgrade_database(database, now=system_clock())
        try:
            yield database
        finally:
            database.close()


def _path_of(url: str) -> Path | None:
    """Where a database's file is; None for one in memory."""
    if not url.startswith(_SQLITE) or (url != _SQLITE and not url.startswith(f"{_SQLITE}/")):
        raise ConfigurationError(
            f"no database driver for {url.partition(':')[0]!r}",
            hint="Write it as sqlite:////absolute/path.db or postgresql://user@host/database.",
        )
    return None if is_in_memory(url) else Path(url.removeprefix(_SQLITE).removeprefix("/"))


def _is_missing(path: Path) -> bool:
    """Whether there is no file, or one that nothing was ever written to: SQLite would make it its own to look at it."""
    try:
        return not path.exists() or (path.is_file() and path.stat().st_size == 0)
    except OSError:
        return False  # what is wrong with it, opening it says


def _require_head(url: str) -> None:
    if is_in_memory(url):
        return
    revision = database_revision(url)
    if revision != head():
        raise _not_at_head(revision)


def _not_at_head(revision: str | None) -> DatabaseVersionError:
    found = "is not there" if revision is None else f"is at revision {revision}, and this version needs {head()}"
    return DatabaseVersionError(
        f"the database {found}", hint="`artifactstore db upgrade` creates it, or brings it to where it must be."
    )


def _make_private_directory(folder: Path) -> None:
    """Make a directory with its parents, durably, for its owner alone."""
    try:
        for missing in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
            sync_directory(missing.parent)
    except OSError as error:
        kind = StorageFullError if error.errno in {errno.ENOSPC, errno.EDQUOT} else StorageDeniedError
        raise kind(
            f"{folder} cannot be created: {error.strerror}",
            hint="Choose another place with ARTIFACTSTORE_HOME, or mend its permissions.",
        ) from error


@contextmanager
def _exclusively(lock_file: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, however it ends."""
    try:
        descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageDeniedError(f"{lock_file} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
