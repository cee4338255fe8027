"""The options that several commands of this pilot have, their exit codes, and how each comes to its context."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from artifactstore.plugins import UsageError

if TYPE_CHECKING:
    from artifactstore.domain.instant import Instant
    from artifactstore.plugins import PluginContext
    from artifactstore.plugins.contributed import RecordingContext

DONE, CALLER, SYSTEM, MIXED = range(4)

Payload = Annotated[
    list[str] | None,
    typer.Option(
        "--payload", metavar="FILE", show_default=False,
        help="A submission; .ndjson has one in each line, a directory one in each file. Without it: standard input.",
    ),
]  # fmt: skip
RepoRoot = Annotated[
    Path,
    typer.Option("--repo-root", metavar="DIR", help="Has policies/, and gets records/ and indexes/."),
]
Provenance = Annotated[
    str,
    typer.Option("--provenance", metavar="HOW", help="github, or stub for trials: it confirms what nobody looked up."),
]
Scenarios = Annotated[
    Path | None,
    typer.Option(
        "--scenarios", metavar="DIR", show_default=False,
        help="Definitions of scenarios; without it those that GitHub has at the commit.",
    ),
]  # fmt: skip
Profile = Annotated[str, typer.Option("--profile", metavar="NAME", help="default, or 1.1 for those who migrate.")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="TIME", show_default=False, help="When ages and review dates are judged; now."),
]
Lines = Annotated[bool, typer.Option("--ndjson", help="Standard input has a submission in each line.")]
VerifyOnly = Annotated[bool, typer.Option("--verify-only", help="Judge, and record nothing.")]
PolicyPlace = Annotated[
    str | None,
    typer.Option(
        "--policies", metavar="DIR|store", show_default=False,
        help="A directory, or store: what is adopted. Without it policies/ of --repo-root, else what is adopted.",
    ),
]  # fmt: skip


def payload_paths(named: list[str] | None, *, has_lines: bool) -> list[Path]:
    """What --payload names. Raises ``UsageError`` for what is no name of a file."""
    for name in named or ():
        if not name:
            raise UsageError("--payload names nothing", hint="Is a variable empty? Without --payload: standard input.")
        if name.lstrip()[:1] in {"{", "["}:
            raise UsageError("--payload names a file, and this is JSON", hint="Send it on standard input.")
    if named and has_lines:
        raise UsageError("--ndjson is about standard input", hint="A file of lines is told by its name: .ndjson.")
    return [Path(name) for name in named or ()]


def recording(context: PluginContext) -> RecordingContext:
    """Raises ``UsageError`` for a context on a server, which has no such commands."""
    if not hasattr(context, "contributed"):
        raise UsageError(
            "this command works on the host of the store",
            hint="Run it there without --server, or ask the server below /pilots/testing-os/.",
        )
    return cast("RecordingContext", context)


def instant(text: str | None) -> Instant | None:
    """The time that is named; None if none is."""
    from artifactstore.domain.instant import parse_instant

    return None if text is None else parse_instant(text)


def instant_or_now(text: str | None) -> Instant:
    """The time that is named, or now."""
    from artifactstore.domain.instant import system_clock

    named = instant(text)
    return system_clock() if named is None else named
