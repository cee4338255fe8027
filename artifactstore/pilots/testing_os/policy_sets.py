"""A set of policies as one value: the bytes of every file, what is wrong with them, and the digest of the set.

Only policies are in it: ``global-policy.yaml`` and ``repos/<org>/<repo>.yaml``. What a directory has besides is told
and left out. A set is whole and valid or it is refused: by what would be judged by it nothing is passed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from blake3 import blake3

from artifactstore.domain.canonical import canonical_json
from artifactstore.domain.digest import Digest
from artifactstore.errors import ConfigurationError, InvalidRequestError, LimitExceededError, Problem
from artifactstore.pilots.testing_os.policy import Policies, RepositoryPolicy, check_global, repository_problem
from artifactstore.pilots.testing_os.policy_files import (
    GLOBAL_POLICY,
    REPOSITORIES,
    AllPolicies,
    global_policy,
    names_in,
    parsed,
    read_policy_file,
    repositories_in,
    repository_path,
    unreadable,
)
from artifactstore.plugins import DirectoryTree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from artifactstore.domain.canonical import JsonValue

MAX_BYTES = 64 * 1024 * 1024
"""Of a whole set, which is held in memory while it is checked."""


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Policies that can be judged by."""

    files: Mapping[str, bytes]
    """By path, in the order of the paths."""
    policies: AllPolicies

    @property
    def digest(self) -> Digest:
        """BLAKE3 of the RFC 8785 form of an object that has the digest of each file at its path."""
        digests: dict[str, JsonValue] = {path: str(_digest(data)) for path, data in self.files.items()}
        return _digest(canonical_json(digests).encode())


def read_policy_set(directory: Path) -> PolicySet:
    """Everything that a directory has of policies, checked by what judges by them.

    Raises ``ConfigurationError`` with all that is wrong, ``FileUnreadableError`` for what is no directory, and
    ``LimitExceededError`` for a set of more than 64 MiB.
    """
    with DirectoryTree(directory) as tree:
        repositories = list(repositories_in(directory))
        files, problems = _read(tree, [GLOBAL_POLICY, *filter(None, map(repository_path, repositories))])
    if GLOBAL_POLICY not in files and not problems:
        problems.append(Problem(GLOBAL_POLICY, "is not there"))
    if not problems:
        policies, problems = _parsed(files, repositories)
        if not problems:
            return PolicySet(dict(sorted(files.items())), policies)
    raise ConfigurationError(
        "these policies cannot be judged by", hint="Nothing was adopted. Mend the files.", problems=tuple(problems)
    )


def left_out(directory: Path) -> list[str]:
    """What a directory has that is no policy, as far down as policies are; a directory ends in a slash."""
    policies = {GLOBAL_POLICY, *filter(None, map(repository_path, repositories_in(directory)))}
    kept = {*policies, REPOSITORIES, *(path.rpartition("/")[0] for path in policies)}
    return [f"{path}/" if (directory / path).is_dir() else path for path in _listed(directory) if path not in kept]


def _listed(directory: Path) -> Iterator[str]:
    for name in names_in(directory):
        yield name
    for org in names_in(directory / REPOSITORIES):
        folder = directory / REPOSITORIES / org
        if folder.is_symlink() or not folder.is_dir():
            yield f"{REPOSITORIES}/{org}"
            continue
        for name in names_in(folder):
            yield f"{REPOSITORIES}/{org}/{name}"


def _read(tree: DirectoryTree, paths: list[str]) -> tuple[dict[str, bytes], list[Problem]]:
    files: dict[str, bytes] = {}
    problems: list[Problem] = []
    total_bytes = 0
    for path in paths:
        try:
            data = read_policy_file(tree, path)
        except InvalidRequestError as error:
            problems.append(Problem(path, unreadable(error)))
            continue
        if data is not None:
            files[path] = data
            total_bytes += len(data)
        if total_bytes > MAX_BYTES:
            raise LimitExceededError(f"the policies have more than {MAX_BYTES} bytes")
    return files, problems


def _parsed(files: Mapping[str, bytes], repositories: list[str]) -> tuple[AllPolicies, list[Problem]]:
    """The policies, and every problem of each file: of YAML, of the schema, and of what has no digest."""
    problems: list[Problem] = []
    try:
        everywhere = Policies(global_policy(files[GLOBAL_POLICY]))
        problems += _problems_of_global(everywhere)
    except (InvalidRequestError, ConfigurationError) as error:
        everywhere = Policies({})
        problems.append(Problem(GLOBAL_POLICY, error.message))
    by_repo = {}
    for repo in repositories:
        path = str(repository_path(repo))
        if path not in files:
            continue
        try:
            by_repo[repo] = Policies(everywhere.global_document, RepositoryPolicy(parsed(files[path], path)))
            problem = repository_problem(by_repo[repo], repo) or _problem_of_digest(by_repo[repo])
        except InvalidRequestError as error:
            problem = error.message
        if problem:
            problems.append(Problem(path, problem))
    return AllPolicies(everywhere, by_repo), problems


def _problems_of_global(policies: Policies) -> list[Problem]:
    try:
        check_global(policies)
    except ConfigurationError as error:
        return [Problem(f"{GLOBAL_POLICY}{problem.where}", problem.what) for problem in error.problems]
    problem = _problem_of_digest(policies)
    return [Problem(GLOBAL_POLICY, problem)] if problem else []


def _problem_of_digest(policies: Policies) -> str | None:
    try:
        _ = policies.digest
    except ConfigurationError as error:
        return error.message
    return None


def _digest(data: bytes) -> Digest:
    return Digest.blake3(blake3(data).digest())
