"""The raw artifacts of a run: what its assessment package declares, and whether the files are what it says."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.domain.paths import path_problem
from artifactstore.errors import Problem
from artifactstore.pilots.guide_board import layout
from artifactstore.pilots.guide_board.documents import as_list, first_text
from artifactstore.pilots.guide_board.refusal import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.guide_board.documents import Documents
    from artifactstore.plugins import FileSource

_BUFFER_BYTES = 1024 * 1024
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


class DeclaredArtifact(NamedTuple):
    """One entry of the artifact manifest."""

    path: str
    sha256: str | None
    """64 lower-case hex digits; None where no checksum is declared."""


def read_artifact_manifest(documents: Documents) -> tuple[DeclaredArtifact, ...]:
    """The declared artifacts. Raises ``RunDirectoryError`` naming every entry that cannot be read as one."""
    entries = documents.first(layout.ARTIFACT_ENTRIES, as_list)
    if entries is None:
        problem = Problem("artifact_manifest", f"is missing: no list is in {', '.join(layout.ARTIFACT_ENTRIES)}")
        raise refusal([problem], hint="A run without raw artifacts says so with an empty list.")
    problems: list[Problem] = []
    declared = [_declared(f"artifact_manifest/{index}", entry, problems) for index, entry in enumerate(entries)]
    if problems:
        raise refusal(
            problems, hint="An entry has a path below the run directory and may have a SHA-256 in hex digits."
        )
    return tuple(declared)


def check_artifacts(artifacts: Sequence[DeclaredArtifact], files: Mapping[str, FileSource]) -> None:
    """Raises ``RunDirectoryError`` naming every declared file that is missing or has another checksum.

    Every file with a declared checksum is read once, as a stream.
    """
    wrong = {artifact.path: what for artifact in artifacts if (what := _disagreement(artifact, files))}
    if wrong:
        raise refusal(
            [Problem(repr(path), what) for path, what in wrong.items()],
            hint="The files are not those of the run: restore them, or let guide-board run again.",
        )


def _declared(where: str, entry: JsonValue, problems: list[Problem]) -> DeclaredArtifact:
    path = (first_text(entry, layout.ARTIFACT_PATH_POINTERS) or "").removeprefix("./")
    if not path:
        problems.append(Problem(where, f"has no path in {', '.join(layout.ARTIFACT_PATH_POINTERS[1:])}"))
    elif what := path_problem(path):
        problems.append(Problem(where, f"leaves the run directory or is no path in it: {path!r} {what}"))
    checksum = first_text(entry, layout.CHECKSUM_POINTERS)
    if checksum is None and not _has_checksum(entry):
        return DeclaredArtifact(path, None)
    if not (sha256 := _SHA256.fullmatch((checksum or "").lower())):
        problems.append(Problem(where, f"has a checksum of {path!r} that is not a SHA-256: {(checksum or '')[:100]!r}"))
        return DeclaredArtifact(path, None)
    return DeclaredArtifact(path, sha256[1])


def _has_checksum(entry: JsonValue) -> bool:
    """Whether it has one of any kind: what cannot be checked must not pass for checked."""
    members = {pointer.split("/")[1] for pointer in layout.CHECKSUM_POINTERS}
    return isinstance(entry, dict) and any(entry.get(key) is not None for key in members)


def _disagreement(artifact: DeclaredArtifact, files: Mapping[str, FileSource]) -> str | None:
    if artifact.path not in files:
        return f"is missing: {layout.ASSESSMENT_PACKAGE} declares it, but there is no such file"
    if artifact.sha256 is None:
        return None
    found = _sha256_of(files[artifact.path])
    if found == artifact.sha256:
        return None
    return f"has SHA-256 {found}, but {layout.ASSESSMENT_PACKAGE} declares {artifact.sha256}"


def _sha256_of(source: FileSource) -> str:
    digest = hashlib.sha256()
    opened = source.open()
    try:
        while data := opened.read(_BUFFER_BYTES):
            digest.update(data)
        opened.finish()
    finally:
        opened.close()
    return digest.hexdigest()
