"""A run directory as a value: what is said of the run, which files it has, and which of them nothing declares."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.errors import Problem
from artifactstore.pilots.guide_board import layout
from artifactstore.pilots.guide_board.artifacts import check_artifacts, read_artifact_manifest
from artifactstore.pilots.guide_board.documents import Documents
from artifactstore.pilots.guide_board.facts import RunFacts, read_facts
from artifactstore.pilots.guide_board.observation import RunObservation, read_observation
from artifactstore.pilots.guide_board.refusal import refusal
from artifactstore.plugins import DirectoryTree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from artifactstore.plugins import FileSource, TreeFile


class RunFile(NamedTuple):
    """A file of the run."""

    path: str
    role: str
    source: FileSource
    expected_sha256: bytes | None
    """The declared checksum, which the file had when the run was read."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is complete and agrees with itself. Files in path order."""

    facts: RunFacts
    observation: RunObservation
    files: tuple[RunFile, ...]
    """What this pilot or the run's assessment package declares, each file once."""
    undeclared: tuple[RunFile, ...]

    @property
    def report_paths(self) -> tuple[str, ...]:
        """The declared files among the reports."""
        return tuple(file.path for file in self.files if file.path.startswith(layout.REPORTS_FOLDER))


@contextmanager
def open_run(path: Path, *, max_files: int) -> Iterator[Run]:
    """The run in a directory; its files can be read while the context is open. Raises what ``read_run`` raises."""
    with DirectoryTree(path) as tree:
        yield read_run(tree, max_files=max_files)


def read_run(tree: DirectoryTree, *, max_files: int) -> Run:
    """Read and check a run, its declared checksums included.

    Raises ``RunDirectoryError`` naming what is missing or contradictory, ``LinkInvalidError`` or
    ``FileUnreadableError`` for anything in the directory that is not a file within it, and ``FileChangedError``.
    """
    found = {file.path: file for file in sorted(tree.files(max_files=max_files), key=lambda file: file.path)}
    _check_complete(found)
    documents = Documents(found)
    _check_objects(documents)
    facts = read_facts(documents)
    observation = read_observation(documents)
    artifacts = read_artifact_manifest(documents)
    sources = {path: documents.source(path) for path in found}
    check_artifacts(artifacts, sources)

    roles = {**{artifact.path: layout.RAW_ARTIFACT_ROLE for artifact in artifacts}, **layout.ROLES}
    checksums = {artifact.path: bytes.fromhex(artifact.sha256) for artifact in artifacts if artifact.sha256}
    files = [
        RunFile(path, roles.get(path, layout.UNDECLARED_ROLE), source, checksums.get(path))
        for path, source in sources.items()
    ]
    return Run(
        facts,
        observation,
        files=tuple(file for file in files if file.path in roles),
        undeclared=tuple(file for file in files if file.path not in roles),
    )


def _check_objects(documents: Documents) -> None:
    paths = (layout.RUN, layout.SUMMARY, layout.ASSESSMENT_PACKAGE)
    wrong = [
        Problem(path, "does not hold a JSON object") for path in paths if not isinstance(documents.value(path), dict)
    ]
    if wrong:
        raise refusal(wrong, hint="Let guide-board write the run again, or restore the file.")


def _check_complete(found: Mapping[str, TreeFile]) -> None:
    missing = [Problem(path, "is missing") for path in layout.REQUIRED if path not in found]
    if missing:
        raise refusal(missing, hint="Name the directory of one finished run: runs/<run-id>.")
