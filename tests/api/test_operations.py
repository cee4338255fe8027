"""Running the service: health, readiness, metrics, the log, refusals to start, and the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.routing import Route

from artifactstore.api.app import _ROUTERS
from artifactstore.api.serve import _check_store
from artifactstore.catalog.migrations import HEAD
from artifactstore.errors import ConfigurationError
from artifactstore.testing.builders import some_bytes
from tests.api.stored import begin_get, comes_true, log_lines, record
from tests.service import clean_environment, make_tokens, serving, settings_of
from tests.support import run_cli, say_revision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service import Answer, Server


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One service of two processes."""
    with serving(tmp_path_factory.mktemp("pair") / "home", "--workers", "2") as server:
        yield server


# health and readiness


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose store a test may break if it mends it."""
    with serving(tmp_path_factory.mktemp("breakable") / "home") as server:
        yield server


def ask_whether_ready(server: Server) -> Answer:
    """Anew: an answer stands for a quarter of a second."""
    time.sleep(0.3)
    return server.ask("GET", "/ready", token=None)


def test_a_service_is_ready_without_a_token(breakable: Server) -> None:
    answer = ask_whether_ready(breakable)

    assert (200, "ready") == (answer.status, answer.json["status"])
    assert {"database": True, "storage": True, "scrub": True} == oks(answer)
    parts = breakable.home / "objects" / "parts"
    assert [] == [path for path in parts.rglob("*") if path.is_file()]


def oks(answer: Answer) -> dict[str, bool]:
    return {name: check["ok"] for name, check in answer.json["checks"].items()}


def test_a_storage_that_takes_nothing_is_not_ready_until_it_does(breakable: Server) -> None:
    """A file in its place is refused to root too, whom no permission stops."""
    objects, aside = breakable.home / "objects", breakable.home / "aside"
    assert 200 == ask_whether_ready(breakable).status
    objects.rename(aside)
    objects.write_text("not a directory")

    broken = ask_whether_ready(breakable)
    objects.unlink()
    aside.rename(objects)
    mended = ask_whether_ready(breakable)

    assert (503, "not ready") == (broken.status, broken.json["status"])
    assert {"database": True, "storage": False, "scrub": True} == oks(broken)
    assert "STORAGE" in broken.json["checks"]["storage"]["detail"]
    assert 200 == mended.status


def test_a_storage_that_is_gone_is_not_ready(breakable: Server) -> None:
    """It could be made anew, but what is recorded is not in it."""
    record(breakable, {"x": b"recorded"})
    objects, aside = breakable.home / "objects", breakable.home / "aside"
    objects.rename(aside)

    answer = ask_whether_ready(breakable)

    shutil.rmtree(objects, ignore_errors=True)
    aside.rename(objects)
    assert (503, {"database": True, "storage": False, "scrub": True}) == (answer.status, oks(answer))
    assert 200 == ask_whether_ready(breakable).status


@contextmanager
def altered(server: Server, alteration: str, mending: str) -> Iterator[None]:
    """A database that someone has changed by hand, until it is mended."""
    for statement in (alteration, mending):
        with closing(sqlite3.connect(server.home / "artifactstore.db")) as database, database:
            database.execute(statement)
        if statement == alteration:
            yield


def test_a_store_that_was_not_read_back_in_time_is_not_ready(breakable: Server) -> None:
    late = (
        """INSERT INTO duty (name, next_run_at, failures, position, detail)"""
        """ VALUES ('verify', 9000000000000000, 0, 0, '{"since": "2020-01-01T00:00:00Z"}')"""
        """ ON CONFLICT (name) DO UPDATE SET detail = excluded.detail"""
    )
    with altered(breakable, late, "UPDATE duty SET detail = NULL"):
        answer = ask_whether_ready(breakable)
        metrics = breakable.ask("GET", "/metrics").body.decode()

    assert (503, {"database": True, "storage": True, "scrub": False}) == (answer.status, oks(answer))
    assert "overdue" == answer.json["checks"]["scrub"]["detail"]
    assert "artifactstore_scrub_overdue 1" in metrics
    assert 200 == ask_whether_ready(breakable).status


@pytest.mark.parametrize("revision", ["0001", "9999"])
def test_a_database_that_is_not_at_head_is_not_ready(breakable: Server, revision: str) -> None:
    stands_at = "UPDATE alembic_version SET version_num = '{}' WHERE version_num = '{}'"

    with altered(breakable, stands_at.format(revision, HEAD), stands_at.format(HEAD, revision)):
        answer = ask_whether_ready(breakable)

    assert (503, {"database": False, "storage": True, "scrub": True}) == (answer.status, oks(answer))
    assert "DATABASE_VERSION" == answer.json["checks"]["database"]["detail"]
    assert any("not ready" in line and revision in line for line in breakable.log)
    assert 200 == ask_whether_ready(breakable).status


def test_a_database_without_its_tables_is_not_ready(breakable: Server) -> None:
    with altered(breakable, "ALTER TABLE event RENAME TO away", "ALTER TABLE away RENAME TO event"):
        answer = ask_whether_ready(breakable)
        health = breakable.ask("GET", "/health", token=None)

    assert (503, False) == (answer.status, oks(answer)["database"])
    assert (200, "ok") == (health.status, health.json["status"])


# metrics

ROUTES = {route.path for router in _ROUTERS for route in router.routes if isinstance(route, Route)}
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def metrics(server: Server) -> Samples:
    answer = server.ask("GET", "/metrics", token="reader")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def requests_of(samples: Samples, **labels: str) -> float:
    """The sum of the requests with these labels."""
    return sum(
        value
        for (name, found), value in samples.items()
        if name == "artifactstore_requests_total" and labels.items() <= dict(found).items()
    )


def total(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, tuple(sorted(labels.items()))), 0.0)


def test_what_is_counted_moves_by_what_happened(breakable: Server) -> None:
    before, data = metrics(breakable), some_bytes(10_000)

    opened = breakable.ask("POST", "/packages", token="writer", json_body={"producer": "p"}).json["package_id"]
    breakable.ask("PUT", f"/packages/{opened}/files/a", token="writer", body=data)
    receipt = breakable.ask("POST", f"/packages/{opened}/finalize", token="writer").json
    breakable.ask("GET", f"/packages/{opened}/files/a")
    breakable.ask("GET", "/packages/nothing")
    breakable.ask("GET", "/no/such/route")
    assert comes_true(lambda: requests_of(metrics(breakable), route="none") == requests_of(before, route="none") + 1)
    after = metrics(breakable)

    def moved(name: str, **labels: str) -> float:
        return total(after, f"artifactstore_{name}", **labels) - total(before, f"artifactstore_{name}", **labels)

    assert 1 == moved("requests_total", method="POST", route="/packages", status="201")
    assert 1 == moved("requests_total", method="GET", route="/packages/{package_id}", status="404")
    assert 1 == moved("requests_total", method="GET", route="none", status="404")
    assert (1, receipt["stored_bytes"]) == (moved("ingests_total", outcome="new"), moved("stored_bytes_total"))
    assert 1 == moved("request_seconds_count", route="/packages")
    assert 10_000 <= moved("received_bytes_total") <= 10_100
    assert 10_000 <= moved("sent_bytes_total")
    assert 4 == moved("events_total")
    assert 0 == moved("errors_total", code="INTERNAL")


def test_labels_are_routes_and_never_what_a_stranger_sent(breakable: Server) -> None:
    before = requests_of(metrics(breakable), route="none")
    for path in ("/packages/a", "/packages/b/files/c", "/x", "/files/q/download", "/%22"):
        breakable.ask("GET", path, token=None)

    assert comes_true(lambda: requests_of(metrics(breakable), route="none") == before + 2)
    routes = {dict(labels)["route"] for _, labels in metrics(breakable) if "route" in dict(labels)}
    assert {"none", "/packages/{package_id}", "/packages/{package_id}/files/{path:path}"} <= routes
    assert all(route == "none" or route in ROUTES for route in routes), routes


@pytest.mark.parametrize("token", ["writer", "other-reader", None])
def test_metrics_need_the_right_to_read_everything(server: Server, token: str | None) -> None:
    assert (401 if token is None else 403) == server.ask("GET", "/metrics", token=token).status


def children(server: Server) -> set[int]:
    """The service's worker processes, without what else its parent starts."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            command = status.with_name("cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == server.process.pid and b"spawn_main" in command:
            found.add(int(status.parent.name))
    return found


