"""A store with this pilot's context, rules with everything at its ordinary value, and what is in it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from artifactstore.bootstrap import host_of, open_registry
from artifactstore.built_in import load_plugin
from artifactstore.config import BackendSettings, Settings
from artifactstore.pilots.testing_os import records
from artifactstore.pilots.testing_os.index_documents import IndexDocuments, documents
from artifactstore.pilots.testing_os.ingesting import Outcome, ingest_submission
from artifactstore.pilots.testing_os.package import RECORD_FILE
from artifactstore.pilots.testing_os.provenance import stub_provenance
from artifactstore.pilots.testing_os.rules import Rules
from artifactstore.pilots.testing_os.stage_log import stage_log
from artifactstore.pilots.testing_os.submission import Received, parse_submission
from artifactstore.plugins.context import EmbeddedContext
from artifactstore.registry.files import send_file
from tests.pilots.testing_os.judging import AS_OF, policies

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry


class RecordStore:
    """A registry, seen by the pilot."""

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self.registry = registry
        self.context = EmbeddedContext(host_of(registry, settings), load_plugin("testing-os"))
        self.log: list[dict[str, Any]] = []

    def ingest(self, document: Any, **changed: Any) -> Outcome:
        """A submission, judged by the golden global policy unless ``changed`` says otherwise."""
        received = document if isinstance(document, Received) else parse_submission(json.dumps(document).encode())
        log = stage_log(received.value, lambda line: self.log.append(json.loads(line)))
        return ingest_submission(self.context, received, rules(**changed), log)

    def record(self, package_id: str) -> Any:
        """The record of a package."""
        return json.loads(self.file(package_id, RECORD_FILE))

    def file(self, package_id: str, path: str) -> bytes:
        import io

        sink = io.BytesIO()
        send_file(self.registry, package_id, path, sink)
        return sink.getvalue()

    def indexes(self, **options: Any) -> IndexDocuments:
        with self.registry.catalog.snapshot() as queries:
            found = records.surfaces(queries.connection)
        return documents(found, **{"as_of": AS_OF, **options})

    def failing_since(self) -> dict[tuple[str, str], int | None]:
        with self.registry.catalog.snapshot() as queries:
            found = records.surfaces(queries.connection)
        return {(each.repo, each.surface): each.failing_since_ms for each in found}

    def history(self, repo: str, **options: Any) -> list[records.StoredRecord]:
        with self.registry.catalog.snapshot() as queries:
            return records.history(queries.connection, repo, **{"limit": 100, **options})

    def package_count(self) -> int:
        with self.registry.catalog.snapshot() as queries:
            return len(queries.packages(after=0, limit=10_000))


def rules(**changed: Any) -> Rules:
    ordinary: dict[str, Any] = {"policies": lambda _: policies(), "provenance": stub_provenance, "clock": lambda: AS_OF}
    return Rules(**{**ordinary, **changed})


@contextmanager
def store_in_memory(home: Path) -> Iterator[RecordStore]:
    settings = Settings(home=home, database_url="sqlite://", backends={"default": BackendSettings("memory://")})
    registry = open_registry(settings, actor="local:tester")
    try:
        yield RecordStore(registry, settings)
    finally:
        registry.close()
