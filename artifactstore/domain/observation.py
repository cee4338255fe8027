"""From what a plug-in says to what is recorded: checked, normalised, and with the ids that follow from it.

In this order: the payload's size, which needs no look at anything else; the types, which are the contract's own; every
member; and, with the host's vocabulary, the kinds, roles and levels of trust. Nothing here does any I/O.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from artifactstore.domain.canonical import canonical_object
from artifactstore.domain.instant import LATEST, Instant
from artifactstore.domain.package import PackageDraft, is_media_type, slug_problem, text_problem
from artifactstore.domain.provenance import (
    MAX_PARTIES,
    EnvelopeInput,
    IngestInput,
    PartyInput,
    Retrieval,
    SourceInput,
    source_id,
)
from artifactstore.domain.provenance_events import PartyRef
from artifactstore.domain.vocabulary import (
    IdentifierKind,
    LocationKind,
    Scoping,
    identifier_kind,
    is_role,
    is_trust_level,
    location_kind,
    owner_of,
)
from artifactstore.errors import (
    ArtifactStoreError,
    IdentifierKindUnknownError,
    LocationKindUnknownError,
    MetadataInvalidError,
    ObservationError,
    PathIdInvalidError,
    PayloadTooLargeError,
    PluginFailedError,
    Problem,
    ProvenanceError,
    RoleInvalidError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from artifactstore.domain.vocabulary import Vocabulary

T = TypeVar("T")

MAX_PATH_ID_CHARACTERS = 2_048
MAX_METADATA_BYTES = 64 * 1024
"""Of a source, as JSON."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OURS = (IngestInput, SourceInput, Retrieval, EnvelopeInput, PartyInput)


class Observation(NamedTuple):
    """What is to be recorded of one call, besides the package and who made it."""

    source_id: bytes
    location_kind: str
    path_id: str
    owner_host_id: str | None
    content_type: str | None
    display_name: str | None
    metadata: dict[str, Any] | None
    transport: str
    received_at: Instant
    raw_payload: bytes
    parties: tuple[PartyRef, ...]


def check_input(given: IngestInput, *, max_payload_bytes: int) -> None:
    """The rules that need no vocabulary.

    Raises ``PayloadTooLargeError`` before anything else is looked at, ``ProvenanceError`` for values of types derived
    from the contract's, and ``ObservationError`` naming every member that is wrong.
    """
    payload = getattr(given.envelope, "raw_payload", None)
    if isinstance(payload, bytes) and len(payload) > max_payload_bytes:
        raise PayloadTooLargeError(f"the payload has {len(payload)} bytes, more than {max_payload_bytes}")
    _check_types(given)
    if problems := tuple(Problem(where, what) for where, what in _problems(given) if what):
        raise ObservationError("the observation cannot be recorded as described", problems=problems)


def settled(given: IngestInput, vocabulary: Vocabulary) -> Observation:
    """A checked input by the host's words.

    Raises ``LocationKindUnknownError``, ``PathIdInvalidError``, ``IdentifierKindUnknownError``, ``RoleInvalidError``,
    ``ObservationError``, and ``PluginFailedError`` naming the plug-in whose normaliser or validator raised.
    """
    source, envelope = given.source, given.envelope
    kind = location_kind(vocabulary, source.location_kind)
    if kind is None:
        raise LocationKindUnknownError(f"no installed plug-in registers the location kind {source.location_kind!r}")
    path_id = _path_id(kind, source.path_id)
    return Observation(
        source_id=source_id(kind.name, path_id),
        location_kind=kind.name,
        path_id=path_id,
        owner_host_id=source.owner_host_id,
        content_type=source.retrieval.content_type,
        display_name=source.retrieval.display_name,
        metadata=None if source.metadata is None else _canonical(source.metadata),
        transport=envelope.transport,
        received_at=_instant(envelope.received_at),
        raw_payload=envelope.raw_payload,
        parties=_parties(given.parties, vocabulary),
    )


# types


def _check_types(given: IngestInput) -> None:
    """Exactly the contract's own types: what a derived one says besides is not read, so it may not be said."""
    _require(given.source, SourceInput, "/source")
    _require(given.source.retrieval, Retrieval, "/source/retrieval")
    _require(given.envelope, EnvelopeInput, "/envelope")
    if type(given.parties) is not tuple:
        raise ObservationError(f"/parties is a {type(given.parties).__name__}, not a sequence of PartyInput")
    for number, party in enumerate(given.parties):
        _require(party, PartyInput, f"/parties/{number}")
    if given.package is not None:
        _require(given.package, PackageDraft, "/package")


def _require(value: object, expected: type, where: str) -> None:
    if type(value) is expected:
        return
    found = type(value).__name__
    if isinstance(value, expected):
        raise ProvenanceError(f"{where} is a {found}, which is derived from {expected.__name__}")
    raise ObservationError(f"{where} is a {found}, not a {expected.__name__}")


# members


def _problems(given: IngestInput) -> Iterator[tuple[str, str]]:
    yield from _source_problems(given.source)
    yield from _envelope_problems(given.envelope)
    if len(given.parties) > MAX_PARTIES:
        yield "/parties", f"are {len(given.parties)}, more than {MAX_PARTIES}"
        return
    for number, party in enumerate(given.parties):
        yield from _party_problems(party, f"/parties/{number}")


def _source_problems(source: SourceInput) -> Iterator[tuple[str, str]]:
    yield "/source/location_kind", _text(source.location_kind)
    yield "/source/path_id", _text(source.path_id, MAX_PATH_ID_CHARACTERS)
    yield "/source/owner_host_id", _optional_text(source.owner_host_id)
    yield "/source/retrieval/display_name", _optional_text(source.retrieval.display_name)
    content_type: object = source.retrieval.content_type
    if content_type is not None and not (isinstance(content_type, str) and is_media_type(content_type)):
        yield "/source/retrieval/content_type", "must be a media type such as message/rfc822"
    if source.metadata is not None:
        yield "/source/metadata", _metadata_problem(source.metadata)


