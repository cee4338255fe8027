"""Hypothesis strategies for values that follow the canonical profile."""

from __future__ import annotations

import unicodedata
from string import ascii_lowercase, digits

from hypothesis import strategies as st

from artifactstore.domain.canonical import MAX_SAFE_INTEGER
from artifactstore.domain.manifest import FileEntry
from artifactstore.domain.paths import path_problem

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).map(
    lambda text: unicodedata.normalize("NFC", text)
)
integers = st.one_of(st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER), st.sampled_from([0, 23, 24, 255, 256, 65_536]))
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.one_of(st.none(), st.booleans(), integers, floats, texts)
json_values = st.recursive(
    scalars, lambda below: st.lists(below, max_size=5) | st.dictionaries(texts, below, max_size=5), max_leaves=15
)
json_objects = st.dictionaries(texts, json_values, max_size=6)

slugs = st.text(ascii_lowercase + digits, min_size=1, max_size=20)
raw_digests = st.binary(min_size=32, max_size=32)
segments = texts.filter(lambda text: path_problem(text) is None and "/" not in text)
paths = st.lists(segments, min_size=1, max_size=4).map("/".join)
file_entries = st.builds(
    FileEntry,
    path=paths,
    role=slugs,
    media_type=st.sampled_from(["text/plain", "application/json", "application/octet-stream"]),
    size_bytes=st.integers(0, MAX_SAFE_INTEGER),
    blake3=raw_digests,
    sha256=raw_digests,
)


def _together(files: list[FileEntry]) -> tuple[FileEntry, ...]:
    """In path order, without those whose path would be another's parent."""
    kept: list[FileEntry] = []
    taken = {file.path for file in files}
    for file in sorted(files):
        parents = {file.path[:at] for at, character in enumerate(file.path) if character == "/"}
        if not parents & taken:
            kept.append(file)
    return tuple(kept)


file_lists = st.lists(file_entries, max_size=8, unique_by=lambda file: file.path).map(_together)
optional_texts = st.none() | texts.filter(bool)
