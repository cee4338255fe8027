"""A retention plan: what is deleted, what is kept, by which rule, and the bytes that come free, as JSON lines.

One RFC 8785 document on each line: first the header (what the plan was made of), then a line for each package
concerned in the order of package ids, at last the totals. So a plan of any size is written and read as a stream, and
the same state of a store gives the same bytes. Concerned is what is expired, and what would be but for a hold.

::

    {"as_of": ..., "keep_newest": {}, "log_seq": 41, "plan": 1, "repack_percent": 50}
    {"decision": "delete", "frees_bytes": 812, "package_id": ..., "rule": "expired", ...}
    {"decision": "keep", "frees_bytes": 0, "holds": [...], "package_id": ..., "rule": "hold", ...}
    {"delete": 1, "frees_by_backend": {"default": 812}, "frees_bytes": 812, "keep": 1, ...}

Beside it stand the blobs of what is deleted, a line for each, in the order in which they came into the store::

    {"blob": "blake3:...", "decision": "delete", "files": 1, "rule": "unreferenced", "size_bytes": 812}
    {"blob": "blake3:...", "decision": "keep", "files": 1, "files_kept": 2, "rule": "shared", "size_bytes": 90}
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from artifactstore.domain.canonical import canonical_json
from artifactstore.errors import PlanInvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from artifactstore.domain.canonical import JsonValue

T = TypeVar("T")

PLAN_PRODUCER = "artifactstore"
PLAN_SCHEMA = "artifactstore.retention-plan.v1"
PLAN_ROLE = "plan"
PLAN_PATH = "plan.jsonl"
PLAN_BLOBS_ROLE = "blobs"
PLAN_BLOBS_PATH = "blobs.jsonl"
PLAN_MEDIA_TYPE = "application/jsonl"
_VERSION = 1
_TOO_MANY = 2**63
MAX_LINE_BYTES = 1024 * 1024
"""What a line may have: a package may have very many holds, not any number."""


class Decision(StrEnum):
    """What becomes of a package, or of a blob."""

    DELETE = "delete"
    KEEP = "keep"


class Rule(StrEnum):
    """What decides it."""

    EXPIRED = "expired"
    """Its retention has ended: the one rule that frees."""
    HOLD = "hold"
    PIN = "pin"
    NEWEST = "newest"
    """One of the newest of its producer about its subject."""
    UNREFERENCED = "unreferenced"
    """Of a blob: no file of a package that stays has it."""
    SHARED = "shared"
    """Of a blob: files of packages that stay have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanHeader:
    """What a plan was made of: the store when the log ended at ``log_seq``, and the settings that decided."""

    as_of: str
    log_seq: int
    keep_newest: dict[str, int]
    repack_percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanItem:
    """What a plan says of one package; ``frees_bytes`` come free with it after all that stand before it."""

    package_id: str
    manifest_digest: str
    producer: str
    retention_class: str | None = None
    expires_at: str | None = None
    expired_at: str | None = None
    decision: str
    rule: str
    file_count: int
    total_bytes: int
    frees_bytes: int = 0
    holds: tuple[str, ...] = ()
    keep_newest: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanBlob:
    """What a plan says of one blob: how many files of packages that are deleted have it, and how many that are not."""

    blob: str
    size_bytes: int
    decision: str
    rule: str
    files: int
    files_kept: int | None = None


@dataclass(slots=True)
class PlanTotals:
    """The sums; ``frees_bytes`` is what collection frees to the byte, if nothing changes meanwhile."""

    delete: int = 0
    keep: int = 0
    total_bytes: int = 0
    """Of the packages that are deleted, as they count themselves."""
    frees_bytes: int = 0
    frees_by_backend: dict[str, int] = field(default_factory=dict)
    objects: int = 0
    """Objects that nothing refers to then."""
    repacked: int = 0
    """Packs that are made smaller then."""
    blobs: int = 0
    """That nothing refers to then; an object comes free when all of its blobs do."""
    blob_bytes: int = 0
    shared_blobs: int = 0
    """That files of other packages have, so that they stay."""
    shared_bytes: int = 0


def line_of(value: PlanHeader | PlanItem | PlanBlob | PlanTotals) -> bytes:
    """One line, its end included. What is absent is left out."""
    members = {key: list(each) if isinstance(each, tuple) else each for key, each in asdict(value).items()}
    document: dict[str, JsonValue] = {key: each for key, each in members.items() if each is not None and each != []}
    if isinstance(value, PlanHeader):
        document["plan"] = _VERSION
    return f"{canonical_json(document)}\n".encode()


class PlanReader:
    """A plan's lines as they are read: ``header`` first, then ``items``, then ``totals`` is there."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        document = _parsed(next(self._lines, b""))
        if document.pop("plan", None) != _VERSION:
            raise PlanInvalidError("this is no retention plan that is known here")
        self.header = _made(PlanHeader, document)
        self.totals: PlanTotals | None = None

    def items(self) -> Iterator[PlanItem]:
        """What it says of each package, in order. Raises ``PlanInvalidError``, also for a plan without its end."""
        for line in self._lines:
            document = _parsed(line)
            if "package_id" not in document:
                self.totals = _made(PlanTotals, document)
                break
            holds = document.pop("holds", ())
            yield _made(PlanItem, {**document, "holds": tuple(holds) if isinstance(holds, list) else ()})
        if self.totals is None or next(self._lines, None) is not None:
            raise PlanInvalidError("the plan does not end with its totals")


def lines_in(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a stream. Raises ``PlanInvalidError`` for one that is too long."""
    held = b""
    for piece in pieces:
        *whole, held = (held + piece).split(b"\n")
        yield from whole
        if len(held) > MAX_LINE_BYTES:
            raise PlanInvalidError("the plan has a line that is too long")
    if held:
        raise PlanInvalidError("the plan ends within a line")


def _parsed(line: bytes) -> dict[str, JsonValue]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise PlanInvalidError("the plan has a line that is not JSON") from error
    if not isinstance(document, dict):
        raise PlanInvalidError("the plan has a line that is no JSON object")
    return document


def _made(kind: type[T], document: Mapping[str, Any]) -> T:
    try:
        made = kind(**document)
    except TypeError as error:
        raise PlanInvalidError(f"the plan has a line with other members: {error}") from error
    for each in fields(made):  # type: ignore[arg-type]
        if not _FITS[str(each.type)](getattr(made, each.name)):
            raise PlanInvalidError(f"the plan has a line whose {each.name!r} is not what it must be")
    return made


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _TOO_MANY


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "str": _is_text,
    "str | None": lambda value: value is None or _is_text(value),
    "int": _is_count,
    "int | None": lambda value: value is None or _is_count(value),
    "tuple[str, ...]": lambda value: all(map(_is_text, value)),
    "dict[str, int]": lambda value: isinstance(value, dict) and all(map(_is_count, value.values())),
}
"""Whether a value is one of a member's type: a plan is read as what anybody may have written."""
