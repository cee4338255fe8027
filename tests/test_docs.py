"""The documentation names everything there is, and what it says runs."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from artifactstore import errors, pilots
from artifactstore.api import bodies, protocol, serve, service
from artifactstore.api.errors import status_of
from artifactstore.built_in import DEFAULT_CAPABILITIES
from artifactstore.catalog import sqlite
from artifactstore.catalog.contributions import all_tables as all_definitions
from artifactstore.catalog.replay import NATURAL_ROWS
from artifactstore.cli import main as cli_main
from artifactstore.cli.exit_codes import CALLER_CAN_MEND_IT, DONE, INTERRUPTED, PARTLY_DONE, SYSTEM_FAILED, exit_code_of
from artifactstore.config import NAMES, PREFIX, Settings
from artifactstore.domain.capabilities import parse_capabilities
from artifactstore.domain.events import EVENT_TYPES
from artifactstore.domain.retention import DEFAULT_DAYS, MAX_DAYS
from artifactstore.registry.events import list_events
from artifactstore.registry.ingest import ingest
from artifactstore.registry.retention import place_hold
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import package_draft
from scripts.generate_cli_reference import cli_reference
from tests.service import clean_environment, serving
from tests.support import event_types, objects_of_kind, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.schema import Table

    from artifactstore.registry.registry import Registry
    from tests.service import Server

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted(
    path for pages in ("*.md", "docs/**/*.md", "benchmarks/*.md", "examples/*/*.md") for path in ROOT.glob(pages)
)
PAGES_WITH_COMMANDS = [
    ROOT / page
    for page in ("README.md", "docs/OPERATOR.md", "docs/pilots/guide-board.md", "docs/reference/http-api.md")
]
MADE_LATER = {ROOT / "benchmarks" / name for name in ("RESULTS.md", "RESULTS-SERVERS.md")}  # by `make bench`
GROUPS = {"ARTIFACTSTORE_ERROR", "INVALID_REQUEST", "NOT_FOUND", "CONFLICT", "ACCESS_DENIED", "CORRUPTION"}

NEVER_OVER_HTTP = {
    "DESTINATION_INVALID", "DESTINATION_EXISTS", "FILE_UNREADABLE", "FILE_CHANGED", "LINK_INVALID", "MANIFEST_INVALID",
    "RUN_DIRECTORY_INVALID", "TOKEN_UNKNOWN", "TOKEN_EXISTS", "SERVICE_FAILED", "SERVICE_UNAVAILABLE",
    "WEBHOOK_FAILED", "WEBHOOK_REFUSED", "SUBSCRIPTION_UNKNOWN", "SUBSCRIPTION_AHEAD",
    "PROVENANCE", "EMIT_GUARD", "PLUGIN_UNKNOWN", "CAPABILITY_DENIED",
    "CLOCKS_DISAGREE", "BACKUP_UNKNOWN", "BACKUP_DAMAGED", "STORE_NOT_EMPTY",
    "RECORD_UNFILABLE", "TREE_BUSY", "TREE_FOREIGN", "YAML_INVALID",
}  # fmt: skip
"""Errors of a host's files, of a client, of plug-ins in process, and of commands on the host of the store only."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("docs") / "home") as running:
        yield running


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every table row."""
    for line in text.splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]


def first_code_cells(text: str) -> list[str]:
    """What stands in backticks as the first cell of a row."""
    return [row[0].strip("`") for row in rows(text) if row[0].startswith("`")]


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next of its level or above."""
    found = re.search(rf"^(#+) {re.escape(heading)}$\n(.*?)(?=^#{{1,2}} |^### |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"there is no heading {heading!r}"
    return found[2]


# errors


def error_classes() -> list[type[errors.ArtifactStoreError]]:
    return [*core_errors(), *pilot_errors(), cli_main._UnexpectedError]


def core_errors() -> list[type[errors.ArtifactStoreError]]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, errors.ArtifactStoreError) and kind.code not in GROUPS]


def pilot_errors() -> list[type[errors.ArtifactStoreError]]:
    """Those that our pilots raise besides; one that says a code of the tree in other words is that one."""
    for module in pkgutil.walk_packages(pilots.__path__, "artifactstore.pilots."):
        if ".migrations" not in module.name:
            import_module(module.name)
    known = {kind.code for kind in core_errors()}
    found = [kind for kind in below(errors.ArtifactStoreError) if kind.__module__.startswith("artifactstore.pilots.")]
    return sorted((kind for kind in found if kind.code not in known), key=lambda kind: kind.code)