def ask_every_worker(server: Server, path: str, times: int = 40) -> None:
    """Over many connections, so that each process gets some."""
    connections = [HTTPConnection(urlsplit(server.url).netloc, timeout=60) for _ in range(times)]
    for connection in connections:
        connection.request("GET", path)
    for connection in connections:
        connection.getresponse().read()
        connection.close()


def test_two_processes_count_together(pair: Server) -> None:
    before = requests_of(metrics(pair), route="/whoami")

    ask_every_worker(pair, "/whoami", 60)

    assert comes_true(lambda: requests_of(metrics(pair), route="/whoami") == before + 60)
    # each process tells the same sum, whichever is asked
    assert [before + 60] * 6 == [requests_of(metrics(pair), route="/whoami") for _ in range(6)]
    assert 2 == len(children(pair))


def test_a_push_may_come_to_both_processes(pair: Server) -> None:
    opened = pair.ask("POST", "/packages", token="writer", json_body={"producer": "p"}).json["package_id"]

    statuses = [
        pair.ask("PUT", f"/packages/{opened}/files/{number}", token="writer", body=b"%d" % number).status
        for number in range(20)
    ]
    receipt = pair.ask("POST", f"/packages/{opened}/finalize", token="writer")

    assert ({201}, 20) == (set(statuses), receipt.json["file_count"])


