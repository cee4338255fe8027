"""From what a plug-in says to what is recorded: checked, normalised, and with the ids that follow from it.

In this order: the payload's size, which needs no look at anything else; the types, which are the contract's own; every
member; and, with the host's vocabulary, the kinds, roles and levels of trust. Nothing here does any I/O.

What was checked is what is recorded: the check answers a copy that nobody else has, of plain text and numbers. A value
of a type that a plug-in derived from these is asked once what it is, and cannot say something else later.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import is_
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from artifactstore.domain.canonical import canonical_object
from artifactstore.domain.instant import EPOCH, LATEST, Instant, instant_of
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
_MICROSECOND = timedelta(microseconds=1)
_OURS = (SourceInput, Retrieval, EnvelopeInput, PartyInput)


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


def check_input(given: IngestInput, *, max_payload_bytes: int) -> IngestInput:
    """The rules that need no vocabulary; the input as it is to be recorded: nothing in it can answer otherwise later.

    Raises ``PayloadTooLargeError`` before anything else is looked at, ``ProvenanceError`` for values of types derived
    from the contract's, and ``ObservationError`` naming every member that is wrong.
    """
    _require(given, IngestInput, "the input")
    payload: object = getattr(given.envelope, "raw_payload", None) if type(given.envelope) is EnvelopeInput else None
    if type(payload) is bytes and len(payload) > max_payload_bytes:
        raise PayloadTooLargeError(f"the payload has {len(payload)} bytes, more than {max_payload_bytes}")
    _check_types(given)
    source, envelope = _plain(given.source), _plain(given.envelope)
    parties = tuple(map(_plain, given.parties[: MAX_PARTIES + 1]))
    metadata, metadata_problem = _metadata(source.metadata)
    moment, time_problem = _moment(envelope.received_at)
    problems = [
        *_source_problems(source),
        ("/source/metadata", metadata_problem),
        *_envelope_problems(envelope),
        ("/envelope/received_at", time_problem),
        *_parties_problems(parties),
    ]
    if found := tuple(Problem(where, what) for where, what in problems if what):
        raise ObservationError("the observation cannot be recorded as described", problems=found)
    if metadata is not None:
        source = replace(source, metadata=metadata)
    if moment is not envelope.received_at:
        envelope = replace(envelope, received_at=moment)
    return IngestInput(source, envelope, parties, given.package)


def settled(given: IngestInput, vocabulary: Vocabulary) -> Observation:
    """What ``check_input`` has answered, by the host's words.

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
        metadata=source.metadata,
        transport=envelope.transport,
        received_at=instant_of(envelope.received_at),
        raw_payload=envelope.raw_payload,
        parties=_parties(given.parties, vocabulary),
    )


# types


def _check_types(given: IngestInput) -> None:
    """Exactly the contract's own types: what a derived one says besides is not read, so it may not be said."""
    _require(given.source, SourceInput, "/source")
    _require(getattr(given.source, "retrieval", None), Retrieval, "/source/retrieval")
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


def _plain(value: Any) -> Any:
    """One of ours of plain text, built anew if it was not; what is missing in it is None. Anything else as it is."""
    kind = type(value)
    if kind is str or value is None:
        return value
    if kind in _OURS:
        members = [getattr(value, name, None) for name in kind.__slots__]
        plain = [member if type(member) is str else _plain(member) for member in members]
        return value if all(map(is_, members, plain)) else kind(*plain)
    return str.__str__(value) if issubclass(kind, str) else value


# members


def _parties_problems(parties: tuple[PartyInput, ...]) -> Iterator[tuple[str, str]]:
    if len(parties) > MAX_PARTIES:
        yield "/parties", f"are more than {MAX_PARTIES}"
        return
    for number, party in enumerate(parties):
        yield from _party_problems(party, f"/parties/{number}")


def _source_problems(source: SourceInput) -> Iterator[tuple[str, str]]:
    yield "/source/location_kind", _text(source.location_kind)
    yield "/source/path_id", _text(source.path_id, MAX_PATH_ID_CHARACTERS)
    yield "/source/owner_host_id", _optional_text(source.owner_host_id)
    yield "/source/retrieval/display_name", _optional_text(source.retrieval.display_name)
    content_type: object = source.retrieval.content_type
    if content_type is not None and not (isinstance(content_type, str) and is_media_type(content_type)):
        yield "/source/retrieval/content_type", "must be a media type such as message/rfc822"


