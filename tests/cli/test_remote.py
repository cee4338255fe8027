"""The command line against a server: the same output, the same exit codes, the same errors as embedded."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from artifactstore.cli.main import run
from artifactstore.pilots.guide_board.schema import run_schemas
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.guide_board_runs import OPENCMIS_RUN, write_run
from tests.client.certificates import make_certificate
from tests.client.cutting_proxy import cutting
from tests.client.running_server import TOKENS, RunningServer, running
from tests.client.scripted_server import Answer, serving
from tests.support import flip_byte, objects_of_kind, tree_contents, write_tree

FIXTURE = Path(__file__).parents[1] / "fixtures" / "guide-board"


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def document(self):
        return json.loads(self.stdout)


def start(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ARTIFACTSTORE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "artifactstore", *arguments],
        env={**clean, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def said(process: subprocess.Popen[bytes]) -> Said:
    stdout, stderr = process.communicate(timeout=120)
    return Said(process.returncode, stdout, stderr.decode())


def command(*arguments: str, **environment: str) -> Said:
    return said(start(*arguments, **environment))


@dataclass(frozen=True)
class Twins:
    """One store, and the same one behind a server."""

    server: RunningServer
    first_id: str = ""
    """The id of the first package in it."""

    def embedded(self, *arguments: str) -> Said:
        return command(*arguments, ARTIFACTSTORE_HOME=str(self.server.home))

    def remote(self, *arguments: str, token: str = "root") -> Said:
        return command(*arguments, **self.server.environment(token))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    """A store with something of everything in it."""
    folder = tmp_path_factory.mktemp("remote")
    with running(folder / "home") as server:
        store = Twins(server)
        small = write_tree(folder / "small", {"a.txt": b"1", "\u00e9/b.log": b"2" * 5_000, "empty": b""})
        (folder / "metadata.json").write_text('{"branch": "main", "number": 1.5, "text": "\u00e9"}')
        (folder / "schema.json").write_text('{"type": "object"}')
        store.embedded("schema", "register", "build.v1", str(folder / "schema.json"))
        for number in range(3):
            write_tree(small, {"number": b"%d" % number})
            pushed = store.embedded(
                "push", str(small), "--producer", "ci", "--external-id", f"{number}", "--subject", "main",
                "--schema", "build.v1", "--metadata", str(folder / "metadata.json"),
            )  # fmt: skip
            assert pushed.code == 0, pushed.stderr
        store.embedded("guide-board", "ingest", str(FIXTURE))
        first_id = store.embedded("list", "--limit", "1").document["packages"][0]["package_id"]
        store.embedded("retention", "hold", first_id, "--reason", "audit \u00e9")
        yield Twins(server, first_id)


ID = "<the first package>"


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("list", "--producer", "ci", "--limit", "2"),
        ("list", "--external-id", "1"),
        ("list", "--subject", "main", "--status", "finalized"),
        ("list", "--status", "expired"),
        ("list", "--status", "nonsense"),
        ("list", "--schema", "guide-board.run.v1"),
        ("list", "--retention", "raw-evidence"),
        ("list", "--retention", "for-ever"),
        ("list", "--metadata", "result_status=completed", "--producer", "guide-board"),
        ("list", "--metadata", "branch=no such branch"),
        ("list", "--metadata", "branch"),
        ("list", "--digest", "blake3:" + 64 * "0"),
        ("list", "--digest", "sha256:" + 64 * "0"),
        ("list", "--after", ID),
        ("list", "--after", "nope"),
        ("list", "--limit", "0"),
        ("list", "--limit", "10000"),
        ("show", ID),
        ("show", ID, "--no-files"),
        ("show", "nope"),
        ("show", "../metrics"),
        ("manifest", ID),
        ("manifest", ID, "--json"),
        ("manifest", "nope"),
        ("get", ID, "\u00e9/b.log", "-o", "-"),
        ("get", ID, "empty", "-o", "-"),
        ("get", ID, "nope", "-o", "-"),
        ("get", "nope", "-o", "somewhere"),
        ("get", ID),
        ("get", ID, "-o", "/nonexistent/place"),
        ("get", ID, "-o", "/tmp"),
        ("verify", ID),
        ("verify", "--all"),
        ("verify", "nope"),
        ("verify",),
        ("storage", "list"),
        ("storage", "list", "--limit", "1"),
        ("storage", "list", "--after", "1"),
        ("storage", "verify"),
        ("events",),
        ("events", "--limit", "3", "--after", "1"),
        ("events", "--payload", "--limit", "10000"),
        ("events", "--subject", ID),
        ("replay", "--check"),
        ("replay",),
        ("schema", "list"),
        ("schema", "show", "build.v1"),
        ("schema", "show", "nope"),
        ("schema", "show", ".."),
        ("retention", "show", ID),
        ("retention", "show", "nope"),
        ("retention", "extend", ID, "--until", "2001-01-01T00:00:00Z", "--reason", "r"),
        ("retention", "extend", ID, "--until", "tomorrow", "--reason", "r"),
        ("retention", "extend", ID, "--until", "2199-01-01T00:00:00Z", "--reason", ""),
        ("retention", "extend", "nope", "--until", "2199-01-01T00:00:00Z", "--reason", "r"),
        ("retention", "hold", "nope", "--reason", "r"),
        ("retention", "release", ID, "nope", "--reason", "r"),
        ("retention", "release", ID, "no/pe", "--reason", "r"),
        ("retention", "sweep", "--dry-run"),
        ("retention", "sweep"),
        ("push", "/nonexistent", "--producer", "ci"),
        ("push", ".", "--producer", "Not A Slug"),
        ("push", ".", "--producer", "ci", "--retention", "forever"),
        ("push", str(FIXTURE), "--producer", "ci", "--external-id", "1"),
        ("push", str(FIXTURE), "--producer", "ci", "--schema", "nope", "--metadata", str(FIXTURE / "run.json")),
        ("push", str(FIXTURE), "--producer", "ci", "--schema", "build.v1"),
        ("guide-board", "check", str(FIXTURE)),
        ("guide-board", "ingest", str(FIXTURE)),
        ("guide-board", "ingest", "/nonexistent"),
        ("nonsense",),
        ("--version",),
    ],
    ids=" ".join,
)
def test_a_command_answers_the_same_from_afar(
    store: Twins,
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    def answer(**environment: str) -> Said:
        for name in [name for name in os.environ if name.startswith("ARTIFACTSTORE_")]:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code = run([store.first_id if argument == ID else argument for argument in arguments])
        stdout, stderr = capfdbinary.readouterr()
        return Said(code, stdout, stderr.decode())

    here = answer(ARTIFACTSTORE_HOME=str(store.server.home))
    there = answer(**store.server.environment())

    assert here == there


# what changes a store, on two that began alike


ID_PATTERN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME_PATTERN = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
ACTOR_PATTERN = re.compile(r'"(local:[\w-]+|token:\w+|plugin:[\w@.-]+)"')


def alike(answer: Said) -> tuple[int, str, str]:
    """An answer without what no two stores have in common."""
    texts = (answer.stdout.decode(errors="replace"), answer.stderr)
    for pattern, word in ((ID_PATTERN, "ID"), (TIME_PATTERN, "TIME"), (ACTOR_PATTERN, '"ACTOR"')):
        texts = tuple(pattern.sub(word, text) for text in texts)  # type: ignore[assignment]
    return (answer.code, *texts)


def test_a_story_of_writes_is_told_the_same(tmp_path: Path) -> None:
    run_folder = write_run(tmp_path / "run", OPENCMIS_RUN, run_id="opencmis-1")
    folder = write_tree(tmp_path / "build", {"a": b"1", "A": b"1", "big": os.urandom(3 * 2**20), "l/o.log": b"x" * 999})
    (tmp_path / "schema.json").write_text('{"required": ["run_id"], "type": "object"}')
    (tmp_path / "other.json").write_text('{"type": "string"}')
    (tmp_path / "bad.json").write_text('{"type": "strin"}')
    (tmp_path / "metadata.json").write_text('{"commit": "abc"}')
    push = ("push", str(folder), "--producer", "ci", "--external-id", "1")
    with running(tmp_path / "there") as server:
        here = Story(ARTIFACTSTORE_HOME=str(tmp_path / "here"))
        there = Story(**server.environment())
        pilot_schema = tmp_path / "pilot.json"
        command("guide-board", "ingest", str(run_folder), ARTIFACTSTORE_HOME=str(tmp_path / "aside"))
        shown = command("schema", "show", "guide-board.run.v1", ARTIFACTSTORE_HOME=str(tmp_path / "aside"))
        pilot_schema.write_text(json.dumps(shown.document["json_schema"]))
        for story in (here, there):
            story.tell("schema", "register", "guide-board.run.v1", str(pilot_schema))
            story.tell("guide-board", "ingest", str(run_folder))
            story.tell("guide-board", "ingest", str(run_folder))
            story.tell("schema", "register", "s.v1", str(tmp_path / "schema.json"))
            story.tell("schema", "register", "s.v1", str(tmp_path / "schema.json"))
            story.tell("schema", "register", "s.v1", str(tmp_path / "other.json"))
            story.tell("schema", "register", "s.v2", str(tmp_path / "bad.json"))
            story.tell("schema", "register", "Not A Slug", str(tmp_path / "schema.json"))
            story.tell(*push, "--schema", "s.v1", "--metadata", str(tmp_path / "metadata.json"))
            story.tell(*push)
            story.tell(*push)
        (folder / "a").write_bytes(b"2")
        for story in (here, there):
            story.tell(*push)
            story.tell(*push, "--revision")
            story.tell(*push, "--metadata", str(tmp_path / "metadata.json"))
            package_id = story.answers[9].document["package_id"]
            story.tell("retention", "hold", package_id, "--reason", "audit")
            hold_id = story.answers[-1].document["hold_id"]
            story.tell("retention", "extend", package_id, "--until", "2199-01-01T00:00:00Z", "--reason", "long")
            story.tell("retention", "release", package_id, hold_id, "--reason", "over")
            story.tell("retention", "release", package_id, hold_id, "--reason", "over")
            story.tell("retention", "sweep")
            story.tell("get", package_id, "big", "-o", "-")
            story.tell("verify", "--all")
            story.tell("list")

    assert len(here.answers) == len(there.answers)
    for one, other in zip(here.answers, there.answers, strict=True):
        assert alike(one) == alike(other)
    codes = [answer.code for answer in there.answers]
    assert codes == [0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]


class Story:
    """Commands on one store, and what they answered."""

    def __init__(self, **environment: str) -> None:
        self._environment = environment
        self.answers: list[Said] = []

    def tell(self, *arguments: str) -> None:
        self.answers.append(self.ask(*arguments))

    def ask(self, *arguments: str) -> Said:
        """The same, without being remembered."""
        return command(*arguments, **self._environment)


def test_where_a_run_was_observed_is_told_the_same(tmp_path: Path) -> None:
    with running(tmp_path / "there") as server:
        here, there = Story(ARTIFACTSTORE_HOME=str(tmp_path / "here")), Story(**server.environment())
        behind = {"ARTIFACTSTORE_HOME": str(tmp_path / "there")}
        here.tell("guide-board", "ingest", str(FIXTURE))
        (tmp_path / "schema.json").write_text(json.dumps(run_schemas()["guide-board.run.v1"]))
        there.ask("schema", "register", "guide-board.run.v1", str(tmp_path / "schema.json"))
        there.tell("guide-board", "ingest", str(FIXTURE))
        for story in (here, there):
            story.tell("guide-board", "ingest", str(FIXTURE))
        shown = [story.ask("show", story.answers[0].document["package_id"]) for story in (here, there)]
        shown.append(command("show", there.answers[0].document["package_id"], **behind))

    assert [alike(answer) for answer in here.answers] == [alike(answer) for answer in there.answers]
    assert [False, True] == [answer.document["reused_existing"] for answer in there.answers]
    assert shown[1] == shown[2], "one document, whoever is asked"
    (embedded,), (remote,) = (answer.document["observations"] for answer in shown[:2])
    for name in ("source", "parties"):
        assert embedded[name] == remote[name]
    assert embedded["plugin"]["name"] == remote["plugin"]["name"] == "guide-board"
    assert [False, True] == [embedded["plugin"].pop("declared"), remote["plugin"].pop("declared")]
    assert embedded["plugin"] == remote["plugin"]
    assert [f"plugin:guide-board@{embedded['plugin']['version']}", "token:root"] == [
        embedded["recorded_by"], remote["recorded_by"],
    ]  # fmt: skip
    assert embedded["envelope"]["id"] != remote["envelope"]["id"], "another witness"
    assert embedded["envelope"]["received_at"] == remote["envelope"]["received_at"]


def test_an_observation_that_breaks_a_rule_is_told_the_same(tmp_path: Path) -> None:
    run_folder = write_run(tmp_path / "run", OPENCMIS_RUN, run_id="x" * 3_000)
    with running(tmp_path / "there") as server:
        answers = [
            command("guide-board", "ingest", str(run_folder), **environment)
            for environment in ({"ARTIFACTSTORE_HOME": str(tmp_path / "here")}, server.environment())
        ]

    assert answers[0] == answers[1]
    assert 1 == answers[0].code


def test_a_server_that_takes_no_observations_is_2_and_said_to_be_old(tmp_path: Path) -> None:
    limits = {"max_files": 9_999, "max_file_bytes": 2**40, "pack_threshold_bytes": 2**20}
    with serving(lambda _: Answer.json({"ok": True, "problems": [], "limits": limits})) as server:
        answer = command("guide-board", "ingest", str(FIXTURE), "--server", server.url)

    assert (answer.code, answer.stdout) == (2, b"")
    assert "older than this client" in answer.stderr
    assert ["POST /packages:preflight"] == server.targets


def test_files_come_back_the_same(store: Twins, tmp_path: Path) -> None:
    package_id = store.first_id

    here = store.embedded("get", package_id, "-o", str(tmp_path / "here"))
    there = store.remote("get", package_id, "-o", str(tmp_path / "there"))
    one = store.remote("get", package_id, "a.txt", "-o", str(tmp_path / "one"))

    assert tree_contents(tmp_path / "here") == tree_contents(tmp_path / "there")
    assert here.stdout.replace(b"here", b"there") == there.stdout
    assert (one.code, (tmp_path / "one").read_bytes()) == (0, b"1")


def test_damage_is_told_the_same_with_exit_code_2(tmp_path: Path) -> None:
    with running(tmp_path / "home") as server:
        store = Twins(server)
        package_id = store.embedded("guide-board", "ingest", str(FIXTURE)).document["package_id"]
        flip_byte(objects_of_kind(server.home, ObjectKind.PACK)[0], 100)

        there = store.remote("verify", package_id)
        here = store.embedded("verify", package_id)
        gets = [say("get", package_id, "-o", str(tmp_path / "out")).code for say in (store.embedded, store.remote)]

    assert (here.code, there.code) == (2, 2)
    assert here == there
    assert gets == [2, 2]
    assert not (tmp_path / "out").exists()


# which store


def test_the_line_names_the_server_wherever_it_stands(store: Twins) -> None:
    environment = {"ARTIFACTSTORE_API_TOKEN": TOKENS["root"], "ARTIFACTSTORE_API_URL": "http://127.0.0.1:1"}
    expected = store.embedded("list", "--limit", "1").stdout

    for arguments in (
        ("--server", store.server.url, "list", "--limit", "1"),
        ("list", "--limit", "1", "--server", store.server.url),
        ("list", f"--server={store.server.url}/", "--limit", "1"),
    ):
        assert command(*arguments, **environment).stdout == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("list", "--server"), "--server needs a value"),
        (("--server=", "list"), "--server needs a value"),
        (("--server", "--debug", "list"), "--server needs a value"),
        (("--server", "localhost:8000", "list"), "--server is not the address of a server"),
        (("--server", "http://user:pass@localhost", "list"), "must not hold a name or password"),
    ],
)
def test_an_address_that_is_none_is_refused(arguments: tuple[str, ...], expected: str) -> None:
    answer = command(*arguments)

    assert (answer.code, answer.stdout) == (1, b"")
    assert expected in answer.stderr
    assert "pass@" not in answer.stderr


def test_a_server_named_after_two_dashes_is_an_argument(store: Twins) -> None:
    answer = store.remote("show", "--", "--server=x")

    assert (answer.code, "PACKAGE_UNKNOWN" in answer.stderr) == (1, True)


def test_nothing_is_made_on_this_host(store: Twins, tmp_path: Path) -> None:
    answer = command("list", **store.server.environment(), ARTIFACTSTORE_HOME=str(tmp_path / "home"))

    assert answer.code == 0
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("arguments", [("token", "list"), ("db", "current"), ("db", "upgrade"), ("serve",)])
def test_what_concerns_the_host_is_refused_from_afar(store: Twins, arguments: tuple[str, ...]) -> None:
    answer = store.remote(*arguments)

    assert (answer.code, answer.stdout) == (1, b"")
    assert answer.stderr.startswith("error: USAGE: ")
    assert store.server.url in answer.stderr


# who may, and whether there is a server


def test_no_token_and_a_wrong_one_are_1_and_say_what_to_set(store: Twins) -> None:
    without = command("list", ARTIFACTSTORE_API_URL=store.server.url)
    wrong = command("list", ARTIFACTSTORE_API_URL=store.server.url, ARTIFACTSTORE_API_TOKEN="wrong")

    for answer in (without, wrong):
        assert (answer.code, answer.stdout) == (1, b"")
        assert answer.stderr.startswith("error: UNAUTHENTICATED: ")
        assert "ARTIFACTSTORE_API_TOKEN" in answer.stderr


def test_what_a_token_does_not_allow_is_1(store: Twins) -> None:
    answer = store.remote("push", str(FIXTURE), "--producer", "ci", token="other")
    swept = store.remote("retention", "sweep", token="ci")

    assert [1, 1] == [answer.code, swept.code]
    assert answer.stderr.startswith("error: FORBIDDEN: ")
    assert swept.stderr.startswith("error: FORBIDDEN: ")


def test_a_server_that_is_not_there_is_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    answer = command("list", "--server", f"http://127.0.0.1:{port}")

    assert (answer.code, answer.stdout) == (2, b"")
    assert answer.stderr.startswith("error: SERVICE_UNAVAILABLE: ")
    assert "Traceback" not in answer.stderr


def test_a_page_of_a_proxy_and_a_redirect_are_2(tmp_path: Path) -> None:
    html = Answer(500, b"<html>", {"Content-Type": "text/html"})
    redirect = Answer(302, b"", {"Location": "http://192.0.2.1/"})
    for page in (html, redirect):
        with serving(lambda _, page=page: page) as server:
            answer = command("list", "--server", server.url)

        assert (answer.code, answer.stdout) == (2, b"")
        assert answer.stderr.startswith("error: SERVICE_FAILED: ")


def test_a_token_is_not_sent_unencrypted_to_another_host() -> None:
    answer = command("list", "--server", "http://192.0.2.1", ARTIFACTSTORE_API_TOKEN="a-secret-token")

    assert (answer.code, answer.stdout) == (1, b"")
    assert answer.stderr.startswith("error: CONFIGURATION_INVALID: ")
    assert "a-secret-token" not in answer.stderr


def test_embedded_commands_do_not_pay_for_the_client(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom artifactstore.cli.main import run\ncode = run(['list', '--quiet'])\n"
        "print({'urllib3', 'http.client', 'ssl', 'artifactstore.client'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "ARTIFACTSTORE_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stderr.strip() == "set()"


def test_a_server_with_a_certificate_that_this_host_trusts_is_taken(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with serving(lambda _: Answer.json({"packages": [], "next_after": None}), certificate=certificate) as server:
        trusted = command("list", "--server", server.url, ARTIFACTSTORE_API_TOKEN="t", SSL_CERT_FILE=str(certificate))
        unknown = command("list", "--server", server.url, ARTIFACTSTORE_API_TOKEN="t")

    assert (trusted.code, trusted.document["packages"]) == (0, [])
    assert (unknown.code, "certificate cannot be trusted" in unknown.stderr) == (2, True)
    assert len(server.asked) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_push_without_a_trace(store: Twins, tmp_path: Path, number: signal.Signals) -> None:
    folder = write_tree(tmp_path / "run", {f"{n}": bytes([number]) * 2**21 + b"%d" % n for n in range(8)})
    sent = threading.Event()
    with cutting(store.server.url) as proxy:
        proxy.on_up = lambda passed: (sent.set(), time.sleep(0.05)) if passed > 2**20 else None
        environment = {**store.server.environment(), "ARTIFACTSTORE_API_URL": proxy.url}
        process = start("push", str(folder), "--producer", "ci", "--external-id", f"signal {number}", **environment)
        assert sent.wait(60)

        process.send_signal(number)
        answer = said(process)

    assert answer.code == (130 if number == signal.SIGINT else 143)
    assert (answer.stdout, "Traceback" in answer.stderr) == (b"", False)
    again = store.remote("push", str(folder), "--producer", "ci", "--external-id", f"signal {number}")
    assert (again.code, again.document["reused_existing"]) == (0, False)
