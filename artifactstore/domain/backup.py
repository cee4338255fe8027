"""A snapshot of a store, as documents that need no database to be read.

The document says what the store was when its log ended at one event, and names its parts: the log as segments, lists of
the objects that are needed, and the operational rows that cannot be made again. All are canonical CBOR under their
digests; the document is written last, so what it names is there. docs/reference/storage-format.md fixes these bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from blake3 import blake3

from artifactstore.domain.canonical import decode, encode
from artifactstore.errors import BackupDamagedError, ManifestInvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

VERSION = 1
OBJECTS_A_PART = 10_000
_DIGEST_BYTES = 32
_TOO_MANY = 2**57
"""More than any number of bytes, events or microseconds; as an instant it is in the year 6536."""
_ENTRY_BYTES = _DIGEST_BYTES + 8


class Needed(NamedTuple):
    """An object that a snapshot needs."""

    kind: str
    blake3: bytes
    size_bytes: int


class LeftOut(NamedTuple):
    """An object that is needed, and whose bytes could not be read when the snapshot was made."""

    kind: str
    blake3: bytes
    size_bytes: int
    finding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a store was at one event. Digests name the parts, in order."""

    made_at: int
    log_id: bytes
    last_seq: int
    chain: bytes
    """Of the last event; of the empty log if there is none."""
    revision: str
    """Of the tables, by the version that made it."""
    backends: tuple[str, ...]
    """In which objects lay then."""
    has_bytes: bool
    """Whether the objects are in the same target; else only the store's own backends have them."""
    packages: int
    """Finalized and not deleted."""
    objects: int
    object_bytes: int
    left_out: tuple[LeftOut, ...]
    segments: tuple[bytes, ...]
    inventories: tuple[bytes, ...]
    operational: bytes

    def encode(self) -> bytes:
        """The canonical bytes."""
        lists = ("backends", "segments", "inventories")
        members = {**asdict(self), **{name: list(getattr(self, name)) for name in lists}}
        members["left_out"] = [list(each) for each in self.left_out]
        return encode({"version": VERSION, **members})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse. Raises ``BackupDamagedError`` for anything else."""
        members = decoded(data, what="the document of a snapshot")
        if members.keys() != {each.name for each in fields(cls)}:
            raise BackupDamagedError("the document of a snapshot has other members than it must have")
        try:
            left_out = tuple(LeftOut(*each) for each in members.pop("left_out"))
            lists: dict[str, Any] = {name: tuple(members.pop(name)) for name in ("backends", "segments", "inventories")}
        except TypeError as error:
            raise BackupDamagedError(_NOT_A_SNAPSHOT) from error
        made = cls(**members, **lists, left_out=left_out)
        if not all(_FITS[str(each.type)](getattr(made, each.name)) for each in fields(cls)):
            raise BackupDamagedError(_NOT_A_SNAPSHOT)
        return made


_NOT_A_SNAPSHOT = "the document of a snapshot has members that are not what they must be"


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _TOO_MANY


def _is_digest(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == _DIGEST_BYTES


def _is_left_out(value: tuple[Any, ...]) -> bool:
    kind, digest, size_bytes, finding = value
    return isinstance(kind, str) and _is_digest(digest) and _is_count(size_bytes) and isinstance(finding, str)


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "int": _is_count,
    "bool": lambda value: isinstance(value, bool),
    "bytes": lambda value: isinstance(value, bytes),
    "str": lambda value: isinstance(value, str),
    "tuple[str, ...]": lambda value: all(isinstance(each, str) for each in value),
    "tuple[bytes, ...]": lambda value: all(map(_is_digest, value)),
    "tuple[LeftOut, ...]": lambda value: all(map(_is_left_out, value)),
}
"""Whether a value is one of a member's type: anybody may have written to a target."""


def inventory_parts(kind: str, objects: bytes | bytearray) -> Iterator[bytes]:
    """Lists of objects of one kind, each as a document. ``objects`` has an ``entry`` for each, by digest."""
    step = OBJECTS_A_PART * _ENTRY_BYTES
    for at in range(0, len(objects), step):
        yield encode({"version": VERSION, "kind": kind, "objects": bytes(objects[at : at + step])})


def entry(blake3_digest: bytes, size_bytes: int) -> bytes:
    """An object in a list: its digest, and its size as 8 bytes, the greatest first."""
    return blake3_digest + size_bytes.to_bytes(8)


def entries_in(kind: str, objects: bytes | bytearray) -> Iterator[Needed]:
    """The objects of such a list."""
    for at in range(0, len(objects), _ENTRY_BYTES):
        size_bytes = int.from_bytes(objects[at + _DIGEST_BYTES : at + _ENTRY_BYTES])
        yield Needed(kind, bytes(objects[at : at + _DIGEST_BYTES]), size_bytes)


def inventory_from(data: bytes) -> list[Needed]:
    """The objects of one part. Raises ``BackupDamagedError`` for anything else."""
    members = decoded(data, what="a list of objects")
    kind, objects = members.get("kind"), members.get("objects")
    if not isinstance(kind, str) or not isinstance(objects, bytes) or not objects or len(objects) % _ENTRY_BYTES:
        raise BackupDamagedError("a list of objects has members that are not what they must be")
    return list(entries_in(kind, objects))


class Rows(NamedTuple):
    """Rows of one operational table."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


def operational_part(tables: Mapping[str, Rows]) -> bytes:
    """Operational rows by table, as a document."""
    return encode(
        {
            "version": VERSION,
            "tables": {
                name: {"columns": list(columns), "rows": [list(row) for row in rows]}
                for name, (columns, rows) in tables.items()
            },
        }
    )


def operational_from(data: bytes) -> dict[str, Rows]:
    """The inverse. Raises ``BackupDamagedError`` for anything else."""
    members = decoded(data, what="the operational rows")
    try:
        return {
            str(name): Rows(tuple(map(str, table["columns"])), list(map(tuple, table["rows"])))
            for name, table in members["tables"].items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise BackupDamagedError("the operational rows are not what they must be") from error


def digest_of(encoded: bytes) -> bytes:
    """The address of a document or a part."""
    return blake3(encoded).digest()


def decoded(data: bytes, *, what: str) -> dict[str, Any]:
    """The members of a document of this version, but for the version."""
    try:
        members = decode(data)
    except ManifestInvalidError as error:
        raise BackupDamagedError(f"{what} cannot be read: {error.message}") from error
    if not isinstance(members, dict) or members.pop("version", None) != VERSION:
        raise BackupDamagedError(f"{what} is not one that version {VERSION} can read")
    return members
