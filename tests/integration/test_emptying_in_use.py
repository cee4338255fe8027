"""A backend is emptied while others push, read and verify, and while its process is killed at any step."""

from __future__ import annotations

import io
import os
import random
import secrets
import shutil
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.registry.emptying import migrate
from artifactstore.registry.finalizing import finalize
from artifactstore.registry.ingest import ingest
from artifactstore.registry.open_packages import open_package
from artifactstore.registry.packages import list_packages, read_manifest
from artifactstore.registry.receiving import Announced, receive_file
from artifactstore.registry.verify import verify_all, verify_package
from artifactstore.testing.builders import package_draft, some_bytes
from tests.api.pushing import open_, unique
from tests.killed_commands import failpoints_of, killed_at
from tests.s3_servers import BUCKET, REGION, aws_environment, moto, rclone
from tests.service import make_tokens, serving
from tests.support import SIGKILLED, CliResult, fetch, replay_is_exact, start_cli, tree_contents, write_tree
from tests.two_backends import ARCHIVE, DISK, backends_file, keys_in, recorded_in, settings_from, two_directories

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.config import Settings
    from artifactstore.registry.registry import Registry
    from tests.service import Server

__all__ = ["aws_environment", "moto", "rclone"]

LONG = bool(os.environ.get("LONG"))
SHARED = {f"shared-{n}": some_bytes(3000, n) for n in range(20)}
FILES = {"run.json": b"{}", "a.txt": b"a" * 5000, "large.bin": some_bytes(1_100_000)}
THERE_AND_BACK = 3 if LONG else 1
KILLS = 40 if LONG else 2


