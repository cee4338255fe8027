"""``artifactstore storage probe`` as a user calls it: the document, the words, the exit codes, Ctrl-C."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from artifactstore.storage.probing.probe import Capability
from tests.bad_s3 import BadS3, Misbehaviour, bad_s3
from tests.s3_servers import BUCKET, aws_environment  # noqa: F401 - a fixture
from tests.service import serving
from tests.support import CliResult, start_cli, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.fixture
def server() -> Iterator[BadS3]:
    with bad_s3() as running:
        yield running


def run(home: Path, *arguments: str, server: BadS3 | None = None) -> CliResult:
    return CliResult(start_cli(home, *arguments, settings=server.settings() if server else None))


def test_the_default_backend_is_a_directory_and_usable_with_limits(home: Path) -> None:
    answer = run(home, "storage", "probe")

    document = json.loads(answer.stdout)
    assert (0, "usable with limits", []) == (answer.code, document["verdict"], document["reasons"])
    assert ((home / "objects").as_uri(), 0) == (document["target"], document["left_behind"])
    assert list(Capability) == list(document["capabilities"])
    assert "why" in document["capabilities"]["object_lock"]
    assert {"value", "measured", "winners", "writers"} == set(document["capabilities"]["conditional_create"])


def test_a_bucket_is_probed_by_its_url_with_the_settings_of_its_scheme(home: Path, server: BadS3) -> None:
    settings = {name: value for name, value in server.settings().items() if not name.endswith("STORAGE_URL")}

    answer = CliResult(start_cli(home, "storage", "probe", f"s3://{BUCKET}/other", settings=settings))

    assert f"s3://{BUCKET}/other/ at {server.url}" == answer.document["target"]
    assert ({}, {}) == (server.objects, server.uploads)


def test_a_refused_backend_is_exit_code_2_with_its_reasons_and_takes_nothing(home: Path, tmp_path: Path) -> None:
    run_folder = write_tree(tmp_path / "run", {"a": b"1"})
    with bad_s3(Misbehaviour.TORN) as server:
        answer = run(home, "storage", "probe", server=server)
        pushed = run(home, "push", str(run_folder), "--producer", "tester", server=server)
        server.how = None
        again = run(home, "storage", "probe", server=server)
        pushed_then = run(home, "push", str(run_folder), "--producer", "tester", server=server)

    reasons = json.loads(answer.stdout)["reasons"]
    assert (2, ["an upload that breaks off in the middle leaves part of an object under its key"]) == (
        answer.code,
        reasons,
    )
    assert (2, True) == (pushed.code, pushed.stderr.startswith("error: BACKEND_REFUSED: "))
    assert (0, 0) == (again.code, pushed_then.code)


def test_a_server_does_not_start_on_a_refused_backend(home: Path) -> None:
    with (
        bad_s3(Misbehaviour.TORN) as server,
        pytest.raises(AssertionError, match="BACKEND_REFUSED"),
        serving(home, environment=server.settings()),
    ):
        pass


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nosuch"], "BACKEND_UNKNOWN"),
        (["s3://no/../prefix"], "CONFIGURATION_INVALID"),
        (["s3://another-bucket"], "CONFIGURATION_INVALID"),
        (["ftp://host/"], "CONFIGURATION_INVALID"),
    ],
)
def test_what_cannot_be_probed_is_the_callers_to_mend(
    home: Path, server: BadS3, arguments: list[str], code: str
) -> None:
    answer = run(home, "storage", "probe", *arguments, server=server)

    assert (1, "", True) == (answer.code, answer.stdout, answer.stderr.startswith(f"error: {code}: "))


def test_a_backend_that_is_not_reached_may_be_tried_again(home: Path, server: BadS3) -> None:
    settings = {**server.settings(), "ARTIFACTSTORE_S3_ENDPOINT_URL": "http://127.0.0.1:1"}

    answer = CliResult(start_cli(home, "storage", "probe", settings=settings))

    assert (2, "", True) == (answer.code, answer.stdout, answer.stderr.startswith("error: STORAGE_UNAVAILABLE: "))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_probe_that_is_ended_leaves_nothing(home: Path, server: BadS3, number: int, code: int) -> None:
    def end() -> None:
        assert server.objects
        process.send_signal(number)

    server.do_at(60, end)
    process = start_cli(home, "storage", "probe", settings=server.settings())

    answer = CliResult(process)

    assert (code, "", {}, {}) == (answer.code, answer.stdout, server.objects, server.uploads)


def test_it_works_on_the_host_of_the_store_only(home: Path) -> None:
    answer = CliResult(start_cli(home, "storage", "probe", "--server", "http://127.0.0.1:1"))

    assert (1, True) == (answer.code, answer.stderr.startswith("error: USAGE: "))
