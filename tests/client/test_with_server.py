"""The client and a real server: packages in and out, over a network that fails."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice

import pytest
from blake3 import blake3

from artifactstore.bootstrap import open_registry
from artifactstore.built_in import load_plugin
from artifactstore.client import Client, RemoteContext, pushing, sending
from artifactstore.config import Settings
from artifactstore.domain.package import BytesSource, FileDraft, PackageDraft
from artifactstore.domain.provenance import EnvelopeInput, SourceInput
from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import (
    CorruptionError,
    FileChangedError,
    ForbiddenError,
    HoldUnknownError,
    MetadataInvalidError,
    MetadataSchemaUnknownError,
    PackageUnknownError,
    RunChangedError,
    SchemaConflictError,
    ServiceUnavailableError,
    UnauthenticatedError,
)
from artifactstore.registry.ingest import ingest
from artifactstore.storage.port import ObjectKind
from tests.client.cutting_proxy import cutting
from tests.client.running_server import TOKENS, RunningServer, running
from tests.support import flip_byte, objects_of_kind, tree_contents, write_tree

PIECE = 2 * 1024 * 1024
SMALL = {f"logs/{number:03}.txt": f"line {number}\n".encode() * 30 for number in range(50)}
ODD = {"\u00e9/\u2603 100%.txt": b"snow", "a b/c#d?e+f.txt": b"odd", "empty": b"", "copy of empty": b""}


def package(files, *, external_id="1", producer="ci", **more):
    drafts = tuple(FileDraft(path, BytesSource(data), "content", "text/plain") for path, data in files.items())
    return PackageDraft(producer, drafts, RetentionClass.TRANSIENT, external_id=external_id, **more)


def noise(size_bytes: int, seed: int = 0) -> bytes:
    """Bytes that are no others' by chance."""
    return hashlib.shake_128(seed.to_bytes(4, "big")).digest(size_bytes)


@pytest.fixture
def small_pieces(monkeypatch):
    """Uploads begin at 2 MiB and go in pieces of 2 MiB, so that a test need not send gigabytes."""
    monkeypatch.setattr(sending, "UPLOAD_BYTES", PIECE)
    monkeypatch.setattr(pushing, "UPLOAD_BYTES", PIECE)


# in and out


def test_what_was_pushed_comes_back(root, tmp_path, small_pieces):
    files = {**SMALL, **ODD, "large.bin": noise(PIECE - 1, 1), "larger.bin": noise(3 * PIECE + 7, 2)}

    receipt = root.push(package(files, external_id="round trip"))

    assert root.get_package(receipt.package_id, tmp_path / "out") == len(files)
    assert tree_contents(tmp_path / "out") == files
    assert (receipt.file_count, receipt.reused_existing, receipt.revision) == (len(files), False, 1)
    assert root.verify(receipt.package_id)["status"] == "verified"


def test_the_package_is_the_one_that_an_ingest_records(root, tmp_path):
    draft = package({**SMALL, **ODD}, external_id="same", metadata={"b": 1.5, "a": "\u00e9"}, subject="main")
    settings = Settings.from_environment({"ARTIFACTSTORE_HOME": str(tmp_path / "home")})
    with closing(open_registry(settings)) as registry:
        here = ingest(registry, draft)

    there = root.push(draft)

    assert there.manifest_digest == here.manifest_digest
    assert (there.file_count, there.total_bytes) == (here.file_count, here.total_bytes)


def test_a_package_without_files_can_be_pushed(root, tmp_path):
    receipt = root.push(package({}, external_id="nothing"))

    assert root.get_package(receipt.package_id, tmp_path / "out") == 0
    assert list((tmp_path / "out").iterdir()) == []


def test_the_same_push_again_is_the_same_package_and_sends_no_file(root, proxy, through_proxy):
    draft = package({"a": noise(100_000, 3)}, external_id="again")
    first = root.push(draft)

    again = through_proxy.push(draft)

    assert (again.package_id, again.reused_existing, again.stored_bytes) == (first.package_id, True, 0)
    assert proxy.up_bytes < 10_000


def test_known_bytes_are_not_sent_again(root, proxy, through_proxy):
    root.push(package({"a": noise(100_000, 4)}, external_id="known 1"))

    receipt = through_proxy.push(package({"b": noise(100_000, 4), "c": b"new"}, external_id="known 2"))

    assert not receipt.reused_existing
    assert proxy.up_bytes < 10_000