def below(kind: type[errors.ArtifactStoreError]) -> set[type[errors.ArtifactStoreError]]:
    return {each for child in kind.__subclasses__() for each in (child, *below(child))}


def one_of(kind: type[errors.ArtifactStoreError]) -> errors.ArtifactStoreError:
    """An error of this class, which may want more than a message."""
    wanted = [each for each in inspect.signature(kind).parameters.values() if each.default is each.empty]
    return kind(*[""] * len([each for each in wanted if each.kind is each.POSITIONAL_OR_KEYWORD]))


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.code)
def test_every_error_stands_in_the_page_as_it_is(kind: type[errors.ArtifactStoreError]) -> None:
    found = [row for row in rows((REFERENCE / "errors.md").read_text()) if row[0] == f"`{kind.code}`"]

    retry = "yes" if kind.retryable else "no"
    assert [[f"`{kind.code}`", str(exit_code_of(one_of(kind))), retry, kind.default_hint]] == [
        [*row[:3], row[4]] for row in found
    ]
    assert found[0][3], "what it means is not said"


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.code)
def test_every_errors_status_is_the_one_that_requests_are_answered_with(kind: type[errors.ArtifactStoreError]) -> None:
    (row,) = [row for row in rows((REFERENCE / "errors.md").read_text()) if row[0] == f"`{kind.code}`"]

    assert row[5] == ("\N{EN DASH}" if kind.code in NEVER_OVER_HTTP else str(status_of(one_of(kind))))


def test_the_page_of_errors_names_no_error_that_is_not_there() -> None:
    assert {kind.code for kind in error_classes()} == set(first_code_cells((REFERENCE / "errors.md").read_text()))


def test_classes_that_only_group_others_are_called_that() -> None:
    text = (REFERENCE / "errors.md").read_text()

    assert [] == [code for code in GROUPS if f"`{code}`" not in section(text, "Others")]


def test_the_tree_in_the_docstring_has_every_code() -> None:
    tree = errors.__doc__ or ""

    assert [] == [kind.code for kind in core_errors() if kind.code not in tree]


@pytest.mark.parametrize("path", [ROOT / "README.md", REFERENCE / "cli.md"], ids=named)
def test_exit_codes_are_the_codes(path: Path) -> None:
    documented = [row[0] for row in rows(path.read_text()) if row[0].isdigit()]

    assert [DONE, CALLER_CAN_MEND_IT, SYSTEM_FAILED, PARTLY_DONE, INTERRUPTED] == [int(code) for code in documented]


# settings


def test_every_setting_stands_in_the_page() -> None:
    documented = first_code_cells((REFERENCE / "settings.md").read_text())

    assert [PREFIX + name for name in NAMES] == [name for name in documented if name.startswith(PREFIX)]


def test_defaults_of_numbers_are_those_of_the_page() -> None:
    settings = Settings.from_environment({"ARTIFACTSTORE_HOME": "/h"})
    cells = {row[0].strip("`"): row[1].strip("`") for row in rows((REFERENCE / "settings.md").read_text())}

    for name in ("PACK_THRESHOLD_BYTES", "MAX_FILES", "MAX_PAYLOAD_BYTES", "RACE_RETRIES"):
        assert str(getattr(settings, name.lower())) == cells[PREFIX + name]


def test_capabilities_that_are_granted_unless_said_otherwise_are_those_of_the_page() -> None:
    cells = {row[0].strip("`"): row[1].strip("`") for row in rows((REFERENCE / "settings.md").read_text())}

    assert parse_capabilities(cells[PREFIX + "PLUGIN_CAPABILITIES"]) == DEFAULT_CAPABILITIES


@pytest.mark.parametrize("path", [ROOT / "README.md", REFERENCE / "settings.md"], ids=named)
def test_retention_classes_have_their_days(path: Path) -> None:
    text = path.read_text()

    for retention_class, days in DEFAULT_DAYS.items():
        said = re.search(rf"`{retention_class}` (?:\| )?(?:for )?(\d[\d,]*\d|\d|never|ever)", text)
        assert said is not None, retention_class
        assert said[1] == (f"{days:,}" if days else said[1])
    assert path.name == "README.md" or f"{MAX_DAYS:,}" in text


