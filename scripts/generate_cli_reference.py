"""Write docs/reference/cli.md from the command line itself.

    python scripts/generate_cli_reference.py

tests/test_docs.py compares the page with ``cli_reference()``, so it cannot fall behind.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main

from artifactstore.cli.app import build_app
from artifactstore.cli.door import Door

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
WIDTH = 100
HEAD = """\
# The command line

Written by `scripts/generate_cli_reference.py` from the commands themselves; do not edit it by hand.

Standard output carries one JSON document per command, or raw bytes where they were asked for.
Words, progress bars and errors go to standard error.

These options may stand anywhere before `--`; for `plugin run`, before the name of the plug-in:

| option | meaning |
|---|---|
| `--debug` | show a stack trace with an error |
| `--quiet` | no words on standard error but errors |
| `--no-progress` | no progress bar (without a terminal there is none anyway) |

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | you can mend it: bad input, an unknown id, a conflict with what is recorded, a wrong setting |
| 2 | the system failed, or damage was found |
| 3 | part of it was done (for commands over many things, such as `duties run`) |
| 130 | interrupted from the keyboard |

[errors.md](errors.md) lists every error code with its exit code, [settings.md](settings.md) every setting.
"""


def cli_reference() -> str:
    """The page."""
    root: Any = typer.main.get_command(build_app(Door()))
    context = root.make_context("artifactstore", [], resilient_parsing=True, terminal_width=WIDTH)
    return "\n".join([HEAD, *_sections(root, context)])


def _sections(command: Any, context: Any) -> Iterator[str]:
    """A command's own section, then those of its subcommands in the order they are listed."""
    yield f"## {context.command_path}\n\n```text\n{_help(command, context)}\n```\n"
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        below = command.get_command(context, name)
        yield from _sections(below, type(context)(below, info_name=name, parent=context, terminal_width=WIDTH))


def _help(command: Any, context: Any) -> str:
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


if __name__ == "__main__":
    PAGE.write_text(cli_reference(), encoding="utf-8")