def test_the_same_push_many_times_at_once_is_one_package(root):
    draft = package({f"{n}": noise(20_000, 300 + n) for n in range(40)}, external_id="at once")
    receipts = []
    pushes = [threading.Thread(target=lambda: receipts.append(root.push(draft))) for _ in range(6)]

    for push in pushes:
        push.start()
    for push in pushes:
        push.join()

    assert len(receipts) == 6
    assert len({receipt.package_id for receipt in receipts}) == 1
    assert root.verify(receipts[0].package_id)["status"] == "verified"


def test_changed_content_is_refused_and_named_or_becomes_a_revision(root):
    root.push(package({"a": b"1", "b": b"1"}, external_id="changing"))

    with pytest.raises(RunChangedError) as caught:
        root.push(package({"a": b"2", "b": b"1"}, external_id="changing"))
    revision = root.push(package({"a": b"2", "b": b"1"}, external_id="changing"), as_revision=True)

    assert [("a", "changed")] == [tuple(problem) for problem in caught.value.problems]
    assert revision.revision == 2


def test_a_push_makes_a_damaged_package_whole_again(tmp_path):
    files = {"a": noise(5_000, 5)}
    with running(tmp_path / "home") as server, Client(server.url, TOKENS["root"]) as client:
        receipt = client.push(package(files))
        flip_byte(objects_of_kind(server.home, ObjectKind.PACK)[0], 200)
        damaged = client.verify(receipt.package_id)["status"]
        with pytest.raises(CorruptionError):
            client.get_package(receipt.package_id, tmp_path / "bad")

        healed = client.push(package(files))

        assert damaged == "damaged"
        assert (healed.package_id, healed.reused_existing) == (receipt.package_id, True)
        assert client.verify(receipt.package_id)["status"] == "verified"
        assert client.get_package(receipt.package_id, tmp_path / "good") == 1
        assert not (tmp_path / "bad").exists()


# who may


def test_a_token_that_may_not_write_is_told_before_a_file_is_read(running_server):
    class Unreadable:
        def open(self):
            raise AssertionError("the file was opened")

    draft = PackageDraft("ci", (FileDraft("a", Unreadable(), "content", "text/plain"),), RetentionClass.TRANSIENT)
    for token, error in (("other", ForbiddenError), ("reader", ForbiddenError)):
        with Client(running_server.url, TOKENS[token]) as client, pytest.raises(error):
            client.push(draft)


@pytest.mark.parametrize("token", [None, "as_0123456789abcdef_" + "x" * 43, "nonsense"])
def test_no_token_or_a_wrong_one_is_unauthenticated(running_server, token):
    with Client(running_server.url, token) as client, pytest.raises(UnauthenticatedError) as caught:
        client.list_packages()

    assert "ARTIFACTSTORE_API_TOKEN" in caught.value.hint


def test_what_a_token_may_not_read_is_not_there(running_server, root, tmp_path):
    package_id = root.push(package({"a": b"secret"}, external_id="hidden")).package_id

    with Client(running_server.url, TOKENS["other"]) as other:
        with pytest.raises(PackageUnknownError):
            other.package(package_id)
        with pytest.raises(PackageUnknownError):
            other.get_package(package_id, tmp_path / "out")
        assert other.whoami()["can"]["write"] == ["other"]


# schemas, retention, lists


def test_metadata_is_checked_against_the_servers_schema(root):
    root.register_schema("client.v1", {"required": ["commit"]})
    root.register_schema("client.v1", {"required": ["commit"]})

    with pytest.raises(SchemaConflictError):
        root.register_schema("client.v1", {"required": ["other"]})
    with pytest.raises(MetadataInvalidError) as caught:
        root.push(package({}, external_id="schema", schema="client.v1", metadata={}))
    with pytest.raises(MetadataSchemaUnknownError):
        root.push(package({}, external_id="schema", schema="client.v2", metadata={}))

    assert caught.value.message == "metadata violates schema client.v1 in 1 place(s)"
    assert root.schema("client.v1")["json_schema"] == {"required": ["commit"]}
    assert "client.v1" in [schema["slug"] for schema in root.schemas()]


def test_a_plug_in_is_told_who_registers_its_schema(root):
    context = RemoteContext(root, load_plugin("guide-board"))
    draft = package({}, producer="guide-board", schema="guide-board.run.v1", metadata={})

    with pytest.raises(MetadataSchemaUnknownError) as caught:
        context.ingest(
            source=SourceInput("guide-board.run", "1"),
            envelope=EnvelopeInput("filesystem", b"{}", datetime.now(UTC)),
            package=draft,
        )

    assert "register_schemas.py" in caught.value.hint