@dataclass
class Traffic:
    """What goes on meanwhile: every package that was acknowledged, and whatever went wrong."""

    settings: Settings
    folder: Path
    acknowledged: dict[str, dict[str, bytes]] = field(default_factory=dict)
    errors: list[BaseException] = field(default_factory=list)
    reads: int = 0
    verified: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        work = (self._push, self._send, self._read, self._verify)
        threads = [threading.Thread(target=self._run, args=(each, number)) for number, each in enumerate(work)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _run(self, work: object, number: int) -> None:
        with closing(open_registry(self.settings, actor="local:tester")) as registry:
            count = 0
            while not self._over.is_set():
                try:
                    work(registry, f"{number}-{count}")  # type: ignore[operator]
                except BaseException as error:  # noqa: BLE001 - the test tells it
                    self.errors.append(error)
                    return
                count += 1
                self._over.wait(0.1)  # the others have only so many processors

    def _files(self, name: str) -> dict[str, bytes]:
        moments = random.Random(name)
        shared = dict(moments.sample(sorted(SHARED.items()), 5))
        large = {"large.bin": moments.randbytes(1_100_000)} if moments.random() < 0.3 else {}
        return {**shared, "own": name.encode(), **large}

    def _push(self, registry: Registry, name: str) -> None:
        files = self._files(name)
        self.acknowledged[ingest(registry, package_draft(files, external_id=name)).package_id] = files

    def _send(self, registry: Registry, name: str) -> None:
        """As a server does it, over several requests."""
        files = self._files(name)
        draft = package_draft({}, external_id=name)
        package_id = open_package(registry, draft, None, as_revision=False, readable_producers=None).package_id
        for path, data in files.items():
            receive_file(registry, package_id, Announced(path), io.BytesIO(data).read)
        finalize(registry, package_id, readable_producers=None)
        self.acknowledged[package_id] = files

    def _read(self, registry: Registry, name: str) -> None:
        if not (known := list(self.acknowledged)):
            return
        package_id = random.choice(known)
        folder = self.folder / name
        assert self.acknowledged[package_id] == fetch(registry, package_id, folder)
        shutil.rmtree(folder)
        read_manifest(registry, package_id)
        self.reads += 1

    def _verify(self, registry: Registry, name: str) -> None:
        if not (known := list(self.acknowledged)):
            return
        report = verify_package(registry, random.choice(known))
        assert [] == report.damage
        if name.endswith("-5"):
            assert [] == verify_all(registry).damage
        self.verified += 1


@pytest.fixture(params=["rclone and sqlite", "moto and postgresql"])
def settings(home: Path, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """A directory and a bucket."""
    server, _, database = request.param.split()
    running = request.getfixturevalue(server)
    urls = {DISK: (home / DISK).as_uri(), ARCHIVE: f"s3://{BUCKET}/{secrets.token_hex(6)}"}
    environment = backends_file(home, urls, endpoint_url=running.url, region=REGION)
    if database == "sqlite":
        yield settings_from(environment)
        return
    with request.getfixturevalue("postgres").database() as url:
        yield settings_from({**environment, "ARTIFACTSTORE_DATABASE_URL": url})


def test_reads_and_writes_go_on_there_and_back(settings: Settings, tmp_path: Path) -> None:
    traffic = Traffic(settings, tmp_path)

    with closing(open_registry(settings, actor="local:tester")) as registry:
        for number in range(5):
            traffic._push(registry, f"before-{number}")
        with traffic.going_on():
            for source, target in [(DISK, ARCHIVE), (ARCHIVE, DISK)] * THERE_AND_BACK:
                report = migrate(registry, source, target, wait_s=60, grace_s=0.5)
                assert ([], [], []) == (report.waiting_for, report.copy.damage, report.copy.lost)
                assert report.is_done
                assert (0, report.unrecorded) == (recorded_in(registry, source), len(keys_in(registry, source)))
                assert report.deleted == report.copy.verified > 0
        assert [] == traffic.errors
        assert min(len(traffic.acknowledged) - 5, traffic.reads, traffic.verified) > 0
        for package_id, files in traffic.acknowledged.items():
            assert files == fetch(registry, package_id, tmp_path / package_id)
        assert [] == verify_all(registry).damage
        replay_is_exact(registry)


def test_servers_go_on_while_their_backend_is_emptied(home: Path) -> None:
    """Two server processes; whatever one has acknowledged the other hands out, at every moment."""
    environment = two_directories(home)
    tokens = make_tokens(home, environment)
    acknowledged, errors, reads = dict[str, bytes](), list[str](), list[int]()
    over = threading.Event()
    with (
        serving(home, tokens=tokens, environment=environment) as one,
        serving(home, tokens=tokens, environment=environment) as other,
    ):

        def push() -> None:
            for number in count():
                if over.is_set():
                    return
                data = some_bytes(5000, number)
                push_files(one, {"a": data, "b": SHARED["shared-1"]}, errors, acknowledged, data)

        def read() -> None:
            while not over.is_set():
                for package_id, data in list(acknowledged.items()):
                    answer = other.ask("GET", f"/packages/{package_id}/files/a")
                    reads.append(answer.status)
                    if (answer.status, answer.body) != (200, data):
                        errors.append(f"{package_id}: {answer.status} {answer.body[:200]!r}")

        threads = [threading.Thread(target=push), threading.Thread(target=read)]
        for thread in threads:
            thread.start()
        answers = [
            ask(home, "storage", "migrate", "--from", source, "--to", target, "--grace-s", "0.5")
            for source, target in [(DISK, ARCHIVE), (ARCHIVE, DISK)] * THERE_AND_BACK
        ]
        over.set()
        for thread in threads:
            thread.join()

    assert [] == errors
    assert [(0, "migrated")] * len(answers) == [(answer.code, answer.document["status"]) for answer in answers]
    assert min(len(acknowledged), len(reads)) > 0
    with closing(open_registry(settings_from(environment))) as registry:
        assert [] == verify_all(registry).damage
        replay_is_exact(registry)
        assert len(acknowledged) == len(list_packages(registry, limit=10_000))


def push_files(
    server: Server, files: dict[str, bytes], errors: list[str], acknowledged: dict[str, bytes], data: bytes
) -> None:
    opened = open_(server, external_id=unique())
    package_id = opened.json["package_id"]
    sent = [server.ask("PUT", f"/packages/{package_id}/files/{path}", body=body) for path, body in files.items()]
    done = server.ask("POST", f"/packages/{package_id}/finalize")
    if [each.status for each in (opened, *sent, done)] == [201, 201, 201, 200]:
        acknowledged[package_id] = data
    else:
        errors.append(str([(each.status, each.body[:200]) for each in (opened, *sent, done)]))


def test_killed_at_random_moments_while_it_is_in_use(home: Path, tmp_path: Path) -> None:
    """A real kill of a real process; the moments are drawn anew each time and the seed is in the failure."""
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    settings = settings_from(two_directories(home))
    traffic = Traffic(settings, tmp_path)
    command, ends = ["storage", "migrate", "--grace-s", "2", "--wait-s", "30"], [DISK, ARCHIVE]
    with closing(open_registry(settings, actor="local:tester")) as registry:
        for number in range(20):
            traffic._push(registry, f"before-{number}")
        ended = list[tuple[int, str]]()
        with traffic.going_on():
            for _ in range(KILLS):
                process = start_cli(home, *command, "--from", ends[0], "--to", ends[1], settings=two_directories(home))
                time.sleep(moments.uniform(0.4, 2.5))
                process.kill()
                _, said = process.communicate()
                ended.append((process.returncode, said))
                if moments.random() < 0.3:  # somebody thinks better of it
                    ends.reverse()
            last = ask(home, *command, "--from", ends[0], "--to", ends[1])
        assert [] == traffic.errors, seed
        assert (0, "migrated") == (last.code, last.document["status"]), (seed, last.stderr)
        assert 0 == recorded_in(registry, ends[0]), seed
        assert SIGKILLED in dict(ended), (seed, ended)
        for package_id, files in traffic.acknowledged.items():
            assert files == fetch(registry, package_id, tmp_path / package_id)
        assert [] == verify_all(registry).damage
        replay_is_exact(registry)


def test_killed_at_every_step_it_goes_on(tmp_path: Path) -> None:
    """Every kind of step by default; with LONG every single one."""
    template = tmp_path / "template"
    folder = write_tree(tmp_path / "run", FILES)
    package_id = ask(template, "push", str(folder), "--producer", "p").document["package_id"]
    command = ("storage", "migrate", "--from", DISK, "--to", ARCHIVE, "--grace-s", "0")
    names = failpoints_of(template, tmp_path / "dry-run", command, two_directories)

    hits = range(1, len(names) + 1) if LONG else sorted({names.index(name) + 1 for name in names})
    for hit in hits:
        home = killed_at(hit, template, tmp_path / f"home-{hit}", command, two_directories)
        check(home, package_id, tmp_path / f"killed-{hit}")

        again = ask(home, *command)

        assert (0, "migrated") == (again.code, again.document["status"]), (names[hit - 1], again.stderr)
        check(home, package_id, tmp_path / f"again-{hit}")
        left = [path for path in (home / DISK).rglob("*") if path.is_file() and path.parent.name != "staging"]
        assert [] == left

    assert 3 == len({name for name in names if name.startswith("catalog.after-v1.object")})
    assert 5 == len({name for name in names if name.startswith("migrate.")})


def ask(home: Path, *arguments: str) -> CliResult:
    return CliResult(start_cli(home, *arguments, settings=two_directories(home)))


def check(home: Path, package_id: str, folder: Path) -> None:
    """All that is recorded is whole, and can be read."""
    with closing(open_registry(settings_from(two_directories(home)))) as registry:
        assert [] == verify_all(registry).damage
        replay_is_exact(registry)
        assert [package_id] == [package.package_id for package in list_packages(registry, limit=10)]
        fetch(registry, package_id, folder)
    assert FILES == tree_contents(folder)
