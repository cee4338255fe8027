"""What every command is given: the store, embedded or behind a server, and the two ways to speak.

Standard output carries one JSON document per command, or raw bytes where they were asked for. Warnings and
errors go to standard error; progress bars too, and only when a person is watching.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from artifactstore.errors import UsageError
from artifactstore.registry.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    import typer

    from artifactstore.cli.stores import Store
    from artifactstore.config import Settings
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.errors import ArtifactStoreError
    from artifactstore.plugins.contract import PluginContext
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry

_SHOWN_PROBLEMS = 50


@dataclass(slots=True)
class Door:
    """The options that hold for every command, and what they govern."""

    debug: bool = False
    quiet: bool = False
    show_progress: bool = True
    server: str | None = None
    """The address of a server, if the line names one; else the settings decide."""

    backend: str | None = None
    """Where new packages are to lie, if the line names it."""

    @property
    def someone_is_watching(self) -> bool:
        """Whether words on standard error reach a person."""
        return not self.quiet and sys.stderr.isatty()

    @property
    def stdout_is_a_terminal(self) -> bool:
        """Whether a person reads the answer, where a command has one for people."""
        return sys.stdout.isatty()

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The store that the line or the settings name: a server's, or this host's, created on first use."""
        store = self._open_store()
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def registry(self) -> Iterator[Registry]:
        """The store of this host, for what only its host can do. Raises ``UsageError`` if a server is named."""
        from artifactstore.bootstrap import open_registry

        self.require_embedded()
        registry = open_registry(self._settings())
        try:
            yield registry
        finally:
            registry.close()

    def require_embedded(self) -> None:
        """Raises ``UsageError`` if the line or the settings name a server."""
        if server := self._server(self._settings()):
            raise UsageError(
                f"this command works on the host of the store, and {server} is a server",
                hint="Run it there, without --server and ARTIFACTSTORE_API_URL.",
            )

    @contextmanager
    def context(self, plugin: str) -> Iterator[PluginContext]:
        """The context, on the store, of the installed plug-in of this name. Raises as ``load_plugin`` does."""
        from artifactstore.built_in import load_plugin

        loaded = load_plugin(plugin)
        with self.store() as store, self.progress() as progress:
            yield store.context(loaded, progress=progress)

    @contextmanager
    def progress(self, *, total_bytes: int | None = None) -> Iterator[Progress]:
        """A progress bar on a terminal, silence elsewhere. The total serves work that does not know its own."""
        if not (self.show_progress and self.someone_is_watching):
            yield SILENT
            return
        from artifactstore.cli.progress import progress_bar

        with progress_bar(total_bytes) as bar:
            yield bar

    def answer(self, document: Mapping[str, object], *, on_one_line: bool = False) -> None:
        """Print the command's JSON document, in UTF-8 whatever the locale."""
        text = json.dumps(document, indent=None if on_one_line else 2, ensure_ascii=False) + "\n"
        sys.stdout.buffer.write(text.encode(errors="backslashreplace"))
        sys.stdout.buffer.flush()

    def tell(self, lines: Iterable[str]) -> None:
        """Print the command's answer for a person, on a terminal."""
        sys.stdout.write("".join(f"{_one_line_each(line)}\n" for line in lines))

    def say(self, text: str) -> None:
        """Tell a person something."""
        if not self.quiet:
            sys.stderr.write(f"{_one_line_each(text)}\n")

    def report(self, error: ArtifactStoreError) -> None:
        """Print an error: code and message, every problem, the hint."""
        lines = [f"error: {error.code}: {error.message}"]
        told = [] if _says_it_all(error) else error.problems
        lines += [f"  {problem.where or '/'}: {problem.what}" for problem in told[:_SHOWN_PROBLEMS]]
        if (more := len(told) - _SHOWN_PROBLEMS) > 0:
            lines.append(f"  and {more} more")
        if error.hint:
            lines.append(f"hint: {error.hint}")
        sys.stderr.write("".join(f"{_one_line_each(line)}\n" for line in lines))

    def _open_store(self) -> Store:
        settings = self._settings()
        if server := self._server(settings):
            from artifactstore.cli.remote import RemoteStore

            return RemoteStore.open(server, settings, backend=self.backend)
        from artifactstore.cli.embedded import EmbeddedStore

        return EmbeddedStore.open(settings, backend=self.backend)

    def _server(self, settings: Settings) -> str | None:
        if self.server is None:
            return settings.api_url
        from artifactstore.config import parse_server_url

        return parse_server_url(self.server, what="--server")

    def _settings(self) -> Settings:
        from artifactstore.config import Settings

        return Settings.from_environment()


class PluginDoor:
    """The ``CommandDoor`` of one plug-in: its commands are handed no other's context."""

    def __init__(self, door: Door, plugin: str) -> None:
        self._door = door
        self._plugin = plugin

    def context(self) -> AbstractContextManager[PluginContext]:
        """See ``CommandDoor``."""
        return self._door.context(self._plugin)

    def answer(self, document: Mapping[str, JsonValue], *, on_one_line: bool = False) -> None:
        """See ``CommandDoor``."""
        self._door.answer(document, on_one_line=on_one_line)

    def say(self, text: str) -> None:
        """See ``CommandDoor``."""
        self._door.say(text)


def door_of(context: typer.Context) -> Door:
    """The door that ``main`` opened for this run."""
    door: Door = context.find_root().obj
    return door


def _says_it_all(error: ArtifactStoreError) -> bool:
    """Whether the message already is the only problem."""
    return len(error.problems) == 1 and error.problems[0].what in error.message


def _one_line_each(text: str) -> str:
    """Text that cannot move a terminal's cursor or fail to encode, whatever a file name holds."""
    shown = "".join(
        character if character.isprintable() or character == "\n" else repr(character)[1:-1] for character in text
    )
    return shown.encode(errors="backslashreplace").decode()