# events


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_every_event_and_field_stands_in_the_page(name: str) -> None:
    below = section((REFERENCE / "events.md").read_text(), name)

    members = [field for field in dataclasses.fields(EVENT_TYPES[name]) if field.compare]
    fields = [field.name for field in members]
    optional = {field.name for field in members if field.default is None}
    assert fields == first_code_cells(below)
    assert optional == {row[0].strip("`") for row in rows(below) if len(row) > 1 and row[1].endswith("optional")}


def test_the_page_of_events_names_no_type_that_is_not_there() -> None:
    headings = re.findall(r"^### (v\d+\..*)$", (REFERENCE / "events.md").read_text(), re.MULTILINE)

    assert list(EVENT_TYPES) == headings


def test_the_log_is_checked_without_the_product(registry: Registry, home: Path, tmp_path: Path) -> None:
    package_id = ingest(registry, package_draft()).package_id
    place_hold(registry, package_id, reason="audit")
    events = list_events(registry, limit=10)
    registry.close()

    sound = check_log(home)
    known = check_log(home, "3", events[2].chain.hex())
    other = check_log(home, "3", events[3].chain.hex())
    beyond = check_log(home, "9", events[3].chain.hex())

    assert (sound.returncode, sound.stderr) == (0, "")
    assert f"{len(events)} events, chain {events[-1].chain.hex()}" in sound.stdout
    assert known.returncode == 0
    assert (other.returncode, other.stderr) == (1, "event 3: its chain value is not the one you know\n")
    assert (beyond.returncode, beyond.stderr) == (1, "event 9: it is not in the log\n")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE event SET payload = x'a0' WHERE seq = 3",
        "UPDATE event SET header = x'a0' WHERE seq = 3",
        "UPDATE event SET chain = randomblob(32) WHERE seq = 3",
        "UPDATE event SET actor = 'local:someone' WHERE seq = 3",
        "UPDATE event SET at = at + 1 WHERE seq = 3",
        "DELETE FROM event WHERE seq = 3",
        "UPDATE event_log SET log_id = randomblob(32)",
    ],
)
def test_a_log_that_was_changed_does_not_pass(registry: Registry, home: Path, change: str) -> None:
    ingest(registry, package_draft())
    with registry.transaction() as tx:
        tx.connection.execute(change)
    registry.close()

    answer = check_log(home)

    assert answer.returncode == 1
    assert re.match(r"event [134]: its ", answer.stderr), answer.stderr


def check_log(home: Path, *known: str) -> subprocess.CompletedProcess[str]:
    script = REFERENCE / "check_event_log.py"
    command = [sys.executable, "-P", "-W", "error", str(script), str(home / "artifactstore.db"), *known]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=60)


def test_the_snippet_of_the_guide_shows_a_manifest(registry: Registry, home: Path) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guides/verify-without-us.md").read_text(), re.DOTALL)
    ingest(registry, package_draft({"a.txt": b"A"}))
    (manifest,) = objects_of_kind(home, ObjectKind.MANIFEST)

    answer = subprocess.run([sys.executable, "-c", snippet, manifest], capture_output=True, check=True, timeout=60)

    assert ["a.txt"] == [file["path"] for file in json.loads(answer.stdout)["files"]]


def test_the_script_imports_nothing_of_the_product() -> None:
    imported = re.findall(r"^(?:import|from) (\w+)", (REFERENCE / "check_event_log.py").read_text(), re.MULTILINE)

    assert {"blake3", "cbor2"} == set(imported) - sys.stdlib_module_names


# the HTTP API


def test_every_request_stands_in_the_page_and_no_other(server: Server) -> None:
    paths = server.ask("GET", "/openapi.json").json["paths"]
    offered = {
        f"{method.upper()} {anonymous(path)}"
        for path, operations in paths.items()
        for method in operations
        if not (method == "head" and "get" in operations)  # downloads: the page says it of all of them at once
    }

    assert offered == documented_requests((REFERENCE / "http-api.md").read_text())


def documented_requests(text: str) -> set[str]:
    """What stands in backticks as a method and a path, in headings and tables; "of it" is the path named last."""
    found, path = set(), ""
    lines = [line for line in text.splitlines() if line.startswith(("|", "#"))]
    for method, said, of_it in re.findall(
        r"`(GET|HEAD|POST|PUT|PATCH|DELETE)(?: (/[^`?\s]*)[^`]*)?`( of it)?", "\n".join(lines)
    ):
        path = anonymous(said) if said else path
        if said or of_it:
            found.add(f"{method} {path}")
    sentences = re.findall(r"^`(GET) (/events[/\w]*)", text, re.MULTILINE)
    return found | {f"{method} {path}" for method, path in sentences}


