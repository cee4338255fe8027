"""The manifest: its bytes, its JSON view, and how strictly both are read."""

from __future__ import annotations

import json
from typing import Any

import cbor2
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.domain.canonical import canonical_object
from artifactstore.domain.digest import BlobDescriptor
from artifactstore.domain.hashing import measure
from artifactstore.domain.manifest import FileEntry, Manifest, encode_files, manifest_differences, manifest_digest
from artifactstore.errors import ManifestInvalidError
from artifactstore.testing.builders import file_entry, manifest
from tests.unit.strategies import file_lists, json_objects, optional_texts, slugs

manifests = st.builds(
    Manifest,
    producer=slugs,
    files=file_lists,
    external_id=optional_texts,
    subject=optional_texts,
    schema=st.none() | slugs,
    metadata=st.none() | json_objects.map(canonical_object),
)


def document_of(file: FileEntry) -> dict[str, Any]:
    return {
        "path": file.path,
        "role": file.role,
        "size": file.size_bytes,
        "blake3": file.blake3,
        "sha256": file.sha256,
        "media_type": file.media_type,
    }


def json_of(changed: Manifest | None = None, **members: object) -> bytes:
    """The JSON view of a manifest, with some members replaced."""
    return json.dumps({**json.loads((changed or manifest()).to_json()), **members}).encode()


# bytes


@given(manifests)
def test_decode_gives_the_manifest_back(original: Manifest) -> None:
    assert Manifest.decode(original.encode()) == original


@given(manifests)
def test_bytes_are_those_of_cbor2_in_canonical_mode(original: Manifest) -> None:
    members = {
        "version": 1,
        "producer": original.producer,
        "external_id": original.external_id,
        "subject": original.subject,
        "schema": original.schema,
        "metadata": original.metadata,
        "files": [document_of(file) for file in original.files],
    }
    present = {key: value for key, value in members.items() if value is not None}

    assert original.encode() == cbor2.dumps(present, canonical=True)


@given(file_lists)
def test_file_rows_written_by_hand_are_those_of_cbor2(files: tuple[FileEntry, ...]) -> None:
    assert encode_files(files) == cbor2.dumps([document_of(file) for file in files], canonical=True)


@pytest.mark.parametrize("length", [1, 23, 24, 255, 256, 1024])
@pytest.mark.parametrize("size_bytes", [0, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**53 - 1])
def test_file_rows_have_the_shortest_heads(length: int, size_bytes: int) -> None:
    file = file_entry("p" * length)._replace(size_bytes=size_bytes)

    assert encode_files([file]) == cbor2.dumps([document_of(file)], canonical=True)


@pytest.mark.parametrize("count", [0, 23, 24, 255, 256, 65_536])
def test_list_of_files_has_the_shortest_head(count: int) -> None:
    encoded = encode_files([file_entry("a")] * count)

    assert encoded[: len(cbor2.dumps([0] * count)) - count] == cbor2.dumps([0] * count)[: -count or None]


@given(manifests)
def test_same_content_has_the_same_bytes_whatever_the_order_of_its_metadata(original: Manifest) -> None:
    backwards = dict(reversed(original.metadata.items())) if original.metadata else original.metadata
    same = Manifest(
        original.producer, original.files, original.external_id, original.subject, original.schema, backwards
    )

    assert same.encode() == original.encode()


def test_digest_is_blake3_of_the_bytes() -> None:
    encoded = manifest().encode()

    assert manifest_digest(encoded) == blake3(encoded).digest()


@pytest.mark.parametrize("name", ["external_id", "subject", "schema", "metadata"])
def test_absent_optional_is_left_out(name: str) -> None:
    assert name not in cbor2.loads(Manifest("p", ()).encode())


def test_empty_metadata_is_not_absent() -> None:
    with_empty, without = Manifest("p", (), metadata={}), Manifest("p", ())

    assert with_empty.encode() != without.encode()


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_with_our_error(data: bytes) -> None:
    with pytest.raises(ManifestInvalidError):
        Manifest.decode(data)


