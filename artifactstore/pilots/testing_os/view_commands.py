"""``artifactstore testing-os history``, ``failing``, ``indexes`` and ``portfolio``: what the records say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.pilots.testing_os.answer_schemas import MOST_DAYS
from artifactstore.pilots.testing_os.command_options import AsOf, PolicyPlace, RepoRoot, instant_or_now, recording
from artifactstore.plugins import UsageError

if TYPE_CHECKING:
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.plugins import CommandDoor

_INDEXES = ("latest-by-repo", "failing", "stale")

Index = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help=f"{', '.join(_INDEXES)}; all three without it.", show_default=False),
]
Days = Annotated[
    float | None,
    typer.Option(metavar="N", min=0, max=MOST_DAYS, help="When a record is stale; 30.", show_default=False),
]


def add_view_commands(group: typer.Typer, door: CommandDoor) -> None:
    """Add them."""

    @group.command("history")
    def _history(
        repo: Annotated[str, typer.Argument(metavar="ORG/REPO", show_default=False)],
        after: Annotated[str | None, typer.Option(metavar="ID", help="Start after this package.")] = None,
        limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 100,
    ) -> None:
        """List a repository's records, rejected ones too, the latest to finish first.

        "next_after" in the answer is what to give --after for the next page; null at the end.

        Example: artifactstore testing-os history octo-org/widget --limit 10
        """
        from artifactstore.pilots.testing_os.views import history

        with door.context() as context:
            door.answer(history(recording(context).contributed(), repo, after=after, limit=limit))

    @group.command("failing")
    def _failing(
        repo: Annotated[
            str | None, typer.Option(metavar="ORG/REPO", help="Of this repository only.", show_default=False)
        ] = None,
    ) -> None:
        """List every surface whose latest accepted record has not passed, and since when it has not.

        Example: artifactstore testing-os failing
        """
        from artifactstore.pilots.testing_os.views import failing

        with door.context() as context:
            door.answer(failing(recording(context).contributed(), repo))

    @group.command("indexes")
    def _indexes(name: Index = None, days: Days = None, as_of: AsOf = None) -> None:
        """Print an index as its file has it, to the byte, or all three as one document.

        Example: artifactstore testing-os indexes stale --days 14
        """
        indexes_command(door, name, days, as_of)

    @group.command("portfolio")
    def _portfolio(
        repo_root: RepoRoot = Path(),
        policies: PolicyPlace = None,
        output: Annotated[
            Path | None, typer.Option(metavar="FILE", help="Write the report there, whole.", show_default=False)
        ] = None,
        as_of: AsOf = None,
    ) -> None:
        """Report what all repositories have shown, how fresh it is by their policies, and what is missing.

        Policies that cannot be judged by are passed over and named on standard error.

        Example: artifactstore testing-os portfolio --repo-root . --output reports/dogfood-portfolio.json
        """
        portfolio_command(door, repo_root, policies, output, as_of)


def indexes_command(door: CommandDoor, name: str | None, days: float | None, as_of: str | None) -> None:
    """Raises ``UsageError`` for an index that there is not, and for a threshold where there is none."""
    from artifactstore.pilots.testing_os.exporting import index_documents
    from artifactstore.pilots.testing_os.index_documents import STALE_DAYS

    if name not in {None, *_INDEXES}:
        raise UsageError(f"there is no index {str(name)[:40]!r}", hint=f"There are {', '.join(_INDEXES)}.")
    if days is not None and name not in {None, "stale"}:
        raise UsageError("--days is what makes a record stale; no other index has a threshold")
    with door.context() as context:
        found = index_documents(
            recording(context).contributed(),
            as_of=instant_or_now(as_of),
            stale_days=STALE_DAYS if days is None else days,
        )
    if name is None:
        door.answer({"latest-by-repo": found.latest_by_repo, "failing": found.failing, "stale": found.stale})
    else:
        _print(found.files()[f"{name}.json"])


def portfolio_command(
    door: CommandDoor, repo_root: Path, policies: str | None, output: Path | None, as_of: str | None
) -> None:
    """Print the report, or write it and answer what was written."""
    from artifactstore.pilots.testing_os.policy_sources import policies_of
    from artifactstore.pilots.testing_os.portfolio import recorded_portfolio
    from artifactstore.pilots.testing_os.whole_file import write_whole

    with door.context() as context:
        contributed = recording(context).contributed()
        named = policies_of(contributed, repo_root, policies)
        report = recorded_portfolio(contributed, named, as_of=instant_or_now(as_of))
    for problem in report.problems:
        door.say(f"warning: {problem.where}: {problem.what}")
    if output is None:
        _print(report.file())
        return
    write_whole(output, report.file())
    passed_over: list[JsonValue] = [problem.where for problem in report.problems]
    told = ("stale", "missing", "unknown_freshness")
    counts: dict[str, JsonValue] = {name: len(report.listed(name)) for name in told}
    door.answer({"output": str(output), "coverage": report.document["coverage"], **counts, "passed_over": passed_over})


def _print(document: bytes) -> None:
    """The bytes as they are: what is compared with a file is to be equal."""
    sys.stdout.buffer.write(document)
    sys.stdout.buffer.flush()
