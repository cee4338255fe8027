"""What every command is given: the store, and the two ways to speak.

Standard output carries one JSON document per command, or raw bytes where they were asked for. Warnings and
errors go to standard error; progress bars too, and only when a person is watching.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from artifactstore.registry.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import typer

    from artifactstore.errors import ArtifactStoreError
    from artifactstore.plugins.contract import Plugin, PluginContext
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry

_SHOWN_PROBLEMS = 50


@dataclass(slots=True)
class Door:
    """The options that hold for every command, and what they govern. Pilots see it as a ``CommandDoor``."""

    debug: bool = False
    quiet: bool = False
    show_progress: bool = True

    @property
    def someone_is_watching(self) -> bool:
        """Whether words on standard error reach a person."""
        return not self.quiet and sys.stderr.isatty()

    @contextmanager
    def registry(self) -> Iterator[Registry]:
        """The store that the settings name; created on first use."""
        from artifactstore.bootstrap import open_registry

        registry = open_registry()
        try:
            yield registry
        finally:
            registry.close()

    @contextmanager
    def context(self, plugin: Plugin) -> Iterator[PluginContext]:
        """A plug-in's context on that store."""
        from artifactstore.plugins.context import EmbeddedContext

        with self.registry() as registry, self.progress() as progress:
            yield EmbeddedContext(registry, plugin, progress=progress)

    @contextmanager
    def progress(self, *, total_bytes: int | None = None) -> Iterator[Progress]:
        """A progress bar on a terminal, silence elsewhere. The total serves work that does not know its own."""
        if not (self.show_progress and self.someone_is_watching):
            yield SILENT
            return
        from artifactstore.cli.progress import progress_bar

        with progress_bar(total_bytes) as bar:
            yield bar

    def answer(self, document: Mapping[str, object]) -> None:
        """Print the command's JSON document, in UTF-8 whatever the locale."""
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        sys.stdout.buffer.write(text.encode(errors="backslashreplace"))
        sys.stdout.buffer.flush()

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
