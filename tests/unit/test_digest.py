"""Digests as values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.domain.digest import BlobDescriptor, BlobMeasure, Digest
from artifactstore.errors import DigestInvalidError

RAW = bytes(range(32))


@given(st.sampled_from(["blake3", "sha256"]), st.binary(min_size=32, max_size=32))
def test_text_and_back_is_the_same_digest(algorithm: str, raw: bytes) -> None:
    digest = Digest(algorithm, raw)

    assert Digest.parse(str(digest)) == digest


def test_digest_is_written_with_its_algorithm_and_lower_case_hex() -> None:
    assert str(Digest.sha256(RAW)) == f"sha256:{RAW.hex()}"


def test_digests_of_two_algorithms_differ() -> None:
    assert Digest.blake3(RAW) != Digest.sha256(RAW)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(RAW.hex(), id="no-algorithm"),
        pytest.param(f"md5:{RAW.hex()}", id="unknown-algorithm"),
        pytest.param(f"BLAKE3:{RAW.hex()}", id="upper-case-algorithm"),
        pytest.param(f"blake3:{RAW.hex().upper()}", id="upper-case-digits"),
        pytest.param(f"blake3:{RAW.hex()[:-1]}", id="63-digits"),
        pytest.param(f"blake3:{RAW.hex()}0", id="65-digits"),
        pytest.param(f"blake3:{'g' * 64}", id="not-hex"),
        pytest.param(f" blake3:{RAW.hex()}", id="space-before"),
        pytest.param(f"blake3:{RAW.hex()}\n", id="new-line-after"),
        pytest.param("blake3:" + "\u0660" * 64, id="digits-of-another-script"),
    ],
)
def test_text_that_is_not_a_digest_is_refused(text: str) -> None:
    with pytest.raises(DigestInvalidError):
        Digest.parse(text)


@given(st.text())
def test_any_text_is_parsed_or_refused_with_our_error(text: str) -> None:
    with pytest.raises(DigestInvalidError):
        Digest.parse(text)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_digest_has_32_bytes(length: int) -> None:
    with pytest.raises(DigestInvalidError):
        Digest.blake3(bytes(length))


def test_long_nonsense_is_cut_in_the_message() -> None:
    with pytest.raises(DigestInvalidError) as caught:
        Digest.parse("x" * 10_000)

    assert len(caught.value.message) < 200


def test_measure_knows_its_descriptor() -> None:
    assert BlobMeasure(RAW, RAW, 5, 7, b"").descriptor == BlobDescriptor(RAW, RAW, 5)