def _metadata_problem(metadata: object) -> str:
    if type(metadata) is not dict:
        return f"is a {type(metadata).__name__}, not a JSON object"
    try:
        size_bytes = len(json.dumps(_canonical(metadata)).encode())
    except ObservationError as error:
        return error.message
    return "" if size_bytes <= MAX_METADATA_BYTES else f"has {size_bytes} bytes of JSON, more than {MAX_METADATA_BYTES}"


def _canonical(metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        return canonical_object(metadata, what="the source's metadata")
    except MetadataInvalidError as error:
        first = error.problems[0]
        raise ObservationError(f"{first.where or '/'} {first.what}") from error


def _envelope_problems(envelope: EnvelopeInput) -> Iterator[tuple[str, str]]:
    transport: object = envelope.transport
    yield "/envelope/transport", slug_problem(transport) if isinstance(transport, str) else "must be text"
    if type(envelope.raw_payload) is not bytes:
        yield "/envelope/raw_payload", f"is a {type(envelope.raw_payload).__name__}, not bytes"
    yield "/envelope/received_at", _time_problem(envelope.received_at)


def _time_problem(moment: object) -> str:
    if not isinstance(moment, datetime):
        return f"is a {type(moment).__name__}, not a datetime"
    if moment.tzinfo is None or moment.utcoffset() is None:
        return "has no offset from UTC, so it could mean any of 26 hours"
    return "" if 0 <= _instant(moment) <= LATEST else "is not between 1970 and the end of 9999 in UTC"


def _instant(moment: datetime) -> Instant:
    return Instant((moment - _EPOCH) // timedelta(microseconds=1))


def _party_problems(party: PartyInput, where: str) -> Iterator[tuple[str, str]]:
    for name in ("identifier_kind", "identifier_value", "role", "trust"):
        yield f"{where}/{name}", _text(getattr(party, name))
    yield f"{where}/identifier_scope", _optional_text(party.identifier_scope)


def _text(value: object, max_characters: int | None = None) -> str:
    if not isinstance(value, str):
        return f"is a {type(value).__name__}, not text"
    return text_problem(value) if max_characters is None else text_problem(value, max_characters)


def _optional_text(value: object) -> str:
    return "" if value is None else _text(value)


# words


def _path_id(kind: LocationKind, given: str) -> str:
    path_id = _normalised(kind, given)
    if problem := text_problem(path_id, MAX_PATH_ID_CHARACTERS) or _problem_of(kind, path_id):
        raise PathIdInvalidError(f"{given!r} is no path id of {kind.name}: it {problem}", hint=kind.summary)
    return path_id


def _parties(given: tuple[PartyInput, ...], vocabulary: Vocabulary) -> tuple[PartyRef, ...]:
    """In the order they were named. Who is named twice in one role is named once."""
    found: dict[tuple[str, str | None, str, str], PartyRef] = {}
    for number, party in enumerate(given):
        settled_party = _party(party, f"/parties/{number}", vocabulary)
        found.setdefault(settled_party[:4], settled_party)
    return tuple(found.values())


def _party(party: PartyInput, where: str, vocabulary: Vocabulary) -> PartyRef:
    kind = identifier_kind(vocabulary, party.identifier_kind)
    if kind is None:
        raise IdentifierKindUnknownError(
            f"{where}: no installed plug-in registers the identifier kind {party.identifier_kind!r}"
        )
    if not is_role(vocabulary, party.role):
        raise RoleInvalidError(f"{where}: no installed plug-in registers the role {party.role!r}")
    if not is_trust_level(vocabulary, party.trust):
        raise ObservationError(f"{where}/trust: no installed plug-in registers the level of trust {party.trust!r}")
    if problem := _scope_problem(kind, party.identifier_scope):
        raise ObservationError(f"{where}/identifier_scope {problem}")
    value = _normalised(kind, party.identifier_value)
    if problem := text_problem(value) or _problem_of(kind, value):
        raise ObservationError(
            f"{where}: {party.identifier_value!r} is no identifier of the kind {kind.name}: it {problem}"
        )
    return PartyRef(kind.name, party.identifier_scope, value, party.role, party.trust)


def _scope_problem(kind: IdentifierKind, scope: str | None) -> str:
    match kind.scoping:
        case Scoping.GLOBAL:
            return "" if scope is None else f"may not be given: {kind.name} names somebody without one"
        case Scoping.SCOPED:
            return "" if scope is not None else f"is missing: {kind.name} names somebody within a scope"


def _normalised(kind: LocationKind | IdentifierKind, text: str) -> str:
    found = _asked(kind.name, "normaliser", lambda: kind.normalise(text))
    if not isinstance(found, str):
        raise _failed(kind.name, "normaliser", f"it answered a {type(found).__name__}")
    return found


def _problem_of(kind: LocationKind | IdentifierKind, text: str) -> str:
    found = _asked(kind.name, "validator", lambda: kind.problem(text))
    if found is not None and not isinstance(found, str):
        raise _failed(kind.name, "validator", f"it answered a {type(found).__name__}")
    return found or ""


def _asked(word: str, what: str, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except ArtifactStoreError:
        raise
    except Exception as error:
        raise _failed(word, what, f"{type(error).__name__}: {error}") from error


def _failed(word: str, what: str, how: str) -> PluginFailedError:
    return PluginFailedError(f"the plug-in {owner_of(word)!r} failed in its {what} of {word}: {how}")