def test_a_hold_is_placed_and_released(root):
    package_id = root.push(package({"a": b"1"}, external_id="held")).package_id

    held = root.place_hold(package_id, reason="audit")
    released = root.release_hold(package_id, held["hold_id"], reason="over")

    assert held["holds"][0]["in_force"]
    assert not released["holds"][0]["in_force"]
    with pytest.raises(HoldUnknownError):
        root.release_hold(package_id, held["hold_id"], reason="again")
    assert root.retention(package_id) == released


def test_lists_go_on_where_they_ended(root):
    ids = {
        root.push(package({"n": b"%d" % n}, external_id=f"listed {n}", subject="listed")).package_id for n in range(5)
    }

    found, after = [], None
    while True:
        page = root.list_packages(subject="listed", limit=2, after=after)
        found += [each["package_id"] for each in page["packages"]]
        if (after := page["next_after"]) is None:
            break

    assert set(found) == ids
    assert len(found) == 5


def test_a_packages_files_come_in_path_order_over_many_pages(root):
    files = {f"{number:05}": b"" for number in range(2_100)}
    package_id = root.push(package(files, external_id="many files")).package_id

    assert list(files) == [file["path"] for file in root.files(package_id)]


# networks that fail


def test_a_large_upload_goes_on_where_it_was_cut(proxy, through_proxy, tmp_path, small_pieces):
    data = noise(5 * PIECE + 3, 6)
    proxy.up_cuts = [PIECE // 2, PIECE + 4_000, 3 * PIECE]

    receipt = through_proxy.push(package({"large": data}, external_id="cut upload"))

    assert proxy.up_cuts == []
    assert proxy.up_bytes < len(data) + 3 * PIECE  # each cut costs a piece at most
    through_proxy.get_file(receipt.package_id, "large", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data


@pytest.mark.parametrize("cut", [150, 2_500, 30_000, 180_000, 230_000])
def test_a_push_is_finished_though_the_network_was_cut(proxy, through_proxy, tmp_path, cut):
    files = {**SMALL, "a.bin": noise(200_000, 100 + cut)}
    proxy.up_cuts = [cut, cut]

    receipt = through_proxy.push(package(files, external_id=f"cut push {cut}"))

    through_proxy.get_package(receipt.package_id, tmp_path / "out")
    assert tree_contents(tmp_path / "out") == files


@pytest.mark.parametrize("cut", [100, 700, 1_400])
def test_an_answer_that_is_lost_changes_nothing(proxy, through_proxy, cut):
    proxy.down_cuts = [cut, cut]

    receipt = through_proxy.push(package({"a": noise(5_000, cut)}, external_id=f"lost answer {cut}"))

    assert (receipt.reused_existing, receipt.revision) == (False, 1)
    page = through_proxy.list_packages(external_id=f"lost answer {cut}")
    assert [receipt.package_id] == [each["package_id"] for each in page["packages"]]


def test_a_download_goes_on_where_it_was_cut(root, proxy, through_proxy, tmp_path):
    files = {**SMALL, **{f"{n}.bin": noise(300_000, 200 + n) for n in range(10)}, "large": noise(5 * PIECE, 7)}
    package_id = root.push(package(files, external_id="cut download")).package_id
    proxy.down_cuts = [1_000_000, 1_500_000, PIECE, 2 * PIECE]

    through_proxy.get_package(package_id, tmp_path / "out")

    assert tree_contents(tmp_path / "out") == files
    assert proxy.down_cuts == []
    assert proxy.down_bytes < sum(map(len, files.values())) + 3_000_000


def test_a_killed_push_goes_on_when_it_is_made_again(tmp_path):
    files = {**SMALL, "huge": noise(160 * 2**20, 8)}
    folder = write_tree(tmp_path / "run", files)
    push = [sys.executable, "-m", "artifactstore", "push", str(folder), "--producer", "ci", "--external-id", "killed"]
    with running(tmp_path / "home") as server, cutting(server.url) as proxy:
        environment = {**os.environ, **server.environment("ci"), "ARTIFACTSTORE_API_URL": proxy.url}
        enough = threading.Event()
        proxy.on_up = lambda passed: enough.set() if passed > 100 * 2**20 else None
        process = subprocess.Popen(push, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert enough.wait(60)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        before = proxy.up_bytes

        again = subprocess.run(push, env=environment, capture_output=True, timeout=120, check=False)

        assert again.returncode == 0, again.stderr
        assert proxy.up_bytes - before < 110 * 2**20
        with Client(server.url, TOKENS["ci"]) as client:
            (found,) = client.list_packages(external_id="killed")["packages"]
            client.get_package(found["package_id"], tmp_path / "out")
        assert blake3((tmp_path / "out" / "huge").read_bytes()).digest() == blake3(files["huge"]).digest()


def test_an_upload_survives_a_server_that_is_killed(tmp_path, small_pieces):
    data = noise(4 * PIECE, 9)
    server = RunningServer(tmp_path / "home")
    try:
        with Client(server.url, TOKENS["ci"], sleep=lambda _: None) as client:
            source = Interrupting(data, after_reads=5, interrupt=lambda: server.end(at_once=True))
            with pytest.raises(ServiceUnavailableError):
                client.push(
                    PackageDraft("ci", (FileDraft("large", source, "content", "x/y"),), RetentionClass.TRANSIENT)
                )

        server = RunningServer(tmp_path / "home")
        with cutting(server.url) as proxy, Client(proxy.url, TOKENS["ci"]) as client:
            file = FileDraft("large", BytesSource(data), "content", "x/y")
            receipt = client.push(PackageDraft("ci", (file,), RetentionClass.TRANSIENT))

            assert proxy.up_bytes < len(data)
            client.get_file(receipt.package_id, "large", tmp_path / "out")
            assert (tmp_path / "out").read_bytes() == data
    finally:
        server.end()


class Interrupting(BytesSource):
    """A file in the middle of whose sending something happens: the second time that it is opened."""

    def __init__(self, data, *, after_reads, interrupt):
        super().__init__(data)
        self._opened, self._reads_left, self._interrupt = 0, after_reads, interrupt

    def open(self):
        self._opened += 1
        opened = super().open()
        if self._opened == 2:
            read = opened.read

            def counted(size):
                self._reads_left -= 1
                if self._reads_left == 0:
                    self._interrupt()
                return read(size)

            opened.read = counted
        return opened


def test_a_file_that_changes_while_it_is_uploaded_is_never_recorded(root, small_pieces):
    class Changing(BytesSource):
        opened = 0

        def open(self):
            type(self).opened += 1
            return BytesSource(noise(3 * PIECE, 10 + self.opened)).open()

    file = FileDraft("large", Changing(b""), "content", "x/y")
    draft = PackageDraft("ci", (file,), RetentionClass.TRANSIENT, external_id="changing file")

    with pytest.raises(FileChangedError, match="large"):
        root.push(draft)

    assert root.list_packages(external_id="changing file")["packages"] == []


def test_what_an_earlier_push_sent_of_a_changed_file_is_not_built_upon(root, tmp_path, small_pieces):
    right, wrong = noise(3 * PIECE, 20), noise(3 * PIECE, 21)

    class Changing(BytesSource):
        opened = 0

        def open(self):
            type(self).opened += 1
            return BytesSource(right if self.opened == 1 else wrong).open()

    def draft(source):
        files = (FileDraft("large", source, "content", "x/y"),)
        return PackageDraft("ci", files, RetentionClass.TRANSIENT, external_id="built upon")

    with pytest.raises(FileChangedError):
        root.push(draft(Changing(b"")))
    receipt = root.push(draft(BytesSource(right)))

    root.get_file(receipt.package_id, "large", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == right


def test_a_complete_upload_whose_answer_was_lost_is_not_sent_again(proxy, through_proxy, small_pieces):
    data = noise(3 * PIECE, 22)

    def lose_the_next_answer(passed: int) -> None:
        if passed > len(data) and not lost:
            lost.append(passed)
            proxy.down_cuts.append(0)

    lost: list[int] = []
    proxy.on_up = lose_the_next_answer

    receipt = through_proxy.push(package({"large": data}, external_id="lost completion"))

    assert receipt.total_bytes == len(data)
    assert (len(lost), proxy.down_cuts) == (1, [])
    assert proxy.up_bytes < len(data) + PIECE


# events


def newest_event(client) -> int:
    return max((event["seq"] for event in client.events(limit=10_000)["events"]), default=0)


def test_events_are_followed_through_cuts_and_none_is_missed_or_doubled(root, proxy, through_proxy):
    last = newest_event(root)
    for number in range(10):
        root.push(package({"n": b"%d" % number}, external_id=f"followed {number}"))
    expected = root.events(after=last, limit=10_000)["events"]
    proxy.down_cuts = [700, 1_100, 1_900, 2_700]

    found = list(islice(through_proxy.stream_events(last), len(expected)))

    assert found == expected
    assert proxy.down_cuts == []


def test_events_come_as_they_happen(root):
    last = newest_event(root)
    stream = root.stream_events(last, payload=True)

    receipt = root.push(package({"now": b"1"}, external_id="as it happens"))
    event = next(stream)

    assert (event["subject"], event["payload"]["external_id"]) == (receipt.package_id, "as it happens")
    stream.close()
