"""Keys: one layout for every backend."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.errors import DigestInvalidError, RangeInvalidError
from artifactstore.storage.port import ObjectKey, ObjectKind, checked_range
from tests.unit.strategies import raw_digests

RAW = bytes(range(0xA0, 0xC0))
HEX = RAW.hex()
KEY = ObjectKey(ObjectKind.BLOB, RAW)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (ObjectKind.BLOB, f"blobs/blake3/a0/a1/{HEX}"),
        (ObjectKind.PACK, f"packs/blake3/a0/a1/{HEX}.zip"),
        (ObjectKind.MANIFEST, f"manifests/blake3/a0/a1/{HEX}.cbor"),
    ],
)
def test_key_has_the_documented_path(kind: ObjectKind, expected: str) -> None:
    assert str(ObjectKey(kind, RAW)) == expected


@given(st.sampled_from(ObjectKind), raw_digests)
def test_path_and_back_is_the_same_key(kind: ObjectKind, digest: bytes) -> None:
    key = ObjectKey(kind, digest)

    assert ObjectKey.parse(key.path) == key


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("", id="nothing"),
        pytest.param(HEX, id="only-the-name"),
        pytest.param(f"/blobs/blake3/a0/a1/{HEX}", id="absolute"),
        pytest.param(f"blobs/blake3/a0/{HEX}", id="one-level"),
        pytest.param(f"blobs/blake3/a1/a0/{HEX}", id="wrong-directory"),
        pytest.param(f"blobs/sha256/a0/a1/{HEX}", id="other-algorithm"),
        pytest.param(f"blobs/blake3/a0/a1/{HEX}.zip", id="suffix-of-another-kind"),
        pytest.param(f"packs/blake3/a0/a1/{HEX}", id="no-suffix"),
        pytest.param(f"blobs/blake3/A0/A1/{HEX.upper()}", id="upper-case"),
        pytest.param(f"blobs/blake3/a0/a1/{HEX[:-1]}", id="63-digits"),
        pytest.param(f"blobs/blake3/a0/a1/{HEX}\n", id="new-line"),
        pytest.param(f"blobs/../blobs/blake3/a0/a1/{HEX}", id="roundabout"),
        pytest.param(f"logs/blake3/a0/a1/{HEX}", id="unknown-kind"),
        pytest.param("blobs/blake3/\ud800", id="surrogate"),
    ],
)
def test_text_that_is_not_exactly_a_key_is_refused(path: str) -> None:
    with pytest.raises(DigestInvalidError):
        ObjectKey.parse(path)


@given(st.integers(0, 100), st.integers(-5, 105), st.none() | st.integers(-5, 105))
def test_range_is_within_the_object_or_refused(size_bytes: int, start: int, length: int | None) -> None:
    data = bytes(range(size_bytes))

    try:
        checked_start, checked_length = checked_range(KEY, size_bytes, start, length)
    except RangeInvalidError:
        end = size_bytes if length is None else start + length
        assert start < 0 or end > size_bytes or end < start
        return

    expected = data[start:] if length is None else data[start : start + length]
    assert data[checked_start : checked_start + checked_length] == expected
    assert length is None or len(expected) == length
