"""The manifest: the canonical statement of a package's content, and the bytes whose digest identifies it.

A manifest is a function of content. It says the producer, the external id, the subject, the metadata and its schema,
and every file with both digests. It does not say a package id, a revision, a time, a place or a retention, and nothing
of the host comes in. The format is fixed in docs/reference/manifest.md and by the vectors in tests/vectors.

File entries are written directly, because a manifest is mostly file entries and a general encoder takes fourteen times
as long over them; the general encoder is the oracle in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from blake3 import blake3

from artifactstore.domain.canonical import MAX_SAFE_INTEGER, JsonValue, canonical, decode, encode, load_json
from artifactstore.domain.digest import BlobDescriptor, Digest
from artifactstore.domain.paths import MAX_PATH_BYTES, check_paths
from artifactstore.errors import ArtifactStoreError, DigestInvalidError, ManifestInvalidError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MANIFEST_VERSION = 1


class FileEntry(NamedTuple):
    """What a manifest says of one file; digests are 32 raw bytes."""

    path: str
    role: str
    media_type: str
    size_bytes: int
    blake3: bytes
    sha256: bytes

    @property
    def descriptor(self) -> BlobDescriptor:
        """The blob that holds the file's bytes."""
        return BlobDescriptor(self.blake3, self.sha256, self.size_bytes)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a package contains. ``files`` stand in path order (by Unicode code points, which is UTF-8 byte order)."""

    producer: str
    files: tuple[FileEntry, ...]
    external_id: str | None = None
    subject: str | None = None
    schema: str | None = None
    metadata: dict[str, JsonValue] | None = None

    def encode(self, encoded_files: bytes | None = None) -> bytes:
        """The canonical bytes. The metadata must already be canonical; ``encode_files`` may have been done already."""
        head = {"version": MANIFEST_VERSION, **self._optional_fields()}
        members = {key: encode(value) for key, value in head.items()}
        members["files"] = encode_files(self.files) if encoded_files is None else encoded_files
        parts = [_head(0xA0, len(members))]
        for key in sorted(members, key=_canonical_key):
            parts += (_text(key), members[key])
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Read exactly what ``encode`` writes. Raises ``ManifestInvalidError`` for any other bytes."""
        manifest = cls._from_document(decode(data), _file_from_cbor)
        if manifest.encode() != data:
            raise ManifestInvalidError("the manifest has members or orders that version 1 does not have")
        return manifest

    def to_json(self) -> bytes:
        """The JSON view in RFC 8785 (JCS) form, digests as ``blake3:<hex>``; ``from_json`` gives the manifest back."""
        import rfc8785

        files: list[dict[str, str | int]] = [
            {
                "path": file.path,
                "role": file.role,
                "media_type": file.media_type,
                "size": file.size_bytes,
                "blake3": str(Digest.blake3(file.blake3)),
                "sha256": str(Digest.sha256(file.sha256)),
            }
            for file in self.files
        ]
        return rfc8785.dumps({"version": MANIFEST_VERSION, **self._optional_fields(), "files": files})

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """The inverse of ``to_json``, whatever the white space. Raises ``ManifestInvalidError``."""
        import rfc8785

        try:
            document = load_json(text, parse_int=_number_from_json)
            manifest = cls._from_document(document, _file_from_json)
            is_same = rfc8785.dumps(document) == manifest.to_json()
        except (ValueError, RecursionError) as error:
            raise ManifestInvalidError(f"not a manifest's JSON view: {error}") from error
        if not is_same:
            raise ManifestInvalidError("the manifest has members that version 1 does not have")
        return manifest

    def _optional_fields(self) -> dict[str, Any]:
        fields = {
            "producer": self.producer,
            "external_id": self.external_id,
            "subject": self.subject,
            "schema": self.schema,
            "metadata": self.metadata,
        }
        return {key: value for key, value in fields.items() if value is not None}

    @classmethod
    def _from_document(cls, document: Any, read_file: Any) -> Manifest:
        try:
            if document["version"] != MANIFEST_VERSION:
                raise ManifestInvalidError(f"manifest version {document['version']} is not known here")
            manifest = cls(
                producer=_expect(document["producer"], str),
                files=tuple(read_file(file) for file in document["files"]),
                external_id=_expect_optional(document.get("external_id"), str),
                subject=_expect_optional(document.get("subject"), str),
                schema=_expect_optional(document.get("schema"), str),
                metadata=_expect_optional(document.get("metadata"), dict),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ManifestInvalidError(f"not a manifest: {type(error).__name__}: {error}") from error
        _check_rules(manifest)
        return manifest


def manifest_digest(encoded: bytes) -> bytes:
    """The 32 raw bytes of BLAKE3 over a manifest's canonical bytes."""
    return blake3(encoded).digest()


def encode_files(files: Iterable[FileEntry]) -> bytes:
    """A CBOR array of file entries, each a map in canonical key order."""
    roles: dict[str, bytes] = {}
    media_types: dict[str, bytes] = {}
    rows = []
    for path, role, media_type, size_bytes, address, sha256 in files:
        encoded_path = path.encode()
        rows.append(b"".join((
            b"\xa6\x64path", _TEXT_HEADS[len(encoded_path)], encoded_path,
            b"\x64role", roles.get(role) or roles.setdefault(role, _text(role)),
            b"\x64size", _head(0x00, size_bytes),
            b"\x66blake3\x58\x20", address,
            b"\x66sha256\x58\x20", sha256,
            b"\x6amedia_type", media_types.get(media_type) or media_types.setdefault(media_type, _text(media_type)),
        )))  # fmt: skip
    return _head(0x80, len(rows)) + b"".join(rows)


def file_from_document(document: dict[str, Any]) -> FileEntry:
    """One decoded file map as a ``FileEntry``. Raises ``KeyError`` or ``TypeError`` if it is something else."""
    return FileEntry(
        document["path"],
        document["role"],
        document["media_type"],
        document["size"],
        document["blake3"],
        document["sha256"],
    )


def manifest_differences(old: Sequence[FileEntry], new: Sequence[FileEntry]) -> list[tuple[str, str]]:
    """What a reader wants to know when two manifests differ: (path, added | removed | changed), in path order."""
    before, after = ({file.path: file for file in files} for files in (old, new))
    differences = [(path, "removed") for path in before.keys() - after.keys()]
    differences += [(path, "added") for path in after.keys() - before.keys()]
    differences += [(path, "changed") for path in before.keys() & after.keys() if before[path] != after[path]]
    return sorted(differences)


def _file_from_cbor(document: dict[str, Any]) -> FileEntry:
    entry = file_from_document(document)
    expected = (str, str, str, int, bytes, bytes)
    if not all(type(value) is kind for value, kind in zip(entry, expected, strict=True)):
        raise ManifestInvalidError(f"a file entry has a member of the wrong type: {entry.path!r}")
    return entry


def _file_from_json(document: dict[str, Any]) -> FileEntry:
    try:
        digests = {name: Digest.parse(document[name]).raw for name in ("blake3", "sha256")}
    except DigestInvalidError as error:
        raise ManifestInvalidError(f"a file entry has {error.message}") from error
    return _file_from_cbor({**document, **digests})


def _number_from_json(digits: str) -> int | float:
    """JCS writes large floats as integers; a manifest has no integer of that size."""
    number = int(digits)
    return number if abs(number) <= MAX_SAFE_INTEGER else float(digits)


def _check_rules(manifest: Manifest) -> None:
    """The rules that encoding alone cannot show. Raises ``ManifestInvalidError``."""
    paths = [file.path for file in manifest.files]
    if any(earlier >= later for earlier, later in pairwise(paths)):
        raise ManifestInvalidError("files are not in path order, or one stands twice")
    digests = (digest for file in manifest.files for digest in (file.blake3, file.sha256))
    if any(len(digest) != 32 for digest in digests):  # noqa: PLR2004
        raise ManifestInvalidError("a digest does not have 32 bytes")
    if any(not 0 <= file.size_bytes <= MAX_SAFE_INTEGER for file in manifest.files):
        raise ManifestInvalidError("a size is negative or beyond 2^53 - 1")
    try:
        check_paths(paths)
        canonical(_texts(manifest), what="the manifest")
        metadata_is_canonical = encode(canonical(manifest.metadata)) == encode(manifest.metadata)
    except ArtifactStoreError as error:
        raise ManifestInvalidError(f"not a manifest: {error.message}", problems=error.problems) from error
    if not metadata_is_canonical:
        raise ManifestInvalidError("the metadata is not canonical")


def _texts(manifest: Manifest) -> list[JsonValue]:
    roles = {file.role for file in manifest.files}
    media_types = {file.media_type for file in manifest.files}
    return [manifest.producer, manifest.external_id, manifest.subject, manifest.schema, *sorted(roles | media_types)]


def _expect(value: object, kind: type[Any]) -> Any:
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, found {type(value).__name__}")
    return value


def _expect_optional(value: object, kind: type[Any]) -> Any:
    return None if value is None else _expect(value, kind)


def _canonical_key(key: str) -> tuple[int, bytes]:
    """RFC 8949 bytewise order of encoded text keys: the head sorts by length first."""
    encoded = key.encode()
    return len(encoded), encoded


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _head(0x60, len(encoded)) + encoded


def _head(major: int, argument: int) -> bytes:
    """The shortest head of a CBOR item (RFC 8949 section 3)."""
    if argument < 24:  # noqa: PLR2004 - the numbers are the RFC's
        return bytes((major | argument,))
    if argument < 0x100:  # noqa: PLR2004
        return bytes((major | 24, argument))
    if argument < 0x10000:  # noqa: PLR2004
        return bytes((major | 25,)) + argument.to_bytes(2, "big")
    width = 4 if argument < 0x1_0000_0000 else 8  # noqa: PLR2004
    return bytes((major | (26 if width == 4 else 27),)) + argument.to_bytes(width, "big")  # noqa: PLR2004


_TEXT_HEADS = tuple(_head(0x60, length) for length in range(MAX_PATH_BYTES + 1))