def _metadata(given: object) -> tuple[dict[str, Any] | None, str]:
    """A source's metadata in canonical form, and what is wrong with it; empty if nothing."""
    if given is None:
        return None, ""
    if type(given) is not dict:
        return None, f"is a {type(given).__name__}, not a JSON object"
    try:
        metadata = canonical_object(given)
        size_bytes = len(json.dumps(metadata).encode())
    except MetadataInvalidError as error:
        first = error.problems[0]
        return None, f"{first.where or '/'} {first.what}"
    return metadata, "" if size_bytes <= MAX_METADATA_BYTES else (
        f"has {size_bytes} bytes of JSON, more than {MAX_METADATA_BYTES}"
    )


def _envelope_problems(envelope: EnvelopeInput) -> Iterator[tuple[str, str]]:
    transport: object = envelope.transport
    yield "/envelope/transport", slug_problem(transport) if isinstance(transport, str) else "must be text"
    if type(envelope.raw_payload) is not bytes:
        yield "/envelope/raw_payload", f"is a {type(envelope.raw_payload).__name__}, not bytes"


def _moment(given: datetime) -> tuple[datetime, str]:
    """The moment in UTC, and what is wrong with it; empty if nothing. A time zone is code, and is asked only here."""
    if type(given) is datetime and given.tzinfo is UTC and given >= EPOCH:
        return given, ""
    if not issubclass(type(given), datetime):
        return EPOCH, f"is a {type(given).__name__}, not a datetime"
    try:
        if datetime.utcoffset(given) is None:
            return EPOCH, "has no offset from UTC, so it could mean any of 26 hours"
        since: timedelta = datetime.__sub__(given, EPOCH)
    except Exception as error:  # noqa: BLE001 - it is an answer
        return EPOCH, f"has a time zone that fails: {type(error).__name__}"
    is_possible = 0 <= since // _MICROSECOND <= LATEST
    return (EPOCH + since, "") if is_possible else (EPOCH, "is not between 1970 and the end of 9999 in UTC")


def _party_problems(party: PartyInput, where: str) -> Iterator[tuple[str, str]]:
    for name in ("identifier_kind", "identifier_value", "role", "trust"):
        if problem := _text(getattr(party, name)):
            yield f"{where}/{name}", problem
    if problem := _optional_text(party.identifier_scope):
        yield f"{where}/identifier_scope", problem


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
        raise PathIdInvalidError(f"/source/path_id is none of a {kind.name}: it {problem}", hint=kind.summary)
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
        raise ObservationError(f"{where}/identifier_value is none of the kind {kind.name}: it {problem}")
    return PartyRef(kind.name, party.identifier_scope, value, party.role, party.trust)


def _scope_problem(kind: IdentifierKind, scope: str | None) -> str:
    match kind.scoping:
        case Scoping.GLOBAL:
            return "" if scope is None else f"may not be given: {kind.name} names somebody without one"
        case Scoping.SCOPED:
            return "" if scope is not None else f"is missing: {kind.name} names somebody within a scope"


def _normalised(kind: LocationKind | IdentifierKind, text: str) -> str:
    found = _asked(kind.name, "normaliser", kind.normalise, text)
    if not issubclass(type(found), str):
        raise _failed(kind.name, "normaliser", f"it answered a {type(found).__name__}")
    return str.__str__(found)


def _problem_of(kind: LocationKind | IdentifierKind, text: str) -> str:
    found = _asked(kind.name, "validator", kind.problem, text)
    if found is not None and not issubclass(type(found), str):
        raise _failed(kind.name, "validator", f"it answered a {type(found).__name__}")
    return found or ""


def _asked(word: str, what: str, ask: Callable[[str], T], text: str) -> T:
    try:
        return ask(text)
    except ArtifactStoreError:
        raise
    except (Exception, SystemExit) as error:
        raise _failed(word, what, type(error).__name__) from error


def _failed(word: str, what: str, how: str) -> PluginFailedError:
    return PluginFailedError(f"the plug-in {owner_of(word)!r} failed in its {what} of {word}: {how}")
