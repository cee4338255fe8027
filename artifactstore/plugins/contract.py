"""The types of the contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    import typer

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.manifest import Manifest
    from artifactstore.domain.package import PackageDraft, PackageReceipt


class PluginContext(Protocol):
    """What a plug-in is handed. Its name and version are in it already and cannot be given."""

    @property
    def max_files(self) -> int:
        """How many files a package may have here."""

    def ingest_package(self, draft: PackageDraft, *, as_revision: bool = False) -> PackageReceipt:
        """Record a draft as one package; see ``registry.ingest``."""

    def check_package(self, draft: PackageDraft) -> Manifest:
        """Everything ``ingest_package`` would check, and the manifest it would record; nothing is stored."""


class CommandDoor(Protocol):
    """What a contributed command may do."""

    def context(self, plugin: Plugin) -> AbstractContextManager[PluginContext]:
        """A context on the store that the command line names."""

    def answer(self, document: Mapping[str, JsonValue]) -> None:
        """Print the command's one JSON document on standard output."""

    def say(self, text: str) -> None:
        """Tell a person something, on standard error, unless they asked for quiet."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """How a plug-in describes itself; its entry point in the group ``artifactstore.plugins`` names one of these."""

    name: str
    version: str
    summary: str
    schemas: Callable[[], Mapping[str, JsonValue]] = field(default=dict)
    """Its metadata schemas by slug; registered when they are first needed."""
    add_commands: Callable[[typer.Typer, CommandDoor], None] | None = None
    """Adds the commands of its group to the command line."""