def test_a_worker_that_is_killed_is_replaced(pair: Server) -> None:
    before = children(pair)
    victim = min(before)
    counted = requests_of(metrics(pair), route="/health")

    os.kill(victim, signal.SIGKILL)

    assert comes_true(lambda: len(children(pair) - {victim}) == 2)
    assert comes_true(lambda: _answers(pair))
    ask_every_worker(pair, "/health")
    assert comes_true(lambda: counted + 40 <= requests_of(metrics(pair), route="/health"))


def _answers(server: Server) -> bool:
    try:
        return all(server.ask("GET", "/health", token=None).status == 200 for _ in range(10))
    except OSError:
        return False


# the log


def test_a_request_has_one_json_line_with_the_id_of_its_answer(server: Server) -> None:
    answer = server.ask("GET", "/packages?limit=3", token="reader")

    [line] = log_lines(server, answer.headers["X-Request-Id"])

    assert ("GET", "/packages", 200, "reader") == tuple(line[name] for name in ("method", "path", "status", "caller"))
    assert (len(answer.body), "info") == (line["sent_bytes"], line["level"])
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("header", [{"X-Long": "x" * 20_000}, {"Transfer-Encoding": "gzip"}])
def test_a_request_that_is_not_read_has_its_line_too(server: Server, header: dict[str, str]) -> None:
    answer = server.ask("GET", "/whoami", headers=header)

    [line] = log_lines(server, answer.headers["X-Request-Id"])

    assert (answer.status, answer.json["code"]) == (line["status"], line["code"])


@pytest.mark.parametrize("own", ["a", "build-1234.step_5", "x" * 64])
def test_an_id_of_ones_own_is_kept(server: Server, own: str) -> None:
    answer = server.ask("GET", "/nothing", headers={"X-Request-Id": own})

    assert own == answer.headers["X-Request-Id"] == answer.json["request_id"]
    assert 404 == log_lines(server, own)[-1]["status"]


@pytest.mark.parametrize("bad", ["", "x" * 65, "a b", 'a"b', "a/b", "é", "{}", "a\tb"])
def test_an_id_that_is_none_is_replaced(server: Server, bad: str) -> None:
    answer = server.ask("GET", "/health", headers={"X-Request-Id": bad.encode("latin-1").decode("latin-1")})

    given = answer.headers["X-Request-Id"]
    assert given != bad
    assert 36 == len(given)


def test_what_a_stranger_sends_stands_in_the_log_as_text(server: Server) -> None:
    answer = server.ask("GET", "/packages/%E2%80%A8%7B%22event%22:%22forged%22%7D%C2%85")

    [line] = log_lines(server, answer.headers["X-Request-Id"])

    assert '/packages/\u2028{"event":"forged"}\x85' == line["path"]


