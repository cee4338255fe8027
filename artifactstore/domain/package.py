"""Packages: what a producer hands in, what it gets back, and the states in between.

States and legal transitions::

    open ──► finalized ◄──► expired ──► deleted
      └─────────────────────►┘

An open package that is abandoned expires without ever having been finalized. An extension leads back from expired to
finalized; nothing else leads back.
"""

from __future__ import annotations

import io
import json
import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from artifactstore.errors import LimitExceededError, PackageInvalidError, PackageStateError, Problem, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.retention import RetentionClass

MAX_FILE_BYTES = 1 << 40
MAX_TEXT_CHARACTERS = 512
MAX_REASON_CHARACTERS = 2_000
MAX_SEARCHED_CHARACTERS = 256
MAX_MEDIA_TYPE_CHARACTERS = 255
DEFAULT_ROLE = "content"
_NAME = r"[!#$&^_.+\w-]+"
_MEDIA_TYPE = re.compile(rf'{_NAME}/{_NAME}(?:; ?{_NAME}=(?:{_NAME}|"[ !#-\[\]-~]*"))*', re.ASCII)
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")


class PackageStatus(StrEnum):
    """Where a package is in its life."""

    OPEN = "open"
    FINALIZED = "finalized"
    EXPIRED = "expired"
    DELETED = "deleted"

    @classmethod
    def parse(cls, text: str) -> PackageStatus:
        """Raises ``UsageError`` naming the four."""
        if text not in list(cls):
            raise UsageError(f"there is no status {text[:60]!r}", hint=f"A package is {', '.join(cls)}.")
        return cls(text)


TRANSITIONS = {
    PackageStatus.OPEN: frozenset({PackageStatus.FINALIZED, PackageStatus.EXPIRED}),
    PackageStatus.FINALIZED: frozenset({PackageStatus.EXPIRED}),
    PackageStatus.EXPIRED: frozenset({PackageStatus.FINALIZED, PackageStatus.DELETED}),
    PackageStatus.DELETED: frozenset[PackageStatus](),
}


def check_transition(package_id: str, current: PackageStatus, target: PackageStatus) -> None:
    """Raises ``PackageStateError`` unless ``current`` may become ``target``."""
    if target not in TRANSITIONS[current]:
        raise PackageStateError(f"package {package_id} is {current} and cannot become {target}")


class OpenedFile(Protocol):
    """A file that is open for its one pass."""

    size_bytes: int

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; empty at the end."""

    def finish(self) -> None:
        """Raises ``FileChangedError`` unless the file is still what it was when it was opened."""

    def close(self) -> None:
        """Release it."""


class FileSource(Protocol):
    """Where a draft's file gets its bytes. It may be opened more than once and must give the same bytes each time."""

    def open(self) -> OpenedFile:
        """Raises ``FileUnreadableError`` or ``LinkInvalidError`` naming the file."""


class BytesSource:
    """A file's bytes that are in memory already."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def open(self) -> OpenedFile:
        """Always succeeds."""
        return _OpenedBytes(self._data)


class _OpenedBytes(io.BytesIO):
    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.size_bytes = len(data)

    def finish(self) -> None:
        """Memory does not change."""


class FileDraft(NamedTuple):
    """One file a producer hands in."""

    path: str
    source: FileSource
    role: str
    media_type: str
    expected_sha256: bytes | None = None
    """What the producer checked the file against, if it did: the bytes that are stored must be the same."""


@dataclass(frozen=True, slots=True)
class PackageDraft:
    """A package a producer hands in. Files in any order; ``metadata`` must satisfy ``schema`` if there is one."""

    producer: str
    files: tuple[FileDraft, ...]
    retention_class: RetentionClass
    external_id: str | None = None
    subject: str | None = None
    schema: str | None = None
    metadata: dict[str, JsonValue] | None = None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> object:
        """For a host's ``TypeAdapter(IngestInput)``: a draft is one, and what it may hold the store decides."""
        from pydantic_core import core_schema

        return core_schema.is_instance_schema(cls)


@dataclass(frozen=True, slots=True)
class PackageReceipt:
    """What a producer gets back, and all that others need to keep: the id and the digest."""

    package_id: str
    manifest_digest: str
    file_count: int
    total_bytes: int
    stored_bytes: int
    """Bytes this call added to storage; 0 for a package that was there already."""
    reused_existing: bool
    revision: int


