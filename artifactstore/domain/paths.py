"""Logical paths: how a file is named inside a package, on every platform, for ever.

Relative, ``/`` between segments, Unicode NFC, no empty or ``.`` or ``..`` segment, no control character, no backslash,
no drive letter, at most 1,024 bytes of UTF-8; within a package no path twice and none the parent of another. Two paths
that differ only in case are legal and reported, because some file systems cannot hold both.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from artifactstore.errors import PathInvalidError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_PATH_BYTES = 1024

_ORDINARY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@=, -]*(?:/[A-Za-z0-9_][A-Za-z0-9_.+@=, -]*)*")
"""Paths that need no closer look; a shortcut for the common case, not the rule."""
_DRIVE = re.compile(r"[A-Za-z]:")


def path_problem(path: str) -> str | None:
    """What is wrong with one path, in words; None if it is legal."""
    if len(path) <= MAX_PATH_BYTES and _ORDINARY.fullmatch(path):
        return None
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    if len(encoded) > MAX_PATH_BYTES:
        return f"is {len(encoded)} bytes long, more than {MAX_PATH_BYTES}"
    return _character_problem(path) or _segment_problem(path)


def _character_problem(path: str) -> str | None:
    if not path.isascii() and not unicodedata.is_normalized("NFC", path):
        return "is not in Unicode normalisation form C"
    if any(unicodedata.category(character) == "Cc" for character in path):
        return "has a control character"
    return "has a backslash" if "\\" in path else None


def _segment_problem(path: str) -> str | None:
    if path.startswith("/") or _DRIVE.match(path):
        return "is not relative"
    segments = path.split("/")
    if "" in segments:
        return "has an empty segment"
    return "has a . or .. segment" if "." in segments or ".." in segments else None


def check_paths(paths: Sequence[str]) -> None:
    """Raise ``PathInvalidError`` naming every path that is illegal, repeated, or the parent of another."""
    problems = [Problem(repr(path), what) for path in paths if (what := path_problem(path)) is not None]
    distinct = set(paths)
    if len(distinct) != len(paths):
        problems += [Problem(repr(path), "stands twice") for path in _repeated(paths)]
    problems += [Problem(repr(path), "is both a file and a directory") for path in _parents(paths) & distinct]
    if problems:
        problems.sort()
        count = f"{len(problems)} paths" if len(problems) > 1 else "1 path"
        raise PathInvalidError(f"{count} cannot be stored", problems=tuple(problems))


def case_collisions(paths: Iterable[str]) -> list[list[str]]:
    """Groups of paths that a case-insensitive file system could not tell apart."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(path.casefold(), []).append(path)
    return [group for group in groups.values() if len(group) > 1]


def _repeated(paths: Sequence[str]) -> set[str]:
    seen: set[str] = set()
    return {path for path in paths if path in seen or seen.add(path)}  # type: ignore[func-returns-value]


def _parents(paths: Iterable[str]) -> set[str]:
    """Every directory that the paths imply."""
    parents: set[str] = set()
    for folder in {path.rpartition("/")[0] for path in paths}:
        while folder and folder not in parents:
            parents.add(folder)
            folder = folder.rpartition("/")[0]  # noqa: PLW2901 - climbs
    return parents
