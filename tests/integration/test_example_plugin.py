"""The example of a plug-in, as a user has it: installed, granted, run, listened to, uninstalled."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import venv
import zipfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.errors import ConfigurationError
from artifactstore.plugins import Notice, WebhookFormat
from tests.integration.test_packaging import ROOT, dependencies
from tests.service import clean_environment, serving

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLE = ROOT / "examples" / "folder-watcher"
GUIDE = ROOT / "docs" / "guides" / "write-a-plugin.md"
GRANTED = {"ARTIFACTSTORE_PLUGIN_CAPABILITIES": "folder-watcher=ingest"}
HOUR_AGO = time.time() - 3_600
LONGEST_EXAMPLE = 150


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and a store of its own."""

    folder: Path
    home: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def site(self) -> Path:
        return next((self.folder / "lib").glob("python*/site-packages"))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.folder / "bin" / "python", "-m", "artifactstore", *arguments],
            cwd=self.folder, env={**clean_environment(), "ARTIFACTSTORE_HOME": str(self.home), **self.settings},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def answer(self, *arguments: str) -> Any:
        answered = self.run(*arguments)
        assert answered.returncode == 0, answered.stderr
        return json.loads(answered.stdout)

    def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.answer("events", "--payload")["events"]
        return found

    def granted(self) -> Environment:
        return replace(self, settings=GRANTED)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with both wheels, unpacked as pip does it, and dependencies from where the tests run."""
    folder = tmp_path_factory.mktemp("example")
    wheels = [build_wheel(ROOT, folder / "ours"), build_wheel(copied(EXAMPLE, folder / "source"), folder / "theirs")]
    venv.create(folder / "venv", with_pip=False)
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    for wheel in wheels:
        zipfile.ZipFile(wheel).extractall(site)
    (site / "dependencies.pth").write_text(f"{dependencies(folder)}\n")
    command = folder / "venv" / "bin" / "artifactstore"
    command.write_text(f'#!/bin/sh\nexec {folder}/venv/bin/python -m artifactstore "$@"\n')
    command.chmod(0o755)
    return folder / "venv"


def build_wheel(project: Path, folder: Path) -> Path:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(project)]
    answer = subprocess.run(build, capture_output=True, text=True, timeout=300, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    (found,) = folder.glob("*.whl")
    return found


def copied(folder: Path, target: Path) -> Path:
    """By itself: nothing of this checkout is beside it."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


