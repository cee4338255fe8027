"""Write the byte vectors of every fixed format: ``python tests/vectors/generate.py``.

The files beside this script are the record; a test makes them anew and compares. A difference means that a format which
others rely on has changed: mend the code, or give the format a new version and new files, and leave the old ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cbor2

from artifactstore.catalog.event_log import encode_header, first_chain, next_chain
from artifactstore.domain.canonical import encode
from artifactstore.domain.digest import Digest
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.events import HoldPlaced, PackageFinalized, PackageOpened, RetentionApplied
from artifactstore.domain.hashing import measure
from artifactstore.domain.manifest import FileEntry, Manifest, manifest_digest
from artifactstore.domain.media_type import BY_EXTENSION, media_type_of
from artifactstore.domain.provenance import Provenance, envelope_id, source_id
from artifactstore.plugins.core import normalise_file
from artifactstore.storage.memory import MemoryStore
from artifactstore.storage.pack import PackWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifactstore.domain.event import Event

HERE = Path(__file__).parent


# packs


def pack() -> dict[str, Any]:
    """Three blobs, one of them empty."""
    blobs = [b"", b"hello\n", bytes(range(256)) + b"more than one byte can count"]
    store = MemoryStore()
    writer = PackWriter(store)
    starts = [writer.add(measure(blob), blob) for blob in blobs]
    info = writer.finish()
    writer.stage.commit(info.key, info.size_bytes)
    return {
        "blobs": [blob.hex() for blob in blobs],
        "starts": starts,
        "key": str(info.key),
        "pack": store.read(info.key).hex(),
    }


# manifests


def file(path: str, data: bytes, role: str = "content") -> FileEntry:
    blob = measure(data)
    return FileEntry(path, role, media_type_of(path), blob.size_bytes, blob.blake3, blob.sha256)


def manifest_minimal() -> dict[str, Any]:
    return manifest_vector("no files, only what is required", Manifest(producer="p", files=()))


def manifest_example() -> dict[str, Any]:
    return manifest_vector(
        "the worked example of docs/reference/manifest.md",
        Manifest(
            producer="ci",
            external_id="run-7",
            files=(file("logs/run.log", b"done\n", role="log"),),
            metadata={"ok": True, "score": 0.5},
        ),
    )


def manifest_full() -> dict[str, Any]:
    return manifest_vector(
        "every member, files of several types and roles",
        Manifest(
            producer="guide-board",
            external_id="run-2026-11-20",
            subject="urn:example:system:42",
            schema="guide-board.run.v1",
            metadata={
                "status": "passed", "score": 0.875, "checks": {"total": 12, "failed": []}, "note": None, "dry": False,
            },
            files=(
                file("logs/empty.log", b""),
                file("reports/report.md", b"# Report\n", role="report"),
                file("run.json", b"{}\n", role="run"),
                file("Übersicht.txt", "Prüfung bestanden\n".encode()),
                file("\U0001d518nusual/\U0001f5c2.bin", bytes(range(256))),
            ),
        ),
    )  # fmt: skip


def manifest_numbers() -> dict[str, Any]:
    integers = [0, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**53 - 1, -1, -24, -25, -(2**53) + 1]
    floats = [0.5, -0.1, 1.1, 1e-7, 5e-324, 65504.5, 3.4028234663852886e38, 2.0**53, 1e16, 1e300, -1e21]
    return manifest_vector(
        "every width of integer and float", Manifest("p", (), metadata={"integers": integers, "floats": floats})
    )


def manifest_lengths() -> dict[str, Any]:
    """Texts, maps and lists at the widths where the head of an item grows."""
    texts = ["x" * length for length in (0, 23, 24, 255, 256)]
    keys: dict[str, Any] = {f"k{number:02}": number for number in range(25)}
    return manifest_vector(
        "texts, lists and maps at the lengths where their heads grow",
        Manifest(
            "p",
            (file("d/" + "f" * 250, b"long"),),
            metadata={"texts": texts, "map": keys, "list": list(range(24))},
        ),
    )


def manifest_vector(says: str, manifest: Manifest) -> dict[str, Any]:
    encoded = manifest.encode()
    return {
        "says": says,
        "json": manifest.to_json().decode(),
        "cbor": encoded.hex(),
        "digest": str(Digest.blake3(manifest_digest(encoded))),
    }


def manifest_refused() -> dict[str, Any]:
    """Bytes that look like a manifest and must not be read as one, each by what is wrong with it."""
    good: dict[str, Any] = cbor2.loads(Manifest("p", (file("a", b"a"), file("b", b"b"))).encode())
    first, second = good["files"]
    plain = cbor2.dumps(good, canonical=True)
    producer_p = b"\x68producer\x61p"
    return {
        says: data.hex()
        for says, data in {
            "nothing": b"",
            "half of it": plain[: len(plain) // 2],
            "a byte after it": plain + b"\x00",
            "the manifest twice": plain + plain,
            "a list": encode([good]),
            "a text": encode("manifest"),
            "keys in another order": cbor2.dumps(dict(reversed(good.items()))),
            "a key twice": plain.replace(b"\xa3", b"\xa4", 1) + b"\x67version\x01",
            "an integer in two bytes": plain.replace(b"\x67version\x01", b"\x67version\x18\x01"),
            "a version that is a float": plain.replace(b"\x67version\x01", b"\x67version\xf9\x3c\x00"),
            "a length in two bytes": plain.replace(producer_p, b"\x68producer\x78\x01p"),
            "a text of indefinite length": plain.replace(producer_p, b"\x68producer\x7f\x61p\xff"),
            "a map of indefinite length": b"\xbf" + plain[1:] + b"\xff",
            "a list of indefinite length": plain.replace(b"\x65files\x82", b"\x65files\x9f") + b"\xff",
            "a tag around it": b"\xd9\xd9\xf7" + plain,
            "a tag inside": plain.replace(producer_p, b"\x68producer\xc0\x61p"),
            "an optional that is null": changed(good, subject=None),
            "an optional that is undefined": changed(good, subject=cbor2.undefined),
            "a member unknown to version 1": changed(good, package_id="1"),
            "a member that is not text": cbor2.dumps({**good, 1: 2}, canonical=True),
            "version 2": changed(good, version=2),
            "no version": without(good, "version"),
            "no producer": without(good, "producer"),
            "no files": without(good, "files"),
            "files that are a map": changed(good, files={"a": first}),
            "a producer that is bytes": changed(good, producer=b"p"),
            "a subject that is a number": changed(good, subject=1),
            "metadata that is a list": changed(good, metadata=[]),
            "a subject that is not NFC": changed(good, subject="e\u0301"),
            "files out of order": changed(good, files=[second, first]),
            "a file twice": changed(good, files=[first, first]),
            "a file unknown member": changed(good, files=[{**first, "mode": 0o644}, second]),
            "a file without a role": changed(good, files=[{k: v for k, v in first.items() if k != "role"}, second]),
            "a file that is a list": changed(good, files=[list(first.values()), second]),
            "a size that is negative": changed(good, files=[{**first, "size": -1}, second]),
            "a size that is a float": changed(good, files=[{**first, "size": 1.5}, second]),
            "a size that is true": changed(good, files=[{**first, "size": True}, second]),
            "a size beyond 2^53 - 1": changed(good, files=[{**first, "size": 2**53}, second]),
            "a digest of 31 bytes": changed(good, files=[{**first, "sha256": b"x" * 31}, second]),
            "a digest that is text": changed(good, files=[{**first, "blake3": "x" * 32}, second]),
            "a path that climbs": changed(good, files=[{**first, "path": "../a"}, second]),
            "a path that is absolute": changed(good, files=[{**first, "path": "/a"}, second]),
            "a path that is not NFC": changed(good, files=[{**first, "path": "a/e\u0301"}, second]),
            "a path that is another's parent": changed(good, files=[first, {**second, "path": "a/b"}]),
            "a path of 1,025 bytes": changed(good, files=[{**first, "path": "a" * 1025}, second]),
            "a path that is empty": changed(good, files=[{**first, "path": ""}, second]),
            "a path that is not UTF-8": plain.replace(b"\x64path\x61a", b"\x64path\x61\xff"),
            "a role that is not NFC": changed(good, files=[{**first, "role": "e\u0301"}, second]),
            "a media type that is not NFC": changed(good, files=[{**first, "media_type": "e\u0301"}, second]),
            "metadata with an integral float": changed(good, metadata={"n": 1.0}),
            "metadata with minus zero": changed(good, metadata={"n": -0.0}),
            "metadata with NaN": changed(good, metadata={"n": float("nan")}),
            "metadata with infinity": changed(good, metadata={"n": float("inf")}),
            "metadata with an integer beyond 2^53 - 1": changed(good, metadata={"n": 2**53}),
            "metadata with a float wider than it need be": changed(good, metadata={"n": 1}).replace(
                b"\x61n\x01", b"\x61n\xfb\x3f\xe0\x00\x00\x00\x00\x00\x00"
            ),
            "metadata with bytes": changed(good, metadata={"n": b"1"}),
            "metadata with a tagged time": changed(good, metadata={"n": cbor2.CBORTag(1, 0)}),
            "metadata with a big integer": changed(good, metadata={"n": 2**64}),
            "metadata with a simple value": changed(good, metadata={"n": cbor2.CBORSimpleValue(99)}),
            "metadata with a key that is a number": cbor2.dumps({**good, "metadata": {1: 1}}, canonical=True),
            "metadata with a text that is not NFC": changed(good, metadata={"n": "e\u0301"}),
            "metadata with a key that is not NFC": changed(good, metadata={"e\u0301": 1}),
            "metadata nested 65 levels deep": changed(good, metadata=nested(65)),
        }.items()
    }


def changed(document: dict[str, Any], **members: object) -> bytes:
    return cbor2.dumps({**document, **members}, canonical=True)


def without(document: dict[str, Any], name: str) -> bytes:
    return encode({key: value for key, value in document.items() if key != name})


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"n": value}
    return value


# the event log


def event_chain() -> dict[str, Any]:
    log_id = bytes(range(32))
    package_id = "019aa05c-7a00-7000-8000-000000000001"
    manifest = ObjectRef("default", "manifest", bytes(32), 100)
    events: list[Event] = [
        PackageOpened(
            package_id=package_id, producer="p", revision=1, opened_at=1_795_000_000_000_000, metadata={"a": [1]}
        ),
        RetentionApplied(package_id=package_id, retention_class="permanent-record"),
        PackageFinalized(
            package_id=package_id, manifest=manifest, file_count=0, total_bytes=0, stored_bytes=100,
            finalized_at=1_795_000_000_000_000,
        ),
        HoldPlaced(package_id=package_id, hold_id="h", reason="Prüfung", placed_at=1_795_000_000_000_001),
    ]  # fmt: skip
    chain = first_chain(log_id)
    vector: dict[str, Any] = {"log_id": log_id.hex(), "chain_0": chain.hex(), "events": []}
    for seq, event in enumerate(events, start=1):
        at, actor, payload = 1_795_000_000_000_000 + seq, "local:builder", event.payload()
        header = encode_header(seq, at, event.type, event.subject, actor, payload=payload)
        chain = next_chain(chain, header)
        vector["events"].append({
            "seq": seq, "at": at, "type": event.type, "subject": event.subject, "actor": actor,
            "payload": payload.hex(), "header": header.hex(), "chain": chain.hex(),
        })  # fmt: skip
    return vector


# provenance


def provenance() -> dict[str, Any]:
    """One observation of a file: as a loaded plug-in's, and as one that a token declares."""
    source = ["artifactstore source v1", "file", "file:///srv/scans/a%20b.pdf"]
    identity = source_id("file", normalise_file("/srv/scans/a b.pdf"))
    received_at = 1_795_000_000_000_000
    loaded = Provenance("folder-watcher", "1.4.0", "1")
    declared = Provenance("folder-watcher", "1.4.0", "1", declared_by="token:ci")
    return {
        "source": {"cbor": encode(source).hex(), "id": identity.hex()},
        "envelopes": [
            {
                "witness": who.witness,
                "cbor": encode(
                    ["artifactstore envelope v1", identity, "filesystem", received_at, who.witness, "1"]
                ).hex(),
                "id": envelope_id(identity, "filesystem", received_at, who).hex(),
            }
            for who in (loaded, declared)
        ],
    }


# the media-type table


def media_types() -> dict[str, Any]:
    return {"extensions": len(BY_EXTENSION), "digest": str(Digest.blake3(measure(encode(dict(BY_EXTENSION))).blake3))}


VECTORS: dict[str, Callable[[], dict[str, Any]]] = {
    "pack.json": pack,
    "manifest-minimal.json": manifest_minimal,
    "manifest-example.json": manifest_example,
    "manifest-full.json": manifest_full,
    "manifest-numbers.json": manifest_numbers,
    "manifest-lengths.json": manifest_lengths,
    "manifest-refused.json": manifest_refused,
    "event-chain.json": event_chain,
    "provenance.json": provenance,
    "media-types.json": media_types,
}


def text_of(name: str) -> str:
    """The file's whole text."""
    return json.dumps(VECTORS[name](), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name in VECTORS:
        (HERE / name).write_text(text_of(name))
