"""Somebody else writes into the bucket: what they did is found and named, never served, and healed."""

from __future__ import annotations

import os
import secrets
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest
import urllib3

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.domain.digest import CHUNK_BYTES
from artifactstore.errors import CorruptionError
from artifactstore.registry.copying import copy_backend
from artifactstore.registry.downloads import download
from artifactstore.registry.files import list_files
from artifactstore.registry.ingest import ingest
from artifactstore.registry.packages import read_manifest
from artifactstore.registry.tokens import create_token
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKey, ObjectKind
from artifactstore.testing.builders import package_draft, some_bytes
from tests.failing_backends import RECORDED_WITHIN_S
from tests.s3_servers import BUCKET, S3Server, aws_environment, moto, rclone  # noqa: F401 - fixtures
from tests.service import serving
from tests.support import CliResult, overwrite, replay_is_exact, start_cli, tree_contents
from tests.two_backends import backends_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artifactstore.registry.fall_backs import FallBack
    from artifactstore.registry.registry import Registry
    from tests.service import Server


THRESHOLD_BYTES = 2_000
_FIRST_BLOB = 30 + 64
"""Where the first blob of a pack begins: after a local header and its name."""


# what a stranger can do


@dataclass(frozen=True)
class Bucket:
    """A backend as somebody sees it who can write into it: names below its root, and bytes."""

    url: str
    options: dict[str, str]
    get: Callable[[str], bytes]
    put: Callable[[str, bytes], object]
    delete: Callable[[str], object]


def directory(root: Path) -> Bucket:
    def put(name: str, data: bytes) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if (root / name).exists():
            overwrite(root / name, data)
        else:
            (root / name).write_bytes(data)

    return Bucket(root.as_uri(), {}, lambda name: (root / name).read_bytes(), put, lambda name: (root / name).unlink())


def prefix_of(server: S3Server) -> Bucket:
    prefix = secrets.token_hex(6)
    client = server.client

    def at(name: str) -> dict[str, str]:
        return {"Bucket": BUCKET, "Key": f"{prefix}/{name}"}

    return Bucket(
        f"s3://{BUCKET}/{prefix}",
        server.options(),
        lambda name: client.get_object(**at(name))["Body"].read(),
        lambda name, data: client.put_object(**at(name), Body=data),
        lambda name: client.delete_object(**at(name)),
    )


@pytest.fixture
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket:
    if request.param == "directory":
        return directory(tmp_path / "main")
    return prefix_of(request.getfixturevalue(request.param))


LONG = "LONG" in os.environ


def on(*names: str) -> pytest.MarkDecorator:
    """In these places; in all of them with ``LONG=1``."""
    return pytest.mark.parametrize("bucket", ["directory", "moto", "rclone"] if LONG else names, indirect=True)


def flipped(data: bytes) -> bytes:
    at = _FIRST_BLOB + 10 if data.startswith(b"PK") else len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