def check_draft(draft: PackageDraft, *, max_files: int) -> None:
    """The rules for everything but paths and metadata. Raises ``PackageInvalidError`` or ``LimitExceededError``."""
    check_file_count(len(draft.files), max_files)
    problems = [Problem("producer", slug_problem(draft.producer)), *_text_problems(draft)]
    problems += [Problem(f"role of {file.path}", slug_problem(file.role)) for file in _first_of_each_role(draft)]
    problems += [
        Problem(f"media type of {file.path}", "must be a media type such as text/plain")
        for file in {file.media_type: file for file in reversed(draft.files)}.values()
        if not is_media_type(file.media_type)
    ]
    if draft.schema is not None and draft.metadata is None:
        problems.append(Problem("metadata", f"is missing, and schema {draft.schema} asks for it"))
    if found := tuple(problem for problem in problems if problem.what):
        raise PackageInvalidError("the package cannot be recorded as described", problems=found)


def check_sizes(sizes: Iterable[tuple[str, int]]) -> None:
    """Raises ``LimitExceededError`` naming every path whose file is larger than one may be."""
    problems = tuple(
        Problem(path, f"has {size} bytes, more than {MAX_FILE_BYTES}") for path, size in sizes if size > MAX_FILE_BYTES
    )
    if problems:
        raise LimitExceededError("some files are too large", hint="Split them.", problems=problems)


def search_terms(metadata: Mapping[str, JsonValue]) -> dict[str, str]:
    """What a package can be found by: the top-level members that are text, a number or a boolean, as text.

    A key or a value of more than 256 characters is left out, and one with a NUL, which not every database can hold.
    """
    texts = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in metadata.items()
        if isinstance(value, str | int | float)
    }
    return {key: text for key, text in texts.items() if _is_searched(key) and _is_searched(text)}


def _is_searched(text: str) -> bool:
    return len(text) <= MAX_SEARCHED_CHARACTERS and "\0" not in text


def check_file_count(count: int, max_files: int) -> None:
    """Raises ``LimitExceededError`` for more files than a package may have."""
    if count > max_files:
        raise LimitExceededError(
            f"{count} files are more than {max_files}", hint="Raise ARTIFACTSTORE_MAX_FILES, or split the package."
        )


def check_slug(text: str, *, what: str) -> None:
    """Raises ``PackageInvalidError`` unless ``text`` is a slug: at most 64 of a-z, 0-9, ``.``, ``_``, ``-``."""
    if problem := slug_problem(text):
        raise PackageInvalidError(f"{what} {text[:80]!r} {problem}")


def check_media_type(text: str) -> None:
    """Raises ``PackageInvalidError`` unless it is a media type: names of RFC 6838, parameters of RFC 9110."""
    if not is_media_type(text):
        raise PackageInvalidError(f"{text[:80]!r} is not a media type such as text/plain")


def is_media_type(text: str) -> bool:
    """Whether it is one. It becomes a header of a download, so nothing else may stand in it."""
    return len(text) <= MAX_MEDIA_TYPE_CHARACTERS and _MEDIA_TYPE.fullmatch(text) is not None


def check_reason(text: str) -> None:
    """The rule for why something was done, which goes into the event log. Raises ``PackageInvalidError``."""
    check_text(text, what="the reason", max_characters=MAX_REASON_CHARACTERS)


def check_text(text: str, *, what: str, max_characters: int = MAX_TEXT_CHARACTERS) -> None:
    """Raises ``PackageInvalidError`` unless ``text`` is printable, in NFC and neither empty nor too long."""
    if problem := text_problem(text, max_characters):
        raise PackageInvalidError(f"{what} {problem}")


def slug_problem(text: str) -> str:
    """What keeps it from being a slug; empty if nothing."""
    return "" if _SLUG.fullmatch(text) else "must be 1 to 64 of a-z 0-9 . _ - and start and end with a letter or digit"


def _text_problems(draft: PackageDraft) -> list[Problem]:
    texts = {"external_id": draft.external_id, "subject": draft.subject}
    return [Problem(name, text_problem(text)) for name, text in texts.items() if text is not None]


def text_problem(text: str, max_characters: int = MAX_TEXT_CHARACTERS) -> str:
    """What keeps it from being a text as ``check_text`` has it; empty if nothing."""
    if not 0 < len(text.strip()) <= len(text) <= max_characters:
        return f"must have 1 to {max_characters} characters"
    if text.isascii() and text.isprintable():
        return ""
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        return "must not contain control characters or unpaired surrogates"
    return "" if unicodedata.is_normalized("NFC", text) else "must be in Unicode normalisation form C"


def _first_of_each_role(draft: PackageDraft) -> list[FileDraft]:
    return list({file.role: file for file in reversed(draft.files)}.values())
