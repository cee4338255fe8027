"""What a pilot that contributes to the catalog may do besides: record its own events with a package, and look.

Only what ``built_in`` has registered contributes, so nobody else's plug-in is handed this. The events that come with a
package are those of the pilot's own contribution and no others; ``context.emit`` is as narrow for it as for anyone.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from artifactstore.catalog.contributions import contribution_of
from artifactstore.domain.provenance import IngestInput
from artifactstore.errors import CapabilityDeniedError, EmitGuardError
from artifactstore.plugins.host import GivenPackage
from artifactstore.plugins.loaded import DISTRIBUTION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from artifactstore.catalog.catalog import Transaction
    from artifactstore.catalog.contributions import Contribution
    from artifactstore.catalog.database import Connection
    from artifactstore.domain.event import Event
    from artifactstore.domain.package import PackageDraft, PackageReceipt
    from artifactstore.domain.provenance import EnvelopeInput, IngestResult, PartyInput, SourceInput
    from artifactstore.plugins.host import PluginHost, SchemaOf, Surroundings
    from artifactstore.plugins.loaded import LoadedPlugin
    from artifactstore.registry.progress import Progress


class RecordingContext(Protocol):
    """The context of a plug-in that contributes to the catalog."""

    def contributed(self) -> Contributed:
        """Raises ``CapabilityDeniedError`` for one that does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recordable:
    """A package of a pilot's: what ``PluginContext.ingest`` takes, and the events that are the pilot's own.

    ``events_of`` is asked in the package's transaction, perhaps more than once; what it raises takes everything back.
    """

    source: SourceInput
    envelope: EnvelopeInput
    parties: Sequence[PartyInput] = ()
    package: PackageDraft
    as_revision: bool = False
    events_of: Callable[[PackageReceipt], Sequence[Event]]

    def given(self) -> IngestInput:
        """As the host takes it."""
        return IngestInput.of_call(self.source, self.envelope, self.parties, self.package)


class Contributed:
    """The write and read access of one pilot's contribution, on one store."""

    def __init__(self, host: PluginHost, loaded: LoadedPlugin, *, schema_of: SchemaOf, progress: Progress) -> None:
        """Raises ``CapabilityDeniedError`` for a plug-in that contributes nothing, whatever it is called."""
        self._host = host
        self._loaded = loaded
        self._contribution = _contribution_of(loaded)
        self._schema_of = schema_of
        self._progress = progress

    def ingest(self, recordable: Recordable) -> IngestResult:
        """As ``PluginContext.ingest``, with the pilot's events in the package's transaction.

        Raises ``EmitGuardError`` for an event that is not the pilot's.
        """
        return self._host.ingest(
            recordable.given(),
            self._loaded.provenance,
            as_revision=recordable.as_revision,
            schema_of=self._schema_of,
            progress=self._progress,
            events_of=partial(self._events, recordable),
        )

    def ingest_together(self, several: Sequence[Recordable]) -> list[IngestResult]:
        """The same for packages that are all new, in one transaction.

        Raises ``ConcurrentUpdateError`` if one is recorded already, and what ``ingest`` raises for any; nothing is
        recorded then.
        """
        given = [
            GivenPackage(each.given(), each.package, each.as_revision, partial(self._events, each)) for each in several
        ]
        return self._host.ingest_together(
            given, self._loaded.provenance, schema_of=self._schema_of, progress=self._progress
        )

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """One consistent view of the catalog."""
        with self._host.registry.catalog.snapshot() as queries:
            yield queries.connection

    def read_file(self, package_id: str, path: str) -> bytes:
        """A small file of a package, checked. Raises what ``registry.files.send_file`` raises."""
        from io import BytesIO

        from artifactstore.registry.files import send_file

        sink = BytesIO()
        send_file(self._host.registry, package_id, path, sink)
        return sink.getvalue()

    @property
    def surroundings(self) -> Surroundings:
        """What the settings say of other services."""
        return self._host.surroundings

    def _events(self, recordable: Recordable, tx: Transaction, receipt: PackageReceipt) -> Sequence[Event]:
        """Those who write to the pilot's tables do so one after the other: no two wait for each other's rows."""
        tx.lock("contribution", self._contribution.name)
        events = recordable.events_of(receipt)
        for event in events:
            if type(event) not in self._contribution.projections:
                raise EmitGuardError(
                    f"{event.type} is not an event that {self._contribution.name} contributes", reason="namespace"
                )
        return events


def _contribution_of(loaded: LoadedPlugin) -> Contribution:
    found = contribution_of(loaded.plugin.name) if loaded.distribution == DISTRIBUTION else None
    if found is None:
        raise CapabilityDeniedError(
            f"the plug-in {loaded.plugin.name!r} contributes nothing to the catalog",
            hint="Only pilots that come with artifactstore do.",
        )
    return found
