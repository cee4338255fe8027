"""Policies read from a directory: ``global-policy.yaml``, and ``repos/<org>/<repo>.yaml`` for one repository.

Files are opened below the directory and never through a link that leaves it. The global policy must be there and
readable: without it nothing can be judged, which is the operator's error and no rejection. What is wrong with a
repository's policy is kept as a value, and the policy stage rejects for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from artifactstore.errors import ConfigurationError, FileUnreadableError, InvalidRequestError, LinkInvalidError
from artifactstore.pilots.testing_os.policy import Policies, RepositoryPolicy
from artifactstore.pilots.testing_os.scenarios import UnreadableScenario, is_safe_id, parse_scenario
from artifactstore.pilots.testing_os.yaml_core import MAX_YAML_BYTES, load_yaml
from artifactstore.plugins import DirectoryTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.testing_os.scenarios import ScenarioDefinition, Scenarios
    from artifactstore.plugins import TreeFile

GLOBAL_POLICY = "global-policy.yaml"
REPOSITORIES = "repos"
_SEGMENTS = 2
_SEGMENT = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]+")
_SUFFIX = ".yaml"


@dataclass(frozen=True, slots=True)
class AllPolicies:
    """The global policy, and that of every repository that has one."""

    global_policy: Policies
    by_repo: Mapping[str, Policies]

    def of(self, repo: str) -> Policies:
        """What a repository is judged by."""
        return self.by_repo.get(repo, self.global_policy)

    def versions(self) -> dict[str, JsonValue]:
        """The global policy's, and what each repository's own says."""
        by_repo: dict[str, JsonValue] = {repo: each.version for repo, each in self.by_repo.items()}
        return {"policy_version": self.global_policy.version, "repositories": by_repo}


def load_policies(directory: Path, repo: JsonValue) -> Policies:
    """The policies that a submission of ``repo`` is judged by, whatever ``repo`` is.

    Raises ``ConfigurationError`` if the global policy is missing or cannot be read.
    """
    try:
        with DirectoryTree(directory) as tree:
            document = _global(tree)
            return Policies(document, _repository(tree, repo))
    except InvalidRequestError as error:
        raise ConfigurationError(
            f"{GLOBAL_POLICY} cannot be read: {unreadable(error)}", hint=f"It is looked for in {directory}."
        ) from error


def read_all_policies(directory: Path) -> AllPolicies:
    """The global policy, and every ``repos/<org>/<repo>.yaml``, in the order of their paths.

    Raises ``ConfigurationError`` if the global policy is missing or cannot be read, ``FileUnreadableError`` if a
    directory cannot be listed. What is wrong with a repository's policy is kept as a value.
    """
    found = {repo: load_policies(directory, repo) for repo in repositories_in(directory)}
    return AllPolicies(load_policies(directory, None), found)


def repositories_in(directory: Path) -> Iterator[str]:
    """Every repository for which there is a file."""
    folder = directory / REPOSITORIES
    for org in names_in(folder):
        if _SEGMENT.fullmatch(org) and (folder / org).is_dir():
            for name in names_in(folder / org):
                if name.endswith(_SUFFIX) and _SEGMENT.fullmatch(name.removesuffix(_SUFFIX)):
                    yield f"{org}/{name.removesuffix(_SUFFIX)}"


def names_in(folder: Path) -> list[str]:
    """What a directory has, sorted; nothing if there is none. Raises ``FileUnreadableError``."""
    try:
        return sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise FileUnreadableError(f"{folder} cannot be listed: {error.strerror}") from error


def read_policy_file(tree: DirectoryTree, path: str) -> bytes | None:
    """The bytes of a policy, a few more than one may have at most; None if there is no such file.

    Raises ``LinkInvalidError`` for a link that leaves the directory, or ``FileUnreadableError``, also for a link to
    nothing: somebody meant a policy to be there.
    """
    file = tree.file(path)
    if file is None and tree.leads_nowhere(path):
        raise FileUnreadableError(f"{path} is a link to nothing")
    return None if file is None else _read(file)


def global_policy(data: bytes) -> dict[str, JsonValue]:
    """Raises ``ConfigurationError`` for what is no mapping, ``YamlInvalidError`` for what is no YAML."""
    document = parsed(data, GLOBAL_POLICY)
    if not isinstance(document, dict):
        raise ConfigurationError(f"{GLOBAL_POLICY} is not a mapping")
    return document


def repository_path(repo: JsonValue) -> str | None:
    """Where the policy of a repository is; None for what cannot be the name of one."""
    segments = repo.split("/") if isinstance(repo, str) else []
    if len(segments) != _SEGMENTS or not all(map(_is_safe, segments)):
        return None
    return f"{REPOSITORIES}/{repo}{_SUFFIX}"


@lru_cache(maxsize=64)
def parsed(data: bytes, what: str) -> JsonValue:
    """The same bytes say the same, to be read and not written to: a feed reads its global policy a thousand times."""
    return load_yaml(data, what=what)


def unreadable(error: InvalidRequestError) -> str:
    """What is wrong, for a record that others read: where a link leads to is not their business."""
    return "it is a link that does not stay inside" if isinstance(error, LinkInvalidError) else error.message


def read_scenarios(directory: Path, ids: Iterable[str]) -> Scenarios:
    """The definitions ``<id>.yaml`` that a directory has of these scenarios.

    Raises ``FileUnreadableError`` if there is no such directory; a file that cannot be used is answered as a value.
    """
    with DirectoryTree(directory) as tree:
        return {name: known for name in ids if (known := _scenario(tree, name)) is not None}


def _scenario(tree: DirectoryTree, name: str) -> ScenarioDefinition | UnreadableScenario | None:
    if not is_safe_id(name):
        return UnreadableScenario("invalid_id")
    try:
        data = read_policy_file(tree, f"{name}.yaml")
        return None if data is None else parse_scenario(data)
    except InvalidRequestError:
        return UnreadableScenario("parse_error")


def _global(tree: DirectoryTree) -> dict[str, JsonValue]:
    data = read_policy_file(tree, GLOBAL_POLICY)
    if data is None:
        raise ConfigurationError(f"there is no {GLOBAL_POLICY}", hint="Without a global policy nothing can be judged.")
    return global_policy(data)


def _repository(tree: DirectoryTree, repo: JsonValue) -> RepositoryPolicy | None:
    """None for a repository that has no policy, or whose name cannot be one."""
    path = repository_path(repo)
    if path is None:
        return None
    try:
        data = read_policy_file(tree, path)
        return None if data is None else RepositoryPolicy(parsed(data, path))
    except InvalidRequestError as error:
        return RepositoryPolicy(None, problem=f"{path} cannot be read: {unreadable(error)}")


def _is_safe(segment: str) -> bool:
    return bool(segment) and segment != "." and ".." not in segment and "\\" not in segment and "\0" not in segment


def _read(file: TreeFile) -> bytes:
    """One byte more than is read at most, so that a larger file shows."""
    opened = file.open()
    try:
        return opened.read(MAX_YAML_BYTES + 1)
    finally:
        opened.close()