@given(st.data())
def test_manifest_with_one_byte_changed_is_refused_or_is_another_one(data: st.DataObject) -> None:
    original = manifest(file_entry("a"), file_entry("b"), metadata={"n": [1, 2.5, "text"]})
    encoded = bytearray(original.encode())
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))

    try:
        found = Manifest.decode(bytes(encoded))
    except ManifestInvalidError:
        return

    assert (found != original, found.encode()) == (True, bytes(encoded))


# the JSON view


@given(manifests)
def test_json_view_gives_the_manifest_back(original: Manifest) -> None:
    assert Manifest.from_json(original.to_json()).encode() == original.encode()


def test_json_view_is_canonical_json() -> None:
    text = manifest(metadata={"b": 1, "a": "ü", "c": 0.5}).to_json().decode()

    expected = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert text == expected


def test_json_view_writes_digests_with_their_algorithm() -> None:
    (file,) = json.loads(manifest(file_entry(data=b"")).to_json())["files"]

    assert (file["blake3"], file["sha256"]) == (
        "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    )


@pytest.mark.parametrize("number", [2.0**53, 1e16, -1e20, 1e21, 1e300])
def test_large_float_survives_the_json_view(number: float) -> None:
    original = manifest(metadata={"n": number})

    again = Manifest.from_json(original.to_json())

    assert (again.metadata, again.encode()) == ({"n": number}, original.encode())


def test_json_view_may_be_read_with_other_white_space() -> None:
    original = manifest(metadata={"n": 1})
    indented = json.dumps(json.loads(original.to_json()), indent=2).encode()

    assert Manifest.from_json(indented) == original


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="a-list"),
        pytest.param(b"{", id="cut"),
        pytest.param(b"\xff", id="not-utf-8"),
        pytest.param(b"[" * 100_000, id="too-deep"),
        pytest.param(json_of(version=2), id="version-2"),
        pytest.param(json_of(package_id="1"), id="unknown-member"),
        pytest.param(json_of(subject=None), id="null-optional"),
        pytest.param(json_of(files={}), id="files-that-are-a-map"),
        pytest.param(json_of(files=[1]), id="a-file-that-is-a-number"),
        pytest.param(json_of(metadata={"n": "e\u0301"}), id="text-that-is-not-nfc"),
        pytest.param(json_of(producer=1), id="a-producer-that-is-a-number"),
        pytest.param(json_of().replace(b"blake3:", b"sha256:"), id="another-algorithm"),
        pytest.param(json_of().replace(b"blake3:", b""), id="no-algorithm"),
        pytest.param(json_of().replace(b'"role"', b'"mode": 1, "role"'), id="unknown-member-of-a-file"),
        pytest.param(json_of().replace(b'"role"', b'"path": "again", "role"'), id="duplicate-key"),
        pytest.param(json_of(metadata={"n": 1}).replace(b'"n": 1', b'"n": NaN'), id="not-a-number"),
    ],
)
def test_json_that_is_not_a_manifests_view_is_refused(text: bytes) -> None:
    with pytest.raises(ManifestInvalidError):
        Manifest.from_json(text)


# entries and differences


def test_entry_describes_its_blob() -> None:
    blob = measure(b"content")

    assert file_entry(data=b"content").descriptor == BlobDescriptor(blob.blake3, blob.sha256, 7)


def test_differences_name_what_came_went_and_changed() -> None:
    old = [file_entry("gone"), file_entry("kept"), file_entry("changed", b"before"), file_entry("retyped")]
    new = [file_entry("came"), file_entry("kept"), file_entry("changed", b"after"), file_entry("retyped", role="log")]

    assert manifest_differences(old, new) == [
        ("came", "added"),
        ("changed", "changed"),
        ("gone", "removed"),
        ("retyped", "changed"),
    ]


def test_same_files_do_not_differ() -> None:
    assert manifest_differences([file_entry()], [file_entry()]) == []