SHOWN = [
    "Bearer {}", "bearer  {}", "Basic {}", "{}", "Bearer {} {}", "Bearer: {}", "Bearer\t{}", 'Bearer "{}"', "Token {}",
    "Bearer {}x", "Bearer x{}", "Digest username={}", "Bearer {},Bearer {}",
]  # fmt: skip


def test_no_token_is_ever_told(tmp_path: Path) -> None:
    """Every token is used well and badly, in headers, in paths it does not belong in, and in bodies of wrong type."""
    told: list[str] = []
    with serving(tmp_path / "home", environment={"ARTIFACTSTORE_LOG_LEVEL": "debug"}) as server:
        package_id = record(server, {"x": b"x"})
        for name, text in server.tokens.items():
            answers = [
                server.ask(method, path, token=None, headers={"Authorization": form.replace("{}", text)})
                for form in SHOWN
                for method, path in (("GET", "/whoami"), ("POST", "/packages"), ("GET", f"/packages/{package_id}"))
            ]
            answers += [server.ask("GET", path, token=name) for path in ("/whoami", "/events?payload=true", "/metrics")]
            answers.append(
                _raw(server, f"GET /whoami HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {text}\x01\r\n\r\n")
            )
            answers.append(
                _raw(server, f"GET /whoami HTTP/1.1\r\nHost: localhost\r\nAuthorization Bearer {text}\r\n\r\n")
            )
            answers.append(_raw(server, "GET / HTTP/1.1\r\n" + f"Authorization: Bearer {text}\r\n" * 2 + "\r\n"))
            told += [f"{answer.headers} {answer.body!r}" for answer in answers]
        code = server.stop()

    log = "".join(server.log)
    assert 0 == code
    assert 100 < log.count("\n")
    for name, text in server.tokens.items():
        secret = text.split("_", 2)[2]
        assert secret not in log, name
        assert not [answer for answer in told if secret in answer], name
    assert all(json.loads(line) for line in server.log)


class _Raw:
    """What came back on a connection of its own."""

    def __init__(self, data: bytes) -> None:
        self.headers, _, self.body = data.partition(b"\r\n\r\n")


def _raw(server: Server, request: str) -> Any:
    where = urlsplit(server.url)
    with socket.create_connection((where.hostname, where.port), timeout=60) as connection:
        connection.sendall(request.encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)
        data = b""
        while piece := connection.recv(65_536):
            data += piece
        return _Raw(data)


# refusing to start


def test_it_never_migrates(tmp_path: Path) -> None:
    missing = run_cli(tmp_path / "missing", "serve", "--port", "0")
    make_tokens(tmp_path / "old")
    say_revision(tmp_path / "old" / "artifactstore.db", "0001")
    old = run_cli(tmp_path / "old", "serve", "--port", "0")

    assert (1, "", 1, "") == (missing.code, missing.stdout, old.code, old.stdout)
    for result in (missing, old):
        assert "DATABASE_VERSION" in result.stderr
        assert "artifactstore db upgrade" in result.stderr
    assert not (tmp_path / "missing" / "artifactstore.db").exists()


def test_nobody_from_elsewhere_is_served_before_there_is_a_token(tmp_path: Path) -> None:
    run_cli(tmp_path / "home", "db", "upgrade")

    # of the network for documentation: no host has it, so nothing would listen there even if it were let
    refused = run_cli(tmp_path / "home", "serve", "--host", "192.0.2.1", "--port", "0")

    assert (1, "") == (refused.code, refused.stdout)
    assert "CONFIGURATION_INVALID" in refused.stderr
    assert "artifactstore token create" in refused.stderr


def test_a_token_is_what_a_public_address_asks_for(tmp_path: Path) -> None:
    """Asked of the rule itself: no test listens beyond loopback."""
    run_cli(tmp_path / "home", "db", "upgrade")
    settings = settings_of(tmp_path / "home")
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(ConfigurationError, match="no token"):
            _check_store(settings, host)
    for host in ("127.0.0.1", "127.0.0.9", "::1", "localhost"):
        _check_store(settings, host)

    make_tokens(tmp_path / "home")

    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        _check_store(settings, host)