def anonymous(path: str) -> str:
    """A path without the names of its variables, which the page shortens."""
    return re.sub(r"{[^}]*}", "{}", path)


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=named)
def test_commands_run_as_they_are_pasted(page: Path, server: Server, tmp_path: Path) -> None:
    for name in ("scripts", "schemas", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    token = server.tokens["admin"]
    files = {"report.txt": b"report", "out.log": b"log", "build/reports/x": b"x", ".local/dev/token": token.encode()}
    write_tree(tmp_path, files)
    environment = {
        **clean_environment(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ARTIFACTSTORE_API_URL": server.url, "ARTIFACTSTORE_API_TOKEN": token,
        "ID": server.ask("POST", "/packages", json_body={"producer": "p"}).json["package_id"],
    }  # fmt: skip

    answer = subprocess.run(
        ["sh", "-eux"], input=pasted(page, server), cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip

    assert "curl" in answer.stderr, "it shows what it runs"
    assert 0 == answer.returncode, answer.stderr


def pasted(page: Path, server: Server) -> str:
    """The commands of a page as one script, on this server and its home instead of the page's."""
    text = page.read_text()
    if page.name == "README.md":
        script = "\n".join(re.findall(r"^\$ (.*)$", section(text, "As a service"), re.MULTILINE))
    else:
        not_here = ("make ", "export ARTIFACTSTORE_API_URL=http://127.0.0.1:8000\n")  # the server is there already
        blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        script = "".join(block for block in blocks if not block.startswith(not_here))
    if page.name == "OPERATOR.md":
        script = f"unset ARTIFACTSTORE_API_URL ARTIFACTSTORE_API_TOKEN\n{script}"
    for said, here in (
        ("http://127.0.0.1:8000", server.url),
        ("http://127.0.0.1:8010", server.url),
        ("/srv/artifactstore", str(server.home)),
        ("/backup/", f"{server.home.parent}/backup/"),
    ):
        script = script.replace(said, here)
    return script


def test_the_operators_limits_are_the_servers() -> None:
    below = section((ROOT / "docs/OPERATOR.md").read_text(), "What it waits for, and for how long")
    limits = {row[0]: row[1] for row in rows(below)}

    assert {
        "the headers of a request": f"{protocol.HEADER_TIMEOUT_S:.0f} s",
        "a body": f"at least {bodies._LEAST_BYTES_PER_S // 1024} KiB/s, after its first {bodies._PATIENCE_S:.0f} s",
        "a client that takes nothing of its answer": f"{protocol.SEND_TIMEOUT_S:.0f} s",
        "a connection, between two requests": f"{serve._KEEP_ALIVE_S} s",
        "another writer of the database": f"{sqlite.BUSY_TIMEOUT_S} s",
        "requests under way at the end": f"{serve.GRACE_S} s",
        "bodies at once": f"{service.MAX_BODIES} a process",
        "connections at once": f"{protocol.MAX_CONNECTIONS:,} a process",
    }.items() <= limits.items()


# commands


def test_help_of_every_command_is_the_page() -> None:
    assert cli_reference() == (REFERENCE / "cli.md").read_text(), "run python scripts/generate_cli_reference.py"


# the database


def all_tables() -> list[Table]:
    return list(all_definitions().tables.values())


def kind_of(table: Table) -> str:
    if table.name in NATURAL_ROWS:
        return "projected"
    return "the record" if table.name.startswith("event") else "operational"


@pytest.mark.parametrize("table", all_tables(), ids=str)
def test_every_table_column_and_index_stands_in_the_page(table: Table) -> None:
    below = section((REFERENCE / "database.md").read_text(), f"{table.name} ({kind_of(table)})")

    expected = [column.name for column in table.columns] + sorted(str(index.name) for index in table.indexes)
    columns, indexes = len(table.columns), first_code_cells(below)
    assert expected == indexes[:columns] + sorted(indexes[columns:])


def test_the_page_of_the_database_names_no_table_that_is_not_there() -> None:
    headings = re.findall(r"^## (\w+) \(.*\)$", (REFERENCE / "database.md").read_text(), re.MULTILINE)

    assert {table.name for table in all_tables()} == set(headings)


def test_every_table_has_its_word() -> None:
    below = section((ROOT / "docs/GLOSSARY.md").read_text(), "The same words in the database")

    assert {table.name for table in all_tables()} == set(first_code_cells(below))


def test_words_stand_in_order() -> None:
    text = (ROOT / "docs/GLOSSARY.md").read_text().partition("## ")[0]
    words = [row[0].lower().partition(",")[0] for row in list(rows(text))[2:]]

    assert sorted(words) == words
    assert len(set(words)) == len(words)


# the README, and what is said of files


def test_the_snippet_of_the_readme_runs(home: Path, tmp_path: Path) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    files = {"summary.json": b"{}", "pages/index.html": b"<h1>ok</h1>"}
    write_tree(tmp_path / "build/reports", files)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}

    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", snippet],
        cwd=tmp_path, env={**clean, "ARTIFACTSTORE_HOME": str(home)}, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip

    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.fullmatch(r"[0-9a-f-]{36} blake3:[0-9a-f]{64}\n", answer.stdout)
    assert files == {path: (tmp_path / "copy" / path).read_bytes() for path in files}


def test_the_readme_shows_the_digest_of_the_fixture() -> None:
    vector = (ROOT / "tests/vectors/guide-board-fixture.json").read_text()
    digest = re.search(r"blake3:[0-9a-f]{64}", vector)

    assert digest is not None
    first_screen = (ROOT / "README.md").read_text().partition("## ")[0]
    assert digest[0] in first_screen


def test_every_make_target_that_is_named_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    said = {found for page in PAGES for found in re.findall(r"(?:`|\$ )make ([a-z-]+)", page.read_text())}

    assert set() == said - targets


def test_every_path_that_reliability_names_is_there() -> None:
    paths = re.findall(r"`(tests/[^`]+\.py)`", (ROOT / "docs/reliability.md").read_text())

    assert paths
    assert [] == [path for path in paths if not (ROOT / path).is_file()]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_path_of_this_repository_that_is_named_is_there(page: Path) -> None:
    named_paths = re.findall(r"`((?:tests|docs|scripts|schemas|artifactstore)/[\w./-]+)`", page.read_text())

    assert [] == [path for path in named_paths if not (ROOT / path).exists() and path != "tests/faults"]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = (page.parent / path).resolve() if path else page
        if file not in MADE_LATER and not (file.exists() and (not anchor or anchor in anchors(file))):
            broken.append(target)

    assert [] == broken


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_decision_is_in_the_index_and_has_every_part() -> None:
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text()
    parts = re.findall(r"^## (.*)$", (folder / "template.md").read_text(), re.MULTILINE)
    decisions = sorted(folder.glob("[0-9]*.md"))

    assert [f"{number:04}" for number in range(1, len(decisions) + 1)] == [path.name[:4] for path in decisions]
    for path in decisions:
        assert f"[{path.name[:4]}]({path.name})" in index
        assert parts == re.findall(r"^## (.*)$", path.read_text(), re.MULTILINE), path.name
        assert path.read_text().startswith(f"# {path.name[:4]}. "), path.name


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_page_knows_the_machine_it_was_written_on(page: Path) -> None:
    assert re.findall(r"/work\b|/tmp/|/root\b|/home/\w|TODO|FIXME", page.read_text()) == []


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell")
@pytest.mark.parametrize("page", PAGES, ids=named)
def test_shell_snippets_parse(page: Path) -> None:
    for snippet in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
        answer = subprocess.run(["sh", "-n"], input=snippet, capture_output=True, text=True, check=False, timeout=10)
        assert answer.stderr == ""


def test_the_crash_table_names_every_failpoint() -> None:
    table = section((ROOT / "docs/ARCHITECTURE.md").read_text(), "Where it can stop")
    code = "".join(path.read_text() for path in (ROOT / "artifactstore").rglob("*.py") if path.name != "failpoints.py")
    failpoints = {name.partition("{")[0] for name in re.findall(r'failpoint\(f?"([^"]+)"\)', code)}

    assert failpoints == {name.rstrip("…") for name in re.findall(r"`((?:\w+)\.[\w-]+…?)`", table)}


def test_an_ingest_is_the_events_that_the_page_says(registry: Registry) -> None:
    ingest(registry, package_draft())

    below = section((REFERENCE / "events.md").read_text(), "The events of an ingest")
    assert re.findall(r"`(v1\.[\w.]+)`", below) == event_types(registry)