TAMPERING: dict[str, Callable[[bytes], bytes | None]] = {
    "flipped": flipped,
    "cut off": lambda data: data[: len(data) // 2],
    "emptied": lambda _: b"",
    "extended": lambda data: data + b"x",
    "other bytes": lambda data: some_bytes(len(data), seed=99),
    "deleted": lambda _: None,
}
FOREIGN = {
    "README.txt": b"whose bucket is this?",
    "packs/blake3/index.html": b"<html>",
    "blobs/blake3/zz/zz/zz": b"no digest",
    f"blobs/blake3/00/00/{'0' * 64}.tmp": b"nearly a key",
    f"manifests/blake3/AB/CD/{'ABCD' * 16}.cbor": b"in capitals",
    f"packs/blake3/00/00/{'0' * 64}.zip": b"a key, and nobody's object",
}


# a store


@dataclass
class Stored:
    """A store of two backends: ``main`` is in the bucket, ``spare`` is ours."""

    registry: Registry
    bucket: Bucket
    environment: dict[str, str]
    packages: dict[str, dict[str, bytes]]
    """By package id."""
    manifests: dict[str, bytes]
    planted: set[str]
    """Keys of objects that were tampered with."""

    def read(self, package_id: str) -> dict[str, bytes | None]:
        """A package's files; None for one that is an error."""
        files = list_files(self.registry, package_id)
        return {file.path: _or_none(lambda file=file: b"".join(download(self.registry, file))) for file in files}

    def statuses(self, *wanted: str) -> set[str]:
        """The keys of the objects in the bucket of one of these statuses."""
        with self.registry.catalog.snapshot() as queries:
            objects = queries.objects(after=0, limit=10_000)
        return {
            ObjectKey(ObjectKind(found.kind), found.blake3).path
            for found in objects
            if found.backend == "main" and found.status in wanted
        }


def _or_none(read: Callable[[], bytes]) -> bytes | None:
    try:
        return read()
    except CorruptionError:
        return None


def contents_of(number: int, *, large: bool = False) -> dict[str, bytes]:
    """A pack of two, and a blob of its own; both are this package's alone."""
    whole = some_bytes(CHUNK_BYTES + 999 if large else 5_000, seed=number)
    return {
        "packed/a": some_bytes(1_000, seed=1_000 + number),
        "packed/b": some_bytes(1_000, seed=2_000 + number),
        "whole": whole,
    }


@pytest.fixture
def stored(bucket: Bucket, tmp_path: Path) -> Iterator[Stored]:
    urls = {"main": bucket.url, "spare": (tmp_path / "spare").as_uri()}
    environment = {
        **backends_file(tmp_path / "home", urls, default="main", **bucket.options),
        "ARTIFACTSTORE_PACK_THRESHOLD_BYTES": str(THRESHOLD_BYTES),
    }
    with closing(open_registry(Settings.from_environment(environment), actor="local:tester")) as registry:
        yield Stored(registry, bucket, environment, {}, {}, set())


def push(stored: Stored, number: int, *, large: bool = False) -> dict[ObjectKind, str]:
    """One more package; the keys of its objects by kind."""
    files = contents_of(number, large=large)
    before = stored.statuses("live")
    package_id = ingest(stored.registry, package_draft(files, external_id=f"run-{number}")).package_id
    stored.packages[package_id] = files
    stored.manifests[package_id] = read_manifest(stored.registry, package_id)
    keys = stored.statuses("live") - before
    return {ObjectKey.parse(key).kind: key for key in keys}


Plan = list[tuple[str, "Callable[[bytes], bytes | None] | str"]]


def fill(stored: Stored) -> Plan:
    """A package for everything that can be done to its objects, and what is to be done to which."""
    plan: Plan = []
    numbers = iter(range(100))
    for what in TAMPERING.values():
        plan += [(key, what) for key in push(stored, next(numbers)).values()]
        plan.append((push(stored, next(numbers), large=True)[ObjectKind.BLOB], what))
    one, other = push(stored, next(numbers)), push(stored, next(numbers))
    plan += [(key, other[kind]) for kind, key in one.items()]
    push(stored, next(numbers))
    return plan


def tamper(stored: Stored, plan: Plan) -> None:
    bucket = stored.bucket
    for name, data in FOREIGN.items():
        bucket.put(name, data)
    for key, what in plan:
        stored.planted.add(key)
        data = bucket.get(key)
        if isinstance(what, str):  # swapped with another
            stored.planted.add(what)
            bucket.put(key, bucket.get(what))
            bucket.put(what, data)
        elif (changed := what(data)) is None:
            bucket.delete(key)
        else:
            bucket.put(key, changed)


# alone


@on("directory", "rclone")
def test_what_was_done_is_found_never_served_and_healed_by_the_same_push(stored: Stored) -> None:
    plan = fill(stored)
    tamper(stored, plan)

    served = {package_id: stored.read(package_id) for package_id in stored.packages}
    manifests = {package_id: _or_none(partial(read_manifest, stored.registry, package_id)) for package_id in served}
    report = verify_all(stored.registry)

    assert all(
        data in (None, stored.packages[id_][path]) for id_, files in served.items() for path, data in files.items()
    )
    assert all(data in (None, stored.manifests[id_]) for id_, data in manifests.items())
    assert stored.planted == {found.object_key for found in report.damage} == stored.statuses("damaged")
    assert {"main"} == {found.backend for found in report.damage}
    wholly_served = [id_ for id_, files in served.items() if None not in files.values() and manifests[id_]]
    assert len(wholly_served) == 2, "the one that nobody touched, and the one whose large blob was extended"

    for number, files in enumerate(stored.packages.values()):
        ingest(stored.registry, package_draft(files, external_id=f"run-{number}"))

    assert [] == verify_all(stored.registry).damage
    assert stored.packages == {package_id: stored.read(package_id) for package_id in stored.packages}
    assert all(stored.manifests[id_] == read_manifest(stored.registry, id_) for id_ in stored.packages)
    assert all(stored.bucket.get(name) == data for name, data in FOREIGN.items())
    assert replay_is_exact(stored.registry)


# with another location


@on("directory", "moto")
def test_with_another_location_everything_is_served_and_healed_from_there(stored: Stored) -> None:
    plan = fill(stored)
    copy_backend(stored.registry, "main", "spare")
    told: list[FallBack] = []
    stored.registry.fall_backs.attend(actor="service", told=told.append, not_recorded=_fail)
    tamper(stored, plan)

    served = {package_id: stored.read(package_id) for package_id in stored.packages}
    manifests = {package_id: read_manifest(stored.registry, package_id) for package_id in stored.packages}
    stored.registry.fall_backs.wait(RECORDED_WITHIN_S)
    by_reads = stored.statuses("damaged")
    report = verify_all(stored.registry)

    assert (stored.packages, stored.manifests) == (served, manifests)
    assert {read.key.path for read in told} == by_reads
    assert len(stored.planted) - len(by_reads) == 3, "of extended objects everything that is recorded can be read"
    assert stored.planted == stored.statuses("damaged"), "no false alarm, and nothing overlooked"
    assert {found.object_key for found in report.damage} <= stored.planted

    copy_backend(stored.registry, "spare", "main")
    told.clear()

    assert set() == stored.statuses("damaged")
    assert [] == verify_all(stored.registry).damage
    assert stored.packages == {package_id: stored.read(package_id) for package_id in stored.packages}
    assert [] == told
    assert all(stored.bucket.get(name) == data for name, data in FOREIGN.items())
    assert replay_is_exact(stored.registry)


@on("directory")
def test_verify_names_what_is_bad_and_its_backend_although_it_is_sound_elsewhere(stored: Stored) -> None:
    plan = fill(stored)
    copy_backend(stored.registry, "main", "spare")
    tamper(stored, plan)

    report = verify_all(stored.registry)

    assert stored.planted == {found.object_key for found in report.damage}
    assert {"main"} == {found.backend for found in report.damage}


def _fail(read: FallBack, error: Exception) -> None:
    raise AssertionError(read) from error


# over HTTP and by the command line


@pytest.mark.parametrize(
    ("bucket", "has_spare"),
    [("directory", False), ("moto", True)],
    ids=["a directory alone", "a bucket with a spare"],
    indirect=["bucket"],
)
def test_no_door_hands_out_a_wrong_byte(stored: Stored, has_spare: bool, tmp_path: Path) -> None:
    plan = fill(stored)
    if has_spare:
        copy_backend(stored.registry, "main", "spare")
    tamper(stored, plan)
    tokens = {"admin": create_token(stored.registry, "admin", ["admin"])[0]}

    with serving(tmp_path / "home", environment=stored.environment, tokens=tokens) as server:
        served = {
            (package_id, path): whole_answer(server, f"/packages/{package_id}/files/{path}")
            for package_id, files in stored.packages.items()
            for path in files
        }
        manifests = {id_: whole_answer(server, f"/packages/{id_}/manifest") for id_ in stored.packages}
        archives = {id_: whole_answer(server, f"/packages/{id_}/archive.zip") for id_ in stored.packages}
        metrics = whole_answer(server, "/metrics") or b""
    fetched = {id_: by_command(stored, id_, tmp_path / "out" / id_) for id_ in list(stored.packages)[::4]}

    assert all(data in (None, stored.packages[id_][path]) for (id_, path), data in served.items())
    assert all(data in (None, stored.manifests[id_]) for id_, data in manifests.items())
    assert all(files in (None, stored.packages[id_]) for id_, files in fetched.items())
    for answers in (served, manifests, archives, fetched):
        assert has_spare == (None not in answers.values())
    lines = [line for line in server.log if "read fell back" in line]
    assert bool(lines) == has_spare
    for reason in ("missing", "altered"):
        counted = f'artifactstore_read_fallbacks_total{{backend="main",reason="{reason}"}}'.encode()
        assert (counted in metrics) == has_spare
        assert any(reason in line and '"served_by": "spare"' in line for line in lines) == has_spare


@pytest.mark.parametrize("bucket", ["directory"], indirect=True)
def test_a_command_that_was_served_from_elsewhere_has_recorded_it_when_it_ends(stored: Stored, tmp_path: Path) -> None:
    keys = push(stored, 1)
    copy_backend(stored.registry, "main", "spare")
    tamper(stored, [(keys[ObjectKind.PACK], TAMPERING["emptied"]), (keys[ObjectKind.BLOB], TAMPERING["deleted"])])
    [(package_id, files)] = stored.packages.items()

    fetched = by_command(stored, package_id, tmp_path / "out" / "package")

    assert files == fetched
    assert stored.planted == stored.statuses("damaged")


def whole_answer(server: Server, path: str) -> bytes | None:
    """What a client takes for the file; None for an error, or an answer that was cut off."""
    try:
        answer = server.ask("GET", path)
    except urllib3.exceptions.HTTPError:
        return None
    assert answer.status == 200 or answer.status >= 500
    return answer.body if answer.status == 200 else None


def by_command(stored: Stored, package_id: str, folder: Path) -> dict[str, bytes] | None:
    """What `artifactstore get` leaves behind; None if it says that it failed."""
    folder.parent.mkdir(exist_ok=True)
    result = CliResult(start_cli(folder, "get", package_id, "--output", str(folder), settings=stored.environment))
    assert (result.code == 0) == folder.exists()
    return tree_contents(folder) if result.code == 0 else None
