"""The committed byte vectors hold, and say the same to readers that share no code with the product."""

from __future__ import annotations

import importlib.util
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import cbor2
import pytest
from blake3 import blake3

from artifactstore.domain.manifest import Manifest
from artifactstore.errors import ManifestInvalidError

VECTORS = Path(__file__).parents[1] / "vectors"
MANIFESTS = sorted(path.name for path in VECTORS.glob("manifest-*.json") if path.name != "manifest-refused.json")


def read(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate", VECTORS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = generator()
REFUSED = read("manifest-refused.json")


@pytest.mark.parametrize("name", list(GENERATOR.VECTORS))
def test_vectors_are_what_the_code_writes(name: str) -> None:
    assert GENERATOR.text_of(name) == (VECTORS / name).read_text()


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest_vector_is_read_and_written_again(name: str) -> None:
    vector = read(name)

    manifest = Manifest.decode(bytes.fromhex(vector["cbor"]))

    assert (manifest.encode().hex(), manifest.to_json().decode()) == (vector["cbor"], vector["json"])


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest_vector_has_the_digest_it_names(name: str) -> None:
    vector = read(name)

    assert vector["digest"] == f"blake3:{blake3(bytes.fromhex(vector['cbor'])).hexdigest()}"


@pytest.mark.parametrize("name", MANIFESTS)
def test_cbor2_reads_in_the_bytes_what_json_reads_in_the_view(name: str) -> None:
    vector = read(name)

    document = cbor2.loads(bytes.fromhex(vector["cbor"]))

    for file in document["files"]:
        file.update({name: f"{name}:{file[name].hex()}" for name in ("blake3", "sha256")})
    assert document == json.loads(vector["json"])


@pytest.mark.parametrize("says", list(REFUSED))
def test_refused_vector_is_refused(says: str) -> None:
    with pytest.raises(ManifestInvalidError):
        Manifest.decode(bytes.fromhex(REFUSED[says]))


def test_refused_vectors_are_all_different() -> None:
    assert len(set(REFUSED.values())) == len(REFUSED)


def test_zipfile_reads_the_pack_vector() -> None:
    vector = read("pack.json")
    data = bytes.fromhex(vector["pack"])

    with zipfile.ZipFile(io.BytesIO(data)) as pack:
        found = [pack.read(name).hex() for name in pack.namelist()]

    assert (found, vector["key"]) == (
        vector["blobs"],
        f"packs/blake3/{(name := blake3(data).hexdigest())[:2]}/{name[2:4]}/{name}.zip",
    )


def test_event_chain_vector_follows_from_its_headers() -> None:
    vector = read("event-chain.json")
    chain = blake3(b"artifactstore event log v1\x00" + bytes.fromhex(vector["log_id"])).digest()

    chains = []
    for event in vector["events"]:
        chain = blake3(b"artifactstore event v1\x00" + chain + bytes.fromhex(event["header"])).digest()
        chains.append(chain.hex())

    assert chains == [event["chain"] for event in vector["events"]]


def test_event_header_vector_says_what_stands_beside_it() -> None:
    for event in read("event-chain.json")["events"]:
        header = cbor2.loads(bytes.fromhex(event["header"]))

        expected = {name: event[name] for name in ("seq", "at", "type", "subject", "actor")}
        assert header == {**expected, "payload_digest": blake3(bytes.fromhex(event["payload"])).digest()}


def test_provenance_vectors_are_digests_of_lists_that_begin_with_a_tag() -> None:
    vector = read("provenance.json")
    source, envelopes = vector["source"], vector["envelopes"]

    assert cbor2.loads(bytes.fromhex(source["cbor"])) == [
        "artifactstore source v1", "file", "file:///srv/scans/a%20b.pdf"
    ]  # fmt: skip
    for envelope in envelopes:
        assert cbor2.loads(bytes.fromhex(envelope["cbor"])) == [
            "artifactstore envelope v1", bytes.fromhex(source["id"]), "filesystem", 1_795_000_000_000_000,
            envelope["witness"], "1",
        ]  # fmt: skip
    for each in (source, *envelopes):
        assert blake3(bytes.fromhex(each["cbor"])).hexdigest() == each["id"]
    assert [envelope["witness"] for envelope in envelopes] == ["folder-watcher", "token:ci folder-watcher"]
