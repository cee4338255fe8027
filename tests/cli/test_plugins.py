"""`artifactstore plugin list` and `plugin run`, with distributions as a host may have them installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.built_in import ENTRY_POINTS, PLUGINS
from artifactstore.version import VERSION
from tests.support import CliResult, start_cli

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., CliResult]

GRANTED = "ARTIFACTSTORE_PLUGIN_CAPABILITIES"
OBSERVER = """
from datetime import UTC, datetime
from artifactstore.plugins import EnvelopeInput, Listener, LocationKind, Plugin, SourceInput, UsageError, Words

def run(context, arguments):
    print("words of its own")
    match arguments:
        case ["observe", path_id]:
            envelope = EnvelopeInput("test", b"seen", datetime(2026, 3, 3, tzinfo=UTC))
            result = context.ingest(source=SourceInput("observer.thing", path_id), envelope=envelope)
            return {"new": result.envelope.was_created}
        case ["refuse"]:
            raise UsageError("not like this", hint="Like that.")
        case ["divide"]:
            return {"never": 1 / 0}
        case ["exit", code]:
            raise SystemExit(int(code))
        case ["unprintable"]:
            return {"object": object()}
        case ["uncountable"]:
            return {"x": float("nan")}
        case ["nothing"]:
            return None
    return {"arguments": list(arguments)}

PLUGIN = Plugin(
    name="observer",
    summary="Observes.",
    contract_version="2",
    schemas=lambda: {"observer.thing.v1": {}},
    words=lambda: Words(location_kinds=(LocationKind("observer.thing", "A thing."),), roles=("observer.owner",)),
    listeners=lambda: [Listener("diary", ("v1.core.ingested",), print)],
    run=run,
)
"""


class Site:
    """A directory of distributions as pip leaves them, without pip."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def install(self, distribution: str, plugin: str, code: str, *, version: str = "1.2.3") -> None:
        module = distribution.replace("-", "_")
        (self.folder / f"{module}.py").write_text(code)
        info = self.folder / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{PLUGINS}]\n{plugin} = {module}:PLUGIN\n")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def cli(site: Site, home: Path) -> Cli:
    """The command line beside these distributions."""

    def run(*arguments: str, **settings: str) -> CliResult:
        return CliResult(start_cli(home, *arguments, settings={"PYTHONPATH": str(site.folder), **settings}))

    return run


@pytest.fixture
def observer(site: Site, cli: Cli) -> Cli:
    site.install("observer-plugin", "observer", OBSERVER)
    return cli


def listed(cli: Cli, **settings: str) -> dict[tuple[str, str | None], Any]:
    """By name and distribution."""
    answer = cli("plugin", "list", **settings)
    assert (answer.code, answer.stderr) == (0, "")
    return {(each["name"], each["distribution"]): each for each in answer.document["plugins"]}


# list


def test_the_built_in_plugins_are_listed_with_what_they_may_do(cli: Cli) -> None:
    found = listed(cli)

    assert set(found) == {(name, "artifactstore") for name in ENTRY_POINTS[PLUGINS]}
    assert {each["version"] for each in found.values()} == {VERSION}
    assert {each["error"] for each in found.values()} == {None}
    assert found["core", "artifactstore"]["capabilities"] == []
    assert found["guide-board", "artifactstore"]["capabilities"] == ["ingest"]
    assert found["guide-board", "artifactstore"]["webhook_formats"] == ["guide-board.state-hub"]


def test_the_settings_say_what_is_granted(observer: Cli) -> None:
    found = listed(observer, **{GRANTED: "observer=emit,ingest;guide-board="})

    assert found["observer", "observer-plugin"]["capabilities"] == ["emit", "ingest"]
    assert found["guide-board", "artifactstore"]["capabilities"] == []


def test_a_plugin_of_others_is_listed_with_all_that_it_registers(observer: Cli) -> None:
    assert listed(observer)["observer", "observer-plugin"] == {
        "name": "observer",
        "distribution": "observer-plugin",
        "version": "1.2.3",
        "contract_version": "2",
        "summary": "Observes.",
        "words": {
            "location_kinds": [{"name": "observer.thing", "summary": "A thing."}],
            "identifier_kinds": [],
            "roles": ["observer.owner"],
            "trust_levels": [],
        },
        "listeners": [{"name": "observer.diary", "event_types": ["v1.core.ingested"]}],
        "webhook_formats": [],
        "schemas": ["observer.thing.v1"],
        "runs": True,
        "capabilities": [],
        "error": None,
    }


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("PLUGIN = 'text'", "is not a Plugin"),
        (OBSERVER.replace('name="observer"', 'name="another"'), "is not a Plugin of this name"),
        (OBSERVER.replace("roles=(", "roles=('owner', "), "registers 'owner'"),
        (OBSERVER.replace("words=lambda: ", "words=lambda: 1 / 0 or "), "failed to say its words"),
        (OBSERVER.replace("listeners=lambda: ", "listeners=lambda: 1 / 0 or "), "failed to say its listeners"),
        (OBSERVER.replace('"v1.core.ingested"', '"v1.core.injested"'), "which is no type of event"),
        (OBSERVER.replace('summary="Observes."', "summary=object()"), "failed to describe itself"),
        (OBSERVER.replace('summary="Observes."', "summary=float('nan')"), "failed to describe itself"),
    ],
)
def test_one_that_cannot_be_used_is_named_and_the_others_are_shown(site: Site, cli: Cli, code: str, said: str) -> None:
    site.install("broken-plugin", "observer", code)
    site.install(
        "whole-plugin", "whole", OBSERVER.replace('name="observer"', 'name="whole"').replace("observer.", "whole.")
    )

    found = listed(cli)

    broken = found["observer", "broken-plugin"]
    assert (broken["version"], broken["error"]["code"]) == ("1.2.3", "PLUGIN_FAILED")
    assert said in broken["error"]["message"]
    assert found["whole", "whole-plugin"]["error"] is None
    assert found["core", "artifactstore"]["error"] is None


