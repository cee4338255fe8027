"""From the JSON of an observation to what the host is given: the caller's token says who observed it, nothing else."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from artifactstore.api.provenance_models import Observing
from artifactstore.api.requests import body_of, optional_body_of
from artifactstore.domain.instant import parse_time
from artifactstore.domain.package import slug_problem, text_problem
from artifactstore.domain.provenance import (
    EnvelopeInput,
    IngestInput,
    PartyInput,
    Provenance,
    Retrieval,
    SourceInput,
)
from artifactstore.errors import ObservationError, Problem, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from artifactstore.api.provenance_models import DeclaredPlugin, EnvelopeSaid, SourceSaid
    from artifactstore.domain.access import Caller
    from artifactstore.domain.provenance import IngestResult
    from artifactstore.plugins.host import PluginHost
    from artifactstore.registry.observing import ObservationBeside

MAX_OBSERVING_BYTES = 4 * 1024 * 1024
"""Of the JSON: the largest payload that can be configured, in base64, and much said of it."""
OBSERVING = body_of(Observing, max_bytes=MAX_OBSERVING_BYTES)
OPTIONAL_OBSERVING = optional_body_of(Observing, max_bytes=MAX_OBSERVING_BYTES)


def ingest_of(host: PluginHost, caller: Caller, body: Observing) -> IngestResult:
    """Record an observation without a package. Raises what ``PluginContext.ingest`` raises."""
    return host.ingest(_given(body), _provenance(body.plugin, caller), answer_for=_answer_for(caller))


def beside_of(host: PluginHost, caller: Caller, body: Observing) -> ObservationBeside:
    """The observation of a package, to stand in its transaction. Raises ``ObservationError`` and its kinds."""
    return host.beside(_given(body), _provenance(body.plugin, caller), answer_for=_answer_for(caller))


def _answer_for(caller: Caller) -> str | None:
    """Whoever does not read everything is told of its own observations only."""
    return None if caller.reads_everything else caller.actor


def _provenance(plugin: DeclaredPlugin, caller: Caller) -> Provenance:
    if problems := tuple(Problem(where, what) for where, what in _plugin_problems(plugin) if what):
        raise ObservationError("the plug-in cannot be declared as described", problems=problems)
    return Provenance(plugin.name, plugin.version, plugin.contract_version, declared_by=caller.actor)


def _plugin_problems(plugin: DeclaredPlugin) -> Iterator[tuple[str, str]]:
    yield "/plugin/name", slug_problem(plugin.name)
    yield "/plugin/version", "" if plugin.version is None else text_problem(plugin.version)
    yield "/plugin/contract_version", text_problem(plugin.contract_version)


def _given(body: Observing) -> IngestInput:
    parties = tuple(PartyInput(**party.model_dump()) for party in body.parties)
    return IngestInput(_source(body.source), _envelope(body.envelope), parties)


def _source(said: SourceSaid) -> SourceInput:
    return SourceInput(
        location_kind=said.location_kind,
        path_id=said.path_id,
        owner_host_id=said.owner_host_id,
        retrieval=Retrieval(said.retrieval.content_type, said.retrieval.display_name),
        metadata=said.metadata,
    )


def _envelope(said: EnvelopeSaid) -> EnvelopeInput:
    return EnvelopeInput(said.transport, _payload(said.raw_payload), _time(said.received_at))


def _payload(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise _wrong("/envelope/raw_payload", "is not standard base64 (RFC 4648 section 4)") from error


def _time(text: str) -> datetime:
    """As it stands there; that it has an offset is for the contract to check."""
    try:
        return parse_time(text)
    except UsageError as error:
        raise _wrong("/envelope/received_at", "is not a time such as 2027-01-31T00:00:00Z") from error


def _wrong(where: str, what: str) -> ObservationError:
    return ObservationError("the observation cannot be recorded as described", problems=(Problem(where, what),))
