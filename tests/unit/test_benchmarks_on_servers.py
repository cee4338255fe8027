"""The benchmark with S3 and PostgreSQL runs, counts what it says it counts, and adds to its documents. No times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from benchmarks.__main__ import main
from benchmarks.machine import describe
from benchmarks.on_servers.postgres import _check_durable, clusters
from benchmarks.on_servers.processor import tree_cpu_s
from benchmarks.on_servers.relay import _Requests, relaying
from benchmarks.parts import PARTS, OtherRunError, joined, named, workloads_to_keep
from benchmarks.processes import FailedError
from benchmarks.report import as_markdown
from benchmarks.runner import FORMAT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.machine import Machine
    from benchmarks.runner import WorkloadResult

WANTED = "ours ingest to S3,ours ingest on PostgreSQL,2 servers"
MEASURED = {
    "S-W3": ["ours ingest to S3", "ours ingest to S3, counted"],
    "P-W1": ["ours ingest on PostgreSQL"],
    "P-flat": ["ours ingest on PostgreSQL"],
    "M-2": ["service push with 2 servers"],
}
BURN = "import time; began = time.process_time()\nwhile time.process_time() < began + 0.2: pass\nprint(); input()"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    work = tmp_path_factory.mktemp("on_servers")
    choice = ["--only", ",".join(MEASURED), "--cases", WANTED, "--quick", "--work", str(work)]
    assert main([*choice, "--output", str(work / "results.json")]) == 0
    found: dict[str, Any] = json.loads((work / "results.json").read_text())
    return found


def test_every_case_on_servers_was_measured(results: dict[str, Any]) -> None:
    workloads = results["workloads"]

    assert [{}] * len(MEASURED) == [workload["missing"] for workload in workloads.values()]
    assert {name: list(workload["cases"]) for name, workload in workloads.items()} == MEASURED


def test_the_requests_of_an_ingest_are_its_pack_and_its_manifest(results: dict[str, Any]) -> None:
    measures = results["workloads"]["S-W3"]["cases"]["ours ingest to S3, counted"]["measures"]

    counted = {name: measures[f"{name}_requests"]["max"] for name in ("put", "post", "writing")}

    assert counted == {"put": 2, "post": 0, "writing": 2}


def test_a_growing_catalog_is_timed_at_both_ends(results: dict[str, Any]) -> None:
    measures = results["workloads"]["P-flat"]["cases"]["ours ingest on PostgreSQL"]["measures"]

    assert measures["packages"]["max"] == 400
    assert measures["first_s"]["min"] > 0
    assert measures["wall_s"]["min"] > 0


def test_a_load_on_two_servers_says_who_used_the_processor(results: dict[str, Any]) -> None:
    measures = results["workloads"]["M-2"]["cases"]["service push with 2 servers"]["measures"]

    cores = [measures[f"{name}_cores"]["min"] for name in ("servers", "postgres", "s3", "generator")]

    assert all(used > 0 for used in cores)
    assert sum(cores) == pytest.approx(measures["used_cores"]["min"])
    assert [0, 0] == [measures[name]["max"] for name in ("errors", "unaccounted")]


def test_the_report_has_the_tables_of_requests_and_cores(results: dict[str, Any]) -> None:
    markdown = as_markdown(results)  # type: ignore[arg-type]

    assert "| Case | servers | PostgreSQL | S3 | load generator |" in markdown
    assert "| Case | PUT | POST | HEAD | GET |" in markdown
    assert "fsync, synchronous_commit and full_page_writes are on" in markdown


# documents


def test_a_part_measured_in_pieces_is_one_document(tmp_path: Path) -> None:
    run = ["--quick", "--cases", "floor hash", "--work", str(tmp_path / "work"), "--into", str(tmp_path)]

    assert [0, 0] == [main([*run, "--only", only]) for only in ("W2", "W1,P-W1")]

    embedded = json.loads((tmp_path / "results.json").read_text())
    assert ["W1", "W2"] == list(embedded["workloads"])
    assert {"W1"} == {verdict["workload"] for verdict in embedded["targets"]}  # W2 has none
    assert "## W2" in (tmp_path / "RESULTS.md").read_text()
    assert ["P-W1"] == list(json.loads((tmp_path / "results-servers.json").read_text())["workloads"])
    assert not (tmp_path / "results-http.json").exists()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return describe(tmp_path_factory.mktemp("machine"))


@pytest.mark.parametrize("differs", ["format", "options", "machine"])
def test_figures_of_another_run_are_not_joined(differs: str, machine: Machine, tmp_path: Path) -> None:
    part, options = PARTS[0], {"repeats": 5}
    document = {"format": FORMAT, "options": options, "machine": machine, "workloads": {}, differs: {"else": 1}}
    part.results(tmp_path).write_text(json.dumps(document))

    with pytest.raises(OtherRunError, match=r"results\.json was measured .*: measure W2, W3, W4, W5, W6 too"):
        workloads_to_keep(part, ["W1"], options, machine, tmp_path)


def test_a_whole_part_replaces_whatever_was_there(machine: Machine, tmp_path: Path) -> None:
    part = PARTS[0]
    part.results(tmp_path).write_text('{"format": 1}')

    kept = workloads_to_keep(part, part.workloads, {}, machine, tmp_path)

    assert not kept


def test_a_workload_measured_again_takes_its_own_place() -> None:
    old, new = _workload("old"), _workload("new")

    found = joined(PARTS[0], {"W6": old, "W1": old}, {"workloads": {"W3": new}})  # type: ignore[typeddict-item]

    assert [("W1", old), ("W3", new), ("W6", old)] == list(found["workloads"].items())


def _workload(what: str) -> WorkloadResult:
    return {"what": what, "files": 0, "bytes": 0, "changed_bytes": 0, "cases": {}, "missing": {}}


def test_a_part_stands_for_its_workloads() -> None:
    assert ["S-W3", "W1", *(name for name in PARTS[2].workloads if name != "S-W3")] == named(["S-W3", "W1", "servers"])


def test_an_unknown_workload_is_named() -> None:
    with pytest.raises(ValueError, match=r"^W9$"):
        named(["W1", "W9"])


# the relay


def test_requests_are_found_wherever_the_bytes_are_cut() -> None:
    stream = (
        b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 26\r\n\r\nGET /no HTTP/1.1\r\nA: b\r\n\r\n"
        b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\r\ncontent-length:3\r\n\r\nabc"
    )

    for step in (1, 7, 30, len(stream)):
        seen = _Requests()
        found = [name for at in range(0, len(stream), step) for name in seen.methods_in(stream[at : at + step])]
        assert ["PUT", "HEAD", "POST"] == found


def test_a_relay_passes_on_and_counts(echo: str) -> None:
    with relaying(echo) as relay:
        connection = HTTPConnection(relay.url.removeprefix("http://"), timeout=60)
        answers = []
        for body in (b"first", b"second" * 100_000):
            connection.request("PUT", "/", body=body)
            answers.append(connection.getresponse().read())
        connection.close()

    assert [b"first", b"second" * 100_000] == answers
    assert ({"PUT": 2}, 2) == (dict(relay.counts), relay.writes)


@pytest.fixture
def echo() -> Iterator[str]:
    class Echo(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


# processes


def test_the_time_of_a_process_is_its_own_and_its_childrens() -> None:
    shell = ["/bin/sh", "-c", f'"{sys.executable}" -c "$0"; read -r rest', BURN]
    with subprocess.Popen(shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdout.readline()
        while_it_lives = tree_cpu_s(parent.pid)
        parent.stdin.write("\n")
        parent.stdin.flush()
        while not _has_no_children(parent.pid):
            time.sleep(0.01)
        afterwards = tree_cpu_s(parent.pid)
        parent.stdin.close()

    assert while_it_lives >= 0.15
    assert afterwards >= while_it_lives


def _has_no_children(process_id: int) -> bool:
    with open(f"/proc/{process_id}/task/{process_id}/children") as children:  # noqa: PTH123 - no such file elsewhere
        return not children.read()


def test_every_cluster_is_new_and_durable(tmp_path: Path) -> None:
    made_ready: list[str] = []
    with clusters(tmp_path, made_ready.append) as both:
        with both.running() as first, psycopg.connect(first.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE seen ()")
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
            while connection.execute("SHOW fsync").fetchone() != ("off",):
                time.sleep(0.01)
            with pytest.raises(FailedError, match="without fsync"):
                _check_durable(first.url)
        with both.running() as second, psycopg.connect(second.url) as connection:
            assert connection.execute("SELECT to_regclass('seen')").fetchone() == (None,)
            assert connection.execute("SHOW fsync").fetchone() == ("on",)

    assert len(made_ready) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(second.process_id, 0)