def test_the_name_of_a_built_in_one_is_refused_to_others(site: Site, cli: Cli) -> None:
    site.install("impostor", "guide-board", "raise AssertionError('it must not be imported')")

    found = listed(cli)

    assert found["guide-board", "artifactstore"]["error"] is None
    refused = found["guide-board", "impostor"]
    assert refused["error"]["code"] == "PLUGIN_FAILED"
    assert "not used" in refused["error"]["message"]
    assert refused["capabilities"] == []


def test_two_of_one_name_are_both_shown_and_neither_is_used(site: Site, observer: Cli) -> None:
    site.install("second-observer", "observer", OBSERVER)

    found = listed(observer)
    ran = observer("plugin", "run", "observer")

    assert {found["observer", name]["error"]["code"] for name in ("observer-plugin", "second-observer")} == {
        "CONFIGURATION_INVALID"
    }
    assert ran.code == 1
    assert "observer-plugin and second-observer" in ran.stderr


# run


def test_it_records_what_it_is_granted_to(observer: Cli) -> None:
    granted = {GRANTED: "observer=ingest"}

    first = observer("plugin", "run", "observer", "observe", "a", **granted)
    second = observer("plugin", "run", "observer", "observe", "a", **granted)

    assert [first.document, second.document] == [{"new": True}, {"new": False}]
    actors = {event["actor"] for event in observer("events").document["events"]}
    assert actors == {"plugin:observer@1.2.3"}


def test_it_is_denied_what_it_is_not_granted(observer: Cli) -> None:
    answer = observer("plugin", "run", "observer", "observe", "a")

    assert answer.code == 1
    assert answer.stdout == ""
    assert "error: CAPABILITY_DENIED: the plug-in 'observer' is not granted 'ingest'" in answer.stderr
    assert f"hint: The operator grants it: {GRANTED}='observer=ingest'." in answer.stderr


def test_what_follows_the_name_is_the_plugins(observer: Cli) -> None:
    own = [
        "--server",
        "http://nowhere",
        "--backend=x",
        "--debug",
        "--quiet",
        "--help",
        "-x",
        "--",
        "y",
        "--no-progress",
    ]

    answer = observer("--quiet", "plugin", "--no-progress", "run", "observer", *own)

    assert answer.document == {"arguments": own}


def test_options_that_hold_everywhere_stand_before_the_name(observer: Cli) -> None:
    at_a_server = observer("plugin", "run", "--server", "http://127.0.0.1:9", "observer", "observe", "a")
    without_value = observer("plugin", "run", "--server")
    in_a_backend = observer("--backend", "unknown", "plugin", "run", "observer")

    assert "127.0.0.1:9" in at_a_server.stderr
    assert "--server needs a value" in without_value.stderr
    assert "BACKEND_UNKNOWN" in in_a_backend.stderr


def test_what_it_prints_itself_does_not_spoil_the_answer(observer: Cli) -> None:
    answer = observer("plugin", "run", "observer", "nothing")

    assert (answer.document, answer.stderr) == ({}, "words of its own\n")


def test_an_error_of_ours_passes_as_it_is(observer: Cli) -> None:
    answer = observer("plugin", "run", "observer", "refuse")

    assert answer.code == 1
    assert answer.stderr.endswith("error: USAGE: not like this\nhint: Like that.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["divide"], "ZeroDivisionError: division by zero"),
        (["unprintable"], "TypeError: Object of type object is not JSON serializable"),
        (["uncountable"], "ValueError: Out of range float values are not JSON compliant"),
        (["exit", "7"], "it ended with 7"),
    ],
)
def test_another_error_is_the_plugins(observer: Cli, arguments: list[str], said: str) -> None:
    answer = observer("plugin", "run", "observer", *arguments)

    assert (answer.code, answer.stdout) == (2, "")
    assert f"error: PLUGIN_FAILED: the plug-in 'observer' failed: {said}" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_debug_shows_where_a_plugin_failed(observer: Cli) -> None:
    answer = observer("--debug", "plugin", "run", "observer", "divide")

    assert 'return {"never": 1 / 0}' in answer.stderr


@pytest.mark.parametrize(("ends_with", "code"), [("0", 0), ("2", 1)])
def test_it_may_end_as_argparse_does(observer: Cli, ends_with: str, code: int) -> None:
    answer = observer("plugin", "run", "observer", "exit", ends_with)

    assert (answer.code, answer.stdout) == (code, "")
    assert ("does not take these arguments" in answer.stderr) == (code == 1)


def test_one_without_anything_to_run_says_so(cli: Cli) -> None:
    answer = cli("plugin", "run", "guide-board", "x")

    assert answer.code == 1
    assert "'guide-board' has nothing to run" in answer.stderr


def test_an_unknown_plugin_is_no_plugin(cli: Cli) -> None:
    answer = cli("plugin", "run", "nobody")

    assert answer.code == 1
    assert "PLUGIN_UNKNOWN" in answer.stderr


# what capabilities were called


def test_older_names_of_a_capability_are_taken_with_one_line(observer: Cli) -> None:
    answer = observer("plugin", "list", **{GRANTED: "observer=source_write,emit_envelopes"})

    assert answer.code == 0
    assert answer.stderr == "warning: source_write,emit_envelopes of the plug-in observer is now called ingest\n"


def test_quiet_keeps_the_line_away(observer: Cli) -> None:
    answer = observer("plugin", "list", "--quiet", **{GRANTED: "observer=source_write,emit_envelopes"})

    assert (answer.code, answer.stderr) == (0, "")
