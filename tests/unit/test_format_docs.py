"""The reference pages of the formats say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

from artifactstore.built_in import ENTRY_POINTS, PLUGINS, load_plugin
from artifactstore.domain.media_type import BY_EXTENSION
from artifactstore.domain.observation import MAX_METADATA_BYTES, MAX_PATH_ID_CHARACTERS
from artifactstore.domain.package import MAX_TEXT_CHARACTERS
from artifactstore.domain.paths import MAX_PATH_BYTES
from artifactstore.domain.provenance import MAX_PARTIES, MAX_PAYLOAD_BYTES
from artifactstore.domain.zip_format import CENTRAL, END, LOCAL_BYTES
from artifactstore.storage.port import ObjectKey, ObjectKind

ROOT = Path(__file__).parents[2]
MANIFEST = (ROOT / "docs/reference/manifest.md").read_text()
STORAGE = (ROOT / "docs/reference/storage-format.md").read_text()
PROVENANCE = (ROOT / "docs/reference/provenance.md").read_text()
EXAMPLE = json.loads((ROOT / "tests/vectors/manifest-example.json").read_text())


def block(text: str, language: str) -> str:
    """The first code block of a language."""
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def test_worked_example_has_the_bytes_of_its_vector() -> None:
    lines = block(MANIFEST, "text").splitlines()
    columns = "".join(line[:42] for line in lines)

    assert re.sub(r"\s", "", columns) == EXAMPLE["cbor"]


def test_worked_example_has_the_json_of_its_vector() -> None:
    assert json.loads(block(MANIFEST, "json")) == json.loads(EXAMPLE["json"])


def test_worked_example_has_the_digest_and_length_of_its_vector() -> None:
    assert f"Its digest: `{EXAMPLE['digest']}`" in MANIFEST
    assert f"Its bytes, {len(EXAMPLE['cbor']) // 2} of them" in MANIFEST


def test_table_of_media_types_is_the_codes() -> None:
    rows = re.findall(r"^\| `([^`]+/[^`]+)` \| (.+) \|$", MANIFEST, re.MULTILINE)

    listed = {extension: media_type for media_type, cell in rows for extension in re.findall(r"`([^`]+)`", cell)}
    assert listed == dict(BY_EXTENSION)


def test_longest_path_is_the_codes() -> None:
    assert f"at most {MAX_PATH_BYTES:,} bytes" in MANIFEST


def test_keys_are_the_codes() -> None:
    listed = re.findall(r"^\| ([\w-]+): .* \| `(.+)` \|$", STORAGE, re.MULTILINE)

    digest = bytes.fromhex("abcd" + "00" * 30)
    expected = [(kind, ObjectKey(kind, digest).path.replace(digest.hex(), "<hex>")) for kind in ObjectKind]
    assert listed == expected


def test_header_tables_have_the_lengths_of_the_structures() -> None:
    tables = re.findall(r"^\| offset \|.*?\n\n", STORAGE, re.DOTALL | re.MULTILINE)

    ends = []
    for table in tables:
        rows = re.findall(r"^\| (\d+) \| (\d+) \|", table, re.MULTILINE)
        offsets, lengths = [int(offset) for offset, _ in rows], [int(length) for _, length in rows]
        assert [start + length for start, length in zip(offsets, lengths, strict=True)][:-1] == offsets[1:]
        ends.append(offsets[-1] + lengths[-1])

    name_bytes = 64
    assert ends == [LOCAL_BYTES + name_bytes, CENTRAL.size + name_bytes, END.size]


# provenance


def test_worked_ids_have_the_bytes_and_digests_of_their_vectors() -> None:
    vector = json.loads((ROOT / "tests/vectors/provenance.json").read_text())
    blocks = re.findall(r"```text\n(.*?)```", PROVENANCE, re.DOTALL)
    written = [re.sub(r"\s", "", "".join(line[:42] for line in lines.splitlines())) for lines in blocks]

    assert written == [vector["source"]["cbor"], vector["envelopes"][0]["cbor"]]
    for each in (vector["source"], *vector["envelopes"]):
        assert f"`{each['id']}`" in PROVENANCE
    assert all(f"`{envelope['witness']}`" in PROVENANCE for envelope in vector["envelopes"][1:])


def test_the_table_of_words_is_what_our_own_plugins_register() -> None:
    listed = re.findall(r"^\| `([\w.-]+)` \| (location kind|identifier kind, \w+) \|", PROVENANCE, re.MULTILINE)
    words = [load_plugin(name).plugin.words() for name in ENTRY_POINTS[PLUGINS]]

    locations = [(kind.name, "location kind") for each in words for kind in each.location_kinds]
    identifiers = [
        (kind.name, f"identifier kind, {kind.scoping.value}") for each in words for kind in each.identifier_kinds
    ]
    assert listed == [*locations, *identifiers]


def test_roles_and_levels_of_trust_are_what_our_own_plugins_register() -> None:
    words = [load_plugin(name).plugin.words() for name in ENTRY_POINTS[PLUGINS]]

    for row, registered in (
        ("roles", [role for each in words for role in each.roles]),
        ("levels of trust", [level for each in words for level in each.trust_levels]),
    ):
        cell = re.search(rf"^\| {row} \| (.*) \|$", PROVENANCE, re.MULTILINE)
        assert cell is not None
        assert re.findall("`([^`]+)`", cell[1]) == registered


def test_limits_of_an_observation_are_the_codes() -> None:
    for number, of_what in (
        (MAX_PATH_ID_CHARACTERS, "a path id"),
        (MAX_TEXT_CHARACTERS, "texts"),
        (MAX_PARTIES, "an envelope has at most"),
    ):
        assert re.search(rf"{of_what}\s+{number:,}\b", PROVENANCE), of_what
    for number, of_what in ((MAX_PAYLOAD_BYTES, "payload has at most"), (MAX_METADATA_BYTES, "metadata")):
        assert re.search(rf"{of_what} \[?{number // 1024} KiB", PROVENANCE), of_what