def test_a_port_that_is_taken_is_refused(server: Server) -> None:
    port = str(urlsplit(server.url).port)

    refused = run_cli(server.home, "serve", "--port", port)

    assert (1, "") == (refused.code, refused.stdout)
    assert f"127.0.0.1:{port} cannot be had" in refused.stderr
    assert 200 == server.ask("GET", "/health").status


@pytest.mark.parametrize("variable", ["ALLOWED_HOSTS", "ALLOWED_HOST"])
def test_a_setting_that_makes_no_sense_is_refused(tmp_path: Path, variable: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "artifactstore", "serve", "--port", "0"],
        capture_output=True, text=True, check=False,
        env={**clean_environment(), "ARTIFACTSTORE_HOME": str(tmp_path), f"ARTIFACTSTORE_{variable}": "http://x"},
    )  # fmt: skip

    assert (1, "") == (result.returncode, result.stdout)
    assert "CONFIGURATION_INVALID" in result.stderr
    assert f"ARTIFACTSTORE_{variable}" in result.stderr


def test_settings_decide_which_hosts_are_answered_and_what_is_logged(tmp_path: Path) -> None:
    settings = {"ARTIFACTSTORE_ALLOWED_HOSTS": "Store.Example.org", "ARTIFACTSTORE_LOG_LEVEL": "warning"}
    with serving(tmp_path / "home", environment=settings) as server:
        listed = server.ask("GET", "/health", headers={"Host": "store.example.org:8443"})
        other = server.ask("GET", "/health")
        server.stop()

    assert (200, 421) == (listed.status, other.status)
    assert "HOST_REFUSED" == other.json["code"]
    assert [] == server.log


# the end


@contextmanager
def half_sent(server: Server, package_id: str) -> Iterator[Callable[[], int]]:
    """A file of which half has been sent; calling the answer sends the rest and gives the status."""
    connection = HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    connection.putrequest("PUT", f"/packages/{package_id}/files/half")
    connection.putheader("Authorization", f"Bearer {server.tokens['writer']}")
    connection.putheader("Content-Length", "8")
    connection.endheaders()
    connection.send(b"half")

    def finish() -> int:
        connection.send(b"half")
        return connection.getresponse().status

    yield finish
    connection.close()


@pytest.mark.parametrize(("how", "workers"), [(signal.SIGINT, "1"), (signal.SIGTERM, "2")])
def test_asked_to_end_it_ends_with_0(tmp_path: Path, how: signal.Signals, workers: str) -> None:
    with serving(tmp_path / "home", "--workers", workers) as server:
        server.ask("GET", "/health")
        workers_then = children(server)

        code = server.stop(how)

    assert 0 == code
    assert not [each for each in workers_then if Path(f"/proc/{each}").exists()]


def test_what_is_under_way_finishes_before_the_end(tmp_path: Path) -> None:
    """An idle connection is not waited for; when tokens were used is written at the end."""
    with serving(tmp_path / "home") as server:
        opened = server.ask("POST", "/packages", token="writer", json_body={"producer": "p"}).json["package_id"]
        package_id = record(server, {"large.bin": some_bytes(30 * 1024 * 1024, seed=9)})
        idle, answered = begin_get(server, "/whoami", token="other-reader")
        answered.read()
        reading, answer = begin_get(server, f"/packages/{package_id}/files/large.bin")
        received = answer.read(1_000)
        with half_sent(server, opened) as finish:
            server.process.send_signal(signal.SIGTERM)
            assert comes_true(lambda: not _listens(server))

            status, rest = finish(), answer.read()
        code = server.stop()
        reading.close()
        idle.close()
        listed = run_cli(server.home, "token", "list").document["tokens"]

    assert (201, 30 * 1024 * 1024, 0) == (status, len(received + rest), code)
    used = {token["name"] for token in listed if token["last_used_at"] is not None}
    assert {"admin", "writer", "other-reader"} == used


def _listens(server: Server) -> bool:
    where = urlsplit(server.url)
    try:
        socket.create_connection((where.hostname, where.port), timeout=5).close()
    except OSError:
        return False
    return True


def test_many_requests_at_once_are_all_answered(server: Server) -> None:
    statuses: list[int] = []

    def ask() -> None:
        statuses.extend(server.ask("GET", "/whoami", token="reader").status for _ in range(10))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [200] * 200 == statuses
