"""A store with two backends, and what tests ask of one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.catalog import backends
from artifactstore.config import Settings
from artifactstore.storage.port import ObjectKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from artifactstore.registry.registry import Registry

DISK, ARCHIVE = "disk", "archive"


def backends_file(home: Path, urls: Mapping[str, str], *, default: str = DISK, **others: str) -> dict[str, str]:
    """The settings of a store in this home with these backends; ``others`` are settings of every one of them."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "backends.toml"
    options = "".join(f'{name.lower()} = "{value}"\n' for name, value in others.items())
    tables = (
        f'[backends.{name}]\nurl = "{url}"\n{options if url.startswith("s3:") else ""}' for name, url in urls.items()
    )
    path.write_text(f'default = "{default}"\n' + "".join(tables))
    return {"ARTIFACTSTORE_HOME": str(home), "ARTIFACTSTORE_BACKENDS_CONFIG_PATH": str(path)}


def two_directories(home: Path) -> dict[str, str]:
    """Two local backends: ``disk``, the default one, and ``archive``."""
    return backends_file(home, {name: (home / name).as_uri() for name in (DISK, ARCHIVE)})


def settings_from(environment: Mapping[str, str]) -> Settings:
    return Settings.from_environment(environment)


def keys_in(registry: Registry, backend: str) -> set[str]:
    """Every object that lies in a backend, as the backend itself lists them."""
    store = registry.backend(backend)
    return {info.key.path for kind in ObjectKind for info in store.list(kind)}


def recorded_in(registry: Registry, backend: str) -> int:
    """How many objects the catalog has in a backend."""
    with registry.catalog.snapshot() as queries:
        return backends.content(queries.connection, backend)[0]


def paths_of(home: Path, backend: str, kind: ObjectKind) -> list[Path]:
    """The files of a local backend that are objects of a kind."""
    return sorted(path for path in (home / backend / f"{kind}s").rglob("*") if path.is_file())
