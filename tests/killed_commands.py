"""Commands that kill themselves at a failpoint, each in a copy of the same store, and what must be true of it then."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.registry.packages import list_packages
from artifactstore.registry.verify import verify_all
from tests.support import SIGKILLED, CliResult, fetch, replay_is_exact, start_cli

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    SettingsFor = Callable[[Path], Mapping[str, str]]

_NAMED = "failpoint "


def push(folder: Path, external_id: str = "run-1") -> tuple[str, ...]:
    return ("push", str(folder), "--producer", "tester", "--external-id", external_id)


def failpoints_of(
    template: Path, home: Path, command: tuple[str, ...], settings_for: SettingsFor = lambda _: {}
) -> list[str]:
    """All that a command passes in a copy of a store, in order; it is not killed."""
    lines = _run(0, template, home, command, settings_for).stderr.splitlines()
    return [line.removeprefix(_NAMED) for line in lines if line.startswith(_NAMED)]


def killed_at(
    hit: int, template: Path, home: Path, command: tuple[str, ...], settings_for: SettingsFor = lambda _: {}
) -> Path:
    """A copy of a store in which a command was killed at one of these, counted from 1; it had answered nothing."""
    killed = _run(hit, template, home, command, settings_for)
    assert (killed.code, killed.stdout) == (SIGKILLED, ""), (hit, command)
    return home


def check_store(home: Path, folder: Path) -> None:
    """Nothing half-recorded; what is recorded is whole."""
    folder.mkdir()
    with closing(open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}))) as registry:
        assert [] == verify_all(registry).damage
        replay_is_exact(registry)
        for package in list_packages(registry, limit=100):
            assert package.status == "finalized"
            fetch(registry, package.package_id, folder / package.package_id)


def _run(hit: int, template: Path, home: Path, command: tuple[str, ...], settings_for: SettingsFor) -> CliResult:
    if template.exists():
        shutil.copytree(template, home)
    crashing = ("-m", "tests.crash_at")
    return CliResult(start_cli(home, str(hit), *command, program=crashing, settings=settings_for(home)))