@pytest.fixture(scope="module")
def beside_the_tests(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Settings with which the Python of the tests has the example, too."""
    folder = tmp_path_factory.mktemp("site")
    (wheel,) = (installed.parent / "theirs").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return {"PYTHONPATH": str(folder)}


@pytest.fixture
def environment(installed: Path, home: Path) -> Environment:
    return Environment(installed, home)


# a mailbox


def letter(message_id: str | None = "<1@example.org>", *, body: str = "Hello\n", **headers: str) -> bytes:
    message = EmailMessage()
    given = {"Date": "Tue, 03 Mar 2026 09:15:00 +0200", "From": "Jane <jane@Example.org>", "To": "bob@example.org"}
    for name, value in {**given, **({} if message_id is None else {"Message-ID": message_id}), **headers}.items():
        if value:
            message[name] = value
    message.set_content(body)
    return message.as_bytes()


def put(path: Path, data: bytes, *, changed_at: float = HOUR_AGO) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (changed_at, changed_at))
    return path


@pytest.fixture
def mail(tmp_path: Path) -> Path:
    """Two letters in a Maildir, one of them large, one that is on its way, and a file that is none."""
    put(tmp_path / "mail/new/1772522100.M1.host", letter())
    put(tmp_path / "mail/cur/1772522101.M2.host:2,S", letter("<2@example.org>", body="line\n" * 20_000))
    put(tmp_path / "mail/tmp/1772522102.M3.host.eml", letter("<3@example.org>"))
    put(tmp_path / "mail/dovecot.index", b"\0")
    return tmp_path / "mail"


# what a user does


def test_it_is_short_and_uses_nothing_else() -> None:
    code = "".join(path.read_text() for path in EXAMPLE.rglob("*.py"))
    imported = {line.split()[1].partition(".")[0] for line in code.splitlines() if line.startswith(("import", "from"))}

    assert len(code.splitlines()) < LONGEST_EXAMPLE
    for page in (GUIDE, ROOT / "README.md"):
        assert f" {len(code.splitlines())} lines" in page.read_text()
    assert {"artifactstore"} == imported - sys.stdlib_module_names


def test_it_is_listed_as_its_distribution_says(environment: Environment) -> None:
    plugins = {each["name"]: each for each in environment.granted().answer("plugin", "list")["plugins"]}

    found = plugins["folder-watcher"]
    assert ("artifactstore-folder-watcher", "1.0.0", "1") == (
        found["distribution"], found["version"], found["contract_version"],
    )  # fmt: skip
    assert ["folder-watcher.message"] == [kind["name"] for kind in found["words"]["location_kinds"]]
    assert (["ingest"], True, None) == (found["capabilities"], found["runs"], found["error"])
    assert {None} == {each["error"] for each in plugins.values()}


def test_without_the_capability_nothing_is_recorded(environment: Environment, mail: Path) -> None:
    answer = environment.run("plugin", "run", "folder-watcher", str(mail))

    assert (1, "") == (answer.returncode, answer.stdout)
    assert "error: CAPABILITY_DENIED: the plug-in 'folder-watcher' is not granted 'ingest'" in answer.stderr
    assert "ARTIFACTSTORE_PLUGIN_CAPABILITIES='folder-watcher=ingest'" in answer.stderr
    assert [] == environment.events()


def test_a_mailbox_is_recorded_once_however_often_it_is_looked_through(environment: Environment, mail: Path) -> None:
    user = environment.granted()

    first = user.answer("plugin", "run", "folder-watcher", str(mail))
    events = user.events()
    (mail / "new/1772522100.M1.host").rename(mail / "cur/1772522100.M1.host:2,S")
    second = user.answer("plugin", "run", "folder-watcher", str(mail))

    assert {"seen": 2, "new": 2, "skipped": []} == first
    assert {"seen": 2, "new": 0, "skipped": []} == second
    assert events == user.events()
    assert {"plugin:folder-watcher@1.0.0"} == {event["actor"] for event in events}
    assert 2 == [event["type"] for event in events].count("v1.core.ingested")


def test_an_observation_says_what_the_message_says(environment: Environment, tmp_path: Path) -> None:
    user, data = (
        environment.granted(),
        letter(Cc="List: a@example.org, nobody;", Subject="Gr\u00fcn"),
    )
    put(tmp_path / "mail/a.eml", data)

    user.answer("plugin", "run", "folder-watcher", str(tmp_path / "mail"))

    source, envelope, _ = (event["payload"] for event in user.events())
    assert ("folder-watcher.message", "1@example.org", "message/rfc822", "Gr\u00fcn") == (
        source["location_kind"], source["path_id"], source["content_type"], source["display_name"],
    )  # fmt: skip
    assert (1_772_522_100_000_000, data.hex()) == (envelope["received_at"], envelope["raw_payload"])
    assert [
        ["email", None, "jane@example.org", "sender", "claimed"],
        ["email", None, "bob@example.org", "recipient", "claimed"],
        ["email", None, "a@example.org", "recipient", "claimed"],
    ] == envelope["parties"]


def test_the_whole_of_a_large_message_is_in_its_package(environment: Environment, mail: Path, tmp_path: Path) -> None:
    user, large = environment.granted(), mail / "cur/1772522101.M2.host:2,S"
    user.answer("plugin", "run", "folder-watcher", str(mail))

    (package,) = user.answer("list")["packages"]
    shown = user.answer("show", package["package_id"])
    user.answer("get", package["package_id"], "-o", str(tmp_path / "copy"))

    assert ("folder-watcher", "2@example.org") == (shown["producer"], shown["external_id"])
    assert ["message.eml"] == [file["path"] for file in shown["files"]]
    assert large.read_bytes() == (tmp_path / "copy/message.eml").read_bytes()
    said = [event["payload"] for event in user.events() if event["type"] == "v1.core.envelope_indexed"]
    (payload,) = [found for each in said if b"<2@example.org>" in (found := bytes.fromhex(each["raw_payload"]))]
    assert large.read_bytes().startswith(payload)
    assert b"line" not in payload
    assert "reproduced" == user.answer("replay", "--check")["status"]


def test_what_cannot_be_recorded_is_named_and_the_rest_is_recorded(environment: Environment, tmp_path: Path) -> None:
    user, folder = environment.granted(), tmp_path / "mail"
    put(folder / "a-being-written.eml", letter("<w@example.org>"), changed_at=time.time() + 3_600)
    put(folder / "b-before-1970.eml", letter("<b@example.org>", Date="Tue, 03 Mar 1908 09:15:00 +0000"))
    put(folder / "c-large.eml", letter("<c@example.org>", body="line\n" * 20_000))
    put(folder / "d-large-too-but-other.eml", letter("<c@example.org>", body="rain\n" * 20_000))
    put(folder / "e-whole.eml", letter())

    answer = user.answer("plugin", "run", "folder-watcher", str(folder))

    assert (5, 2) == (answer["seen"], answer["new"])
    why = {Path(each["file"]).name: each["why"] for each in answer["skipped"]}
    assert ["a-being-written.eml", "b-before-1970.eml", "d-large-too-but-other.eml"] == list(why)
    assert "the next run takes it" in why["a-being-written.eml"]
    assert "/envelope/received_at is not between 1970" in why["b-before-1970.eml"]
    assert "other content" in why["d-large-too-but-other.eml"]


def test_a_message_that_says_neither_id_nor_time_is_known_by_its_file(environment: Environment, tmp_path: Path) -> None:
    user, data = environment.granted(), letter(None, Date="", To="", From="root")
    path = put(tmp_path / "mail/a.eml", data, changed_at=1_772_522_100)

    answer = user.answer("plugin", "run", "folder-watcher", str(tmp_path / "mail"))

    assert {"seen": 1, "new": 1, "skipped": []} == answer
    source, envelope, _ = (event["payload"] for event in user.events())
    assert ("file", path.as_uri()) == (source["location_kind"], source["path_id"])
    assert (1_772_522_100_000_000, []) == (envelope["received_at"], envelope["parties"])


def test_a_time_counts_only_with_its_offset(environment: Environment, tmp_path: Path) -> None:
    user, said = environment.granted(), "Tue, 03 Mar 2026 09:15:00"
    dates = {"plus": f"{said} +0200", "utc": f"{said} -0000", "nowhere": said, "wrong": "soon", "none": ""}
    dates["far"] = said.replace("2026", "99999999999")
    for name, date in dates.items():
        data = letter(f"<{name}@example.org>").replace(f"{said} +0200".encode(), date.encode())
        put(tmp_path / f"mail/{name}.eml", data, changed_at=1_700_000_000)

    user.answer("plugin", "run", "folder-watcher", str(tmp_path / "mail"))

    payloads = [event["payload"] for event in user.events()]
    names = {each["source_id"]: each["path_id"].partition("@")[0] for each in payloads if "path_id" in each}
    received_at = {names[each["source_id"]]: each["received_at"] for each in payloads if "received_at" in each}
    assert {
        "plus": 1_772_522_100_000_000,
        "utc": 1_772_529_300_000_000,
        "nowhere": 1_700_000_000_000_000,  # it could mean any of 26 hours
        "wrong": 1_700_000_000_000_000,
        "none": 1_700_000_000_000_000,
        "far": 1_700_000_000_000_000,
    } == received_at


def test_its_journal_has_a_line_for_each_new_observation(environment: Environment, mail: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal.txt"
    user = replace(environment, settings={**GRANTED, "FOLDER_WATCHER_JOURNAL": str(journal)})
    user.answer("plugin", "run", "folder-watcher", str(mail))  # before anybody listens
    user.answer("listen", "--once")
    user.answer("listen", "--once")

    told = [line.split() for line in journal.read_text().splitlines()]
    signals = [event for event in user.events() if event["type"] == "v1.core.ingested"]
    assert [[str(each["seq"]), f"{each['at'][:19]}Z", each["subject"]] for each in signals] == told


def test_it_works_on_a_server_that_has_it_too(
    environment: Environment, beside_the_tests: Mapping[str, str], mail: Path
) -> None:
    with serving(environment.home, environment=beside_the_tests) as server:
        user = replace(environment, home=mail.parent / "not-used", settings=server.environment("admin"))

        first = user.answer("plugin", "run", "folder-watcher", str(mail))
        second = user.answer("plugin", "run", "folder-watcher", str(mail))
        events = user.events()
        (package,) = user.answer("list")["packages"]

    assert [{"seen": 2, "new": 2, "skipped": []}, {"seen": 2, "new": 0, "skipped": []}] == [first, second]
    assert {"token:admin"} == {event["actor"] for event in events}
    assert ("folder-watcher", "2@example.org") == (package["producer"], package["external_id"])
    assert not user.home.exists()


def test_a_server_without_it_does_not_know_its_words(environment: Environment, mail: Path) -> None:
    with serving(environment.home) as server:
        user = replace(environment, settings=server.environment("admin"))

        answer = user.answer("plugin", "run", "folder-watcher", str(mail))

    assert (2, 0) == (answer["seen"], answer["new"])
    assert ["folder-watcher.message" in each["why"] for each in answer["skipped"]] == [True, True]


def test_uninstalling_it_leaves_the_store_as_it_is(environment: Environment, mail: Path, tmp_path: Path) -> None:
    user = environment.granted()
    user.answer("plugin", "run", "folder-watcher", str(mail))
    (package,) = user.answer("list")["packages"]
    events = user.events()

    without = replace(user, folder=copy_without_the_example(environment.folder, tmp_path / "without"))

    assert "folder-watcher" not in [each["name"] for each in without.answer("plugin", "list")["plugins"]]
    gone = without.run("plugin", "run", "folder-watcher", str(mail))
    assert (1, True) == (gone.returncode, "PLUGIN_UNKNOWN" in gone.stderr)
    assert events == without.events()
    assert ["message.eml"] == [file["path"] for file in without.answer("show", package["package_id"])["files"]]
    assert "verified" == without.answer("verify", "--all")["status"]
    assert "reproduced" == without.answer("replay", "--check")["status"]


def copy_without_the_example(folder: Path, target: Path) -> Path:
    """What `pip uninstall` leaves."""
    shutil.copytree(folder, target, symlinks=True)
    site = next((target / "lib").glob("python*/site-packages"))
    for path in (*site.glob("folder_watcher"), *site.glob("artifactstore_folder_watcher-*.dist-info")):
        shutil.rmtree(path)
    return target


# the guide


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    return found


def programs() -> list[str]:
    """The blocks that are whole programs; the others are excerpts."""
    return [block for block in blocks("python") if block.startswith("from collections.abc import")]


def test_the_guide_quotes_the_example() -> None:
    quoted = [block for block in blocks("python") if block not in programs()]

    assert 8 == len(quoted)
    assert [] == [block for block in quoted if block not in (EXAMPLE / "src/folder_watcher/__init__.py").read_text()]
    assert [] == [block for block in blocks("toml") if block not in (EXAMPLE / "pyproject.toml").read_text()]


def test_the_guides_commands_run_as_they_are_pasted(environment: Environment, mail: Path) -> None:
    script = "".join(blocks("sh")).replace("pip install ./examples/folder-watcher\n", "")
    settings = {
        "ARTIFACTSTORE_HOME": str(environment.home),
        "PATH": f"{environment.folder / 'bin'}:{os.environ['PATH']}",
    }

    answer = subprocess.run(
        ["sh", "-eux"], input=script, cwd=mail.parent, env={**clean_environment(), **settings},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert 0 == answer.returncode, answer.stderr
    assert '"new": 2' in answer.stdout
    assert 2 == len((mail.parent / "journal.txt").read_text().splitlines())


def test_the_guides_test_passes(beside_the_tests: Mapping[str, str], tmp_path: Path) -> None:
    (recipe,) = [block for block in programs() if "import pytest" in block]
    (tmp_path / "test_recipe.py").write_text(recipe)

    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_recipe.py"],
        cwd=tmp_path, env={**clean_environment(), **beside_the_tests}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip

    assert 0 == answer.returncode, answer.stdout
    assert "1 passed" in answer.stdout


def test_the_guides_webhook_format_says_what_it_says() -> None:
    (program,) = [block for block in programs() if "WebhookFormat" in block]
    names: dict[str, Any] = {}
    exec(program, names)  # the page's own code
    chat, context, options = names["CHAT"], None, {"channel": "#mail"}
    new = Notice(3, datetime.now(UTC), "v1.core.ingested", "ab", "plugin:folder-watcher@1.0.0", {
        "source_created": True, "envelope_id": "ab",
    })  # fmt: skip

    assert isinstance(chat, WebhookFormat)
    assert {"channel": "#mail", "text": "New mail, observed in ab"} == chat.body(new, context, options)
    assert None is chat.body(replace(new, payload={"source_created": False}), context, options)
    chat.check_options(options)
    with pytest.raises(ConfigurationError):
        chat.check_options({})
