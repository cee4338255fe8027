"""A client that vanishes, a server that dies or is asked to end: nothing half-recorded, and the plain re-run succeeds.

Servers are killed at every failpoint that a push passes (R1), at random moments under load (R3), and ended politely in
the middle of an upload (R29).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import urllib3

from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import some_bytes
from tests.api.nursery import PLAIN, Nursery, arm
from tests.api.pushing import (
    all_declared,
    answer_on,
    append,
    begin_upload,
    blake3_of,
    break_off,
    check_store,
    connected,
    fetched,
    finalize,
    fresh_files,
    head,
    missing,
    opened,
    push,
    put,
    send_zip,
    standing,
    zipped,
)
from tests.service import make_tokens
from tests.support import SIGKILLED, objects_of_kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.service import Server

FINALIZE_STEPS = 12
"""The failpoints of a finalize; the last is passed when the package is recorded and nobody knows yet."""
PATIENCE_S = 20
CLIENTS = 4
LONG = bool(os.environ.get("LONG"))
KILLS = 150 if LONG else 15
RUNS_A_CLIENT = 3
SMALL = {"run.json": b"{}", "logs/a.txt": b"a" * 5000, "logs/b.txt": b"", "copy": b"{}"}
LARGE = some_bytes(300_000)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def staged(home: Path) -> list[Path]:
    folder = home / "objects" / "staging"
    return list(folder.iterdir()) if folder.is_dir() else []


# the client vanishes


def test_a_client_that_vanishes_while_it_declares_has_opened_nothing(own_server: Server) -> None:
    body = json.dumps({"producer": "p", "external_id": "e", "files": all_declared(fresh_files(100))}).encode()
    request = head(own_server, "POST", "/packages", Content_Type="application/json", Content_Length=len(body))

    for part in (0, 1, len(body) // 2, len(body) - 1):
        break_off(own_server, request + body[:part])

    assert [] == own_server.ask("GET", "/packages?status=open", token="admin").json["packages"]
    assert push(own_server, SMALL, external_id="e")["reused_existing"] is False
    check_store(own_server)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_client_that_vanishes_in_an_archive_has_sent_nothing(own_server: Server, share: float) -> None:
    files = fresh_files(50, size_bytes=4_000)
    package_id, archive = opened(own_server, files, external_id="e"), zipped(files)
    path = f"/packages/{package_id}/packs"
    request = head(own_server, "POST", path, Content_Type="application/zip", Content_Length=len(archive))

    break_off(own_server, request + archive[: int(len(archive) * share)])
    until(lambda: staged(own_server.home) == [])

    assert 50 == len(missing(own_server, package_id)["missing"])
    assert 200 == send_zip(own_server, package_id, archive).status
    assert 50 == finalize(own_server, package_id).json["file_count"]
    assert ["e"] == list(check_store(own_server))


@pytest.mark.parametrize("sent", [0, 1, 100_000, 299_999])
def test_a_client_that_vanishes_in_a_file_has_sent_nothing(own_server: Server, sent: int) -> None:
    package_id = opened(own_server, external_id="e")
    request = head(own_server, "PUT", f"/packages/{package_id}/files/large", Content_Length=len(LARGE))

    break_off(own_server, request + LARGE[:sent])
    until(lambda: staged(own_server.home) == [])

    assert [] == objects_of_kind(own_server.home, ObjectKind.BLOB)
    assert 201 == put(own_server, package_id, "large", LARGE).status
    assert 1 == finalize(own_server, package_id).json["file_count"]
    check_store(own_server)


def test_a_chunked_body_that_ends_without_its_last_chunk_is_not_kept(own_server: Server) -> None:
    package_id = opened(own_server)

    break_off(
        own_server,
        head(own_server, "PUT", f"/packages/{package_id}/files/a", Transfer_Encoding="chunked") + b"3\r\none\r\n",
    )
    until(lambda: staged(own_server.home) == [])

    assert 0 == finalize(own_server, package_id).json["file_count"]


def test_a_client_that_vanishes_in_a_form_has_sent_the_parts_before(own_server: Server) -> None:
    package_id = opened(own_server)
    part = b'--X\r\nContent-Disposition: form-data; name="%s"\r\n\r\n'
    body = part % b"whole" + b"one\r\n" + part % b"cut" + b"tw"
    path = f"/packages/{package_id}/files"

    break_off(
        own_server,
        head(own_server, "POST", path, Content_Type="multipart/form-data; boundary=X", Content_Length=5_000) + body,
    )
    until(lambda: len(objects_of_kind(own_server.home, ObjectKind.BLOB)) == 1 and staged(own_server.home) == [])

    assert 201 == put(own_server, package_id, "cut", b"two").status
    finalize(own_server, package_id)
    assert {"whole": b"one", "cut": b"two"} == fetched(own_server, package_id, ["whole", "cut"])


@pytest.mark.parametrize("step", ["open", "send", "finalize"])
def test_a_client_that_vanishes_between_two_requests_can_begin_again(own_server: Server, step: str) -> None:
    """Without a key the same push again opens another package; the first one is forgotten in time."""
    files = fresh_files(5)
    package_id = opened(own_server, files, external_id="e")
    if step != "open":
        send_zip(own_server, package_id, zipped(files))
    if step == "finalize":
        request = head(own_server, "POST", f"/packages/{package_id}/finalize", Content_Length=0)
        break_off(own_server, request)

    receipt = push(own_server, files, external_id="e")

    assert ["e"] == list(check_store(own_server))
    assert receipt["package_id"] == check_store(own_server)["e"]


def test_clients_that_vanish_leave_no_slot_taken(own_server: Server) -> None:
    """There are 64 slots for bodies; more clients than that come and go in the middle of one."""
    package_id = opened(own_server)
    request = head(own_server, "PUT", f"/packages/{package_id}/files/a", Content_Length=1_000) + b"x" * 10

    for _ in range(80):
        break_off(own_server, request)
    until(lambda: put(own_server, package_id, "a", b"x").status != 503)

    assert 200 == put(own_server, package_id, "a", b"x").status


# the server dies at a named step


def push_of_everything(server: Server, name: str) -> dict[str, Any]:
    """A push that passes every step: an archive, a file, an upload in two pieces. What has arrived is not sent again.

    Its key lets it go on with the package that was opened.
    """
    small, single, large = contents(name)
    body = {"producer": "p", "external_id": name, "files": all_declared({**small, **single, **large})}
    answer = server.ask("POST", "/packages", token="writer", headers={"Idempotency-Key": name}, json_body=body)
    assert answer.status in {200, 201}, answer.body
    package_id, wanted = answer.json["package_id"], set(answer.json["missing"])
    if answer.json["receipt"] is not None:
        return answer.json["receipt"]
    if wanted & set(map(blake3_of, small.values())):
        assert 200 == send_zip(server, package_id, zipped(small)).status
    if wanted & set(map(blake3_of, single.values())):
        assert 201 == put(server, package_id, *single.popitem()).status
    if wanted & set(map(blake3_of, large.values())):
        send_in_two_pieces(server, package_id, *large.popitem())
    done = finalize(server, package_id)
    assert done.status == 200, done.body
    return done.json


def contents(name: str) -> tuple[dict[str, bytes], dict[str, bytes], dict[str, bytes]]:
    """What no other push has: small files, a single one, a large one."""
    small = {**SMALL, "name": name.encode(), "text": name.encode() * 300}
    return small, {"single": some_bytes(3_000, len(name)) + name.encode()}, {"large": LARGE[:100_000] + name.encode()}


def send_in_two_pieces(server: Server, package_id: str, path: str, data: bytes) -> None:
    begin = begin_upload(server, package_id, path, len(data))
    upload, at = begin.headers["Location"], begin.json["offset"]
    middle = max(at, 50_000)
    assert 200 == append(server, upload, at, data[at:middle]).status
    assert 200 == append(server, upload, middle, data[middle:], last=True).status


def test_killed_at_every_failpoint_of_a_push(nursery: Nursery, tmp_path: Path) -> None:
    """R1. Whatever the step: the store is whole, and the same push goes on and succeeds, without sending all again.

    One store dies again and again: each server finishes what the one before could not, and begins the next push.
    """
    home = tmp_path / "home"
    tokens = make_tokens(home)
    with nursery.serving(home, tokens, fatal_hit=0) as server:
        receipts = {"dry-run": push_of_everything(server, "dry-run")}
        names = [line.split()[1] for line in log_of(home).splitlines() if line.startswith("failpoint ")]

    for hit, name in chosen(names):
        with nursery.serving(home, tokens) as server:
            finish(server, receipts, f"before {name}, hit {hit}")
            arm(home, hit)
            with pytest.raises(urllib3.exceptions.HTTPError):
                push_of_everything(server, f"{hit}-{name}")
            assert server.process.wait() == SIGKILLED, name
            receipts[f"{hit}-{name}"] = None
    with nursery.serving(home, tokens) as server:
        finish(server, receipts, "at the end")
        assert set(receipts) == set(check_store(server))

    assert set(names) >= {
        "receive.after-object", "receive.before-record", "upload.before-part-recorded", "upload.before-end",
        "store.before-publish", "storage.before-sync", "storage.before-link", "storage.before-directory-sync",
        "finalize.before-transaction", "finalize.before-answer", "catalog.before-commit", "catalog.after-commit",
        "catalog.after-v1.package.opened", "catalog.after-v1.package.finalized",
    }  # fmt: skip


def chosen(names: list[str]) -> list[tuple[int, str]]:
    """The hits to kill at. Inside storage all objects are alike: the first and the last, unless there is time."""
    hits = list(enumerate(names, start=1))
    first, last = {name: hit for hit, name in reversed(hits)}, {name: hit for hit, name in hits}
    return [
        (hit, name)
        for hit, name in hits
        if LONG or not name.startswith(("storage.", "store.")) or hit in {first[name], last[name]}
    ]


def finish(server: Server, receipts: dict[str, Any], what: str) -> None:
    """What was acknowledged is there; what was not is absent or whole; then it is pushed again."""
    recorded = check_store(server)
    last = list(receipts)[-1]
    assert receipts.keys() - recorded.keys() <= {last}, what
    if receipts[last] is None:
        receipts[last] = push_of_everything(server, last)
        whole = {path: data for part in contents(last) for path, data in part.items()}
        assert whole == fetched(server, receipts[last]["package_id"], whole), what
        assert last not in recorded or recorded[last] == receipts[last]["package_id"], what


@pytest.mark.parametrize("step", ["upload.before-part-recorded", "upload.before-end"])
def test_an_upload_goes_on_after_the_server_died_at_one_of_its_steps(
    nursery: Nursery, tmp_path: Path, step: str
) -> None:
    """The package is the same one, not a new push: HEAD says where to go on."""
    home = tmp_path / "home"
    tokens = make_tokens(home)
    hit = first_hit(nursery, copied(home, tmp_path / "dry-run"), tokens, step)
    with nursery.serving(home, tokens, fatal_hit=hit) as server:
        package_id = opened(server)
        upload = begin_upload(server, package_id, "large", len(LARGE)).headers["Location"]
        with pytest.raises(urllib3.exceptions.HTTPError):
            append(server, upload, 0, LARGE, last=True)

    with nursery.serving(home, tokens) as server:
        at = standing(server, upload)
        answer = append(server, upload, at, LARGE[at:], last=True)

        assert (0 if step == "upload.before-part-recorded" else len(LARGE)) == at
        assert (200, blake3_of(LARGE)) == (answer.status, answer.json["blake3"])
        assert 1 == finalize(server, package_id).json["file_count"]
        check_store(server)
    assert step != "upload.before-end" or [] == objects_of_kind(home, ObjectKind.PART)


def first_hit(nursery: Nursery, home: Path, tokens: dict[str, str], step: str) -> int:
    with nursery.serving(home, tokens, fatal_hit=0) as server:
        upload = begin_upload(server, opened(server), "large", len(LARGE)).headers["Location"]
        append(server, upload, 0, LARGE, last=True)
    names = [line.split()[1] for line in server.log if line.startswith("failpoint ")]
    return names.index(step) + 1


def test_the_answer_of_a_finalize_that_was_lost_is_given_again(nursery: Nursery, tmp_path: Path) -> None:
    """Recorded, but the server died before it said so (at the last step of finalize): asked again, it says the same."""
    home = tmp_path / "home"
    tokens = make_tokens(home)
    files = fresh_files(3)
    with nursery.serving(home, tokens) as server:
        package_id = opened(server, files)
        send_zip(server, package_id, zipped(files))
    with nursery.serving(home, tokens, fatal_hit=FINALIZE_STEPS) as server, pytest.raises(urllib3.exceptions.HTTPError):
        finalize(server, package_id)
    with nursery.serving(home, tokens, fatal_hit=0) as server:
        first, second = finalize(server, package_id), finalize(server, package_id)

    assert [] == [line for line in server.log if "finalize.before-transaction" in line], "it was not recorded before"
    assert (200, package_id, False) == (first.status, first.json["package_id"], first.json["reused_existing"])
    assert first.body == second.body


def copied(template: Path, home: Path) -> Path:
    shutil.copytree(template, home)
    return home


def log_of(home: Path) -> str:
    return home.with_name(f"{home.name}.log").read_text()


# the server dies at any moment


class Client(threading.Thread):
    """Pushes its runs one after another, and again after every death, until each is acknowledged."""

    def __init__(self, server: Server, runs: dict[str, dict[str, bytes]], acknowledged: dict[str, Any]) -> None:
        super().__init__()
        self._server = server
        self._runs = runs
        self._acknowledged = acknowledged
        self.defect: BaseException | None = None

    def run(self) -> None:
        try:
            for name, files in self._runs.items():
                if name not in self._acknowledged:
                    self._acknowledged[name] = self._push(name, files)
        except urllib3.exceptions.HTTPError:
            return
        except BaseException as error:  # noqa: BLE001 - for the test to raise
            self.defect = error

    def _push(self, name: str, files: dict[str, bytes]) -> Any:
        match name.encode()[-1] % 3:
            case 0:
                return push(self._server, files, external_id=name)
            case 1:
                return self._push_with_a_key(name, files)
            case _:
                return self._push_one_by_one(name, files)

    def _push_with_a_key(self, name: str, files: dict[str, bytes]) -> Any:
        """Undeclared; after a death the same package goes on."""
        answer = self._server.ask("POST", "/packages", token="writer", headers={"Idempotency-Key": name},
                                  json_body={"producer": "p", "external_id": name})  # fmt: skip
        if answer.json["receipt"] is None:
            sent = send_zip(self._server, answer.json["package_id"], zipped(files))
            assert sent.status == 200, sent.body
        done = finalize(self._server, answer.json["package_id"])
        assert done.status == 200, done.body
        return done.json

    def _push_one_by_one(self, name: str, files: dict[str, bytes]) -> Any:
        """Some by PUT, one as an upload."""
        package_id = opened(self._server, external_id=name)
        (first, data), *others = files.items()
        upload = begin_upload(self._server, package_id, first, len(data)).headers["Location"]
        for at in range(0, len(data), 600):
            answer = append(self._server, upload, at, data[at : at + 600], last=at + 600 >= len(data))
            assert answer.status == 200, answer.body
        for path, data in others:
            assert put(self._server, package_id, path, data).status == 201
        done = finalize(self._server, package_id)
        assert done.status == 200, done.body
        return done.json


def test_killed_at_random_moments_under_load(nursery: Nursery, tmp_path: Path) -> None:
    """R3. What was acknowledged is whole and readable, the rest is absent or whole, and all of it converges."""
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    home = tmp_path / "home"
    tokens = make_tokens(home)
    intents: dict[str, dict[str, bytes]] = {}
    acknowledged: dict[str, Any] = {}
    killed = 0
    try:
        for number in range(KILLS):
            for n in range(CLIENTS * RUNS_A_CLIENT):
                intents[f"run-{number}-{n}"] = small_run(number * 100 + n)
            batches = left_to_do(intents, acknowledged)
            killed += killed_under_load(nursery, home, tokens, batches, acknowledged, moments.uniform(0.02, 0.5))
            survives(home, tokens, nursery, intents, acknowledged)
        with nursery.serving(home, tokens) as server:
            under_load(server, left_to_do(intents, acknowledged), acknowledged)
            found = check_store(server)
    except BaseException as failure:
        failure.add_note(f"seed {seed}")
        raise

    assert killed > 0, "no kill came in time: the moments are wrong"
    assert set(intents) == set(found) == set(acknowledged)
    assert found == {name: receipt["package_id"] for name, receipt in acknowledged.items()}


def left_to_do(intents: dict[str, dict[str, bytes]], acknowledged: dict[str, Any]) -> list[dict[str, dict[str, bytes]]]:
    """What is not acknowledged, dealt out to the clients."""
    left = [(name, files) for name, files in intents.items() if name not in acknowledged]
    return [dict(left[client::CLIENTS]) for client in range(CLIENTS)]


def small_run(seed: int) -> dict[str, bytes]:
    return {f"f{number}": some_bytes(1_000, seed * 10 + number) for number in range(4)} | {"same": b"shared"}


def under_load(server: Server, batches: list[dict[str, dict[str, bytes]]], acknowledged: dict[str, Any]) -> None:
    clients = [Client(server, batch, acknowledged) for batch in batches]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
        if client.defect is not None:
            raise client.defect


def killed_under_load(
    nursery: Nursery, home: Path, tokens: dict[str, str], batches: list[dict[str, dict[str, bytes]]],
    acknowledged: dict[str, Any], after_s: float,
) -> bool:  # fmt: skip
    """Whether the kill came before the clients were done."""
    before = len(acknowledged)
    with nursery.serving(home, tokens, fatal_hit=PLAIN) as server:
        killer = threading.Timer(after_s, server.process.send_signal, [signal.SIGKILL])
        killer.start()
        under_load(server, batches, acknowledged)
        killer.join()
        assert server.process.wait() == SIGKILLED
    return len(acknowledged) - before < sum(map(len, batches))


def survives(
    home: Path, tokens: dict[str, str], nursery: Nursery, intents: dict[str, Any], acknowledged: dict[str, Any]
) -> None:
    with nursery.serving(home, tokens) as server:
        found = check_store(server)
        assert found.keys() <= intents.keys(), "a package that nobody pushed"
        for name, receipt in acknowledged.items():
            assert found[name] == receipt["package_id"], name
        for name in list(acknowledged)[-5:]:
            assert intents[name] == fetched(server, found[name], intents[name]), name


# the server is asked to end


def test_a_server_that_is_asked_to_end_lets_an_upload_finish(nursery: Nursery, tmp_path: Path) -> None:
    """R29. New connections are refused meanwhile, and it ends without an error."""
    home = tmp_path / "home"
    tokens = make_tokens(home)
    with nursery.serving(home, tokens) as server:
        package_id = opened(server)
        with connected(server) as connection:
            connection.sendall(
                head(server, "PUT", f"/packages/{package_id}/files/large", Content_Length=len(LARGE)) + LARGE[:100_000]
            )
            until(lambda: len(staged(home)) == 1)

            server.process.send_signal(signal.SIGTERM)
            until(lambda: not accepts(server))
            connection.sendall(LARGE[100_000:])
            status, body = answer_on(connection)

            assert (201, blake3_of(LARGE)) == (status, json.loads(body)["blake3"])
        assert server.process.wait() == 0

    with nursery.serving(home, tokens) as server:
        assert 1 == finalize(server, package_id).json["file_count"]
        assert {"large": LARGE} == fetched(server, package_id, ["large"])


def accepts(server: Server) -> bool:
    parts = urlsplit(server.url)
    with suppress(ConnectionRefusedError, ConnectionResetError):
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5).close()
        return True
    return False


def test_a_server_that_is_asked_to_end_under_load_loses_nothing_and_says_nothing_wrong(
    nursery: Nursery, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    tokens = make_tokens(home)
    acknowledged: dict[str, Any] = {}
    batches = [{f"run-{client}-{n}": small_run(client * 100 + n) for n in range(30)} for client in range(CLIENTS)]
    with nursery.serving(home, tokens) as server:
        threading.Timer(0.3, server.process.send_signal, [signal.SIGTERM]).start()
        under_load(server, batches, acknowledged)
        assert server.process.wait() == 0
    assert [] == [line for line in server.log if "defect" in line or "Traceback" in line]

    survives(home, tokens, nursery, {name: files for batch in batches for name, files in batch.items()}, acknowledged)
