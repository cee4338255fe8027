"""Policies read from a directory: ``global-policy.yaml``, and ``repos/<org>/<repo>.yaml`` for one repository.

Files are opened below the directory and never through a link that leaves it. The global policy must be there and
readable: without it nothing can be judged, which is the operator's error and no rejection. What is wrong with a
repository's policy is kept as a value, and the policy stage rejects for it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from artifactstore.errors import ConfigurationError, InvalidRequestError, LinkInvalidError
from artifactstore.pilots.testing_os.policy import Policies, RepositoryPolicy
from artifactstore.pilots.testing_os.scenarios import UnreadableScenario, is_safe_id, parse_scenario
from artifactstore.pilots.testing_os.yaml_core import MAX_YAML_BYTES, load_yaml
from artifactstore.plugins import DirectoryTree

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.testing_os.scenarios import ScenarioDefinition, Scenarios
    from artifactstore.plugins import TreeFile

GLOBAL_POLICY = "global-policy.yaml"
_SEGMENTS = 2


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
            f"{GLOBAL_POLICY} cannot be read: {_problem(error)}", hint=f"It is looked for in {directory}."
        ) from error


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
        file = tree.file(f"{name}.yaml")
        return None if file is None else parse_scenario(_read(file))
    except InvalidRequestError:
        return UnreadableScenario("parse_error")


def _global(tree: DirectoryTree) -> dict[str, JsonValue]:
    file = tree.file(GLOBAL_POLICY)
    if file is None:
        raise ConfigurationError(f"there is no {GLOBAL_POLICY}", hint="Without a global policy nothing can be judged.")
    document = _parsed(_read(file), GLOBAL_POLICY)
    if not isinstance(document, dict):
        raise ConfigurationError(f"{GLOBAL_POLICY} is not a mapping")
    return document


def _repository(tree: DirectoryTree, repo: JsonValue) -> RepositoryPolicy | None:
    """None for a repository that has no policy, or whose name cannot be one."""
    segments = repo.split("/") if isinstance(repo, str) else []
    if len(segments) != _SEGMENTS or not all(map(_is_safe, segments)):
        return None
    path = f"repos/{repo}.yaml"
    try:
        file = tree.file(path)
        return None if file is None else RepositoryPolicy(_parsed(_read(file), path))
    except InvalidRequestError as error:
        return RepositoryPolicy(None, problem=f"{path} cannot be read: {_problem(error)}")


@lru_cache(maxsize=64)
def _parsed(data: bytes, what: str) -> JsonValue:
    """The same bytes say the same, to be read and not written to: a feed reads its global policy a thousand times."""
    return load_yaml(data, what=what)


def _problem(error: InvalidRequestError) -> str:
    """What is wrong, for a record that others read: where a link leads to is not their business."""
    return "it is a link that does not stay inside" if isinstance(error, LinkInvalidError) else error.message


def _is_safe(segment: str) -> bool:
    return bool(segment) and segment != "." and ".." not in segment and "\\" not in segment and "\0" not in segment


def _read(file: TreeFile) -> bytes:
    """One byte more than is read at most, so that a larger file shows."""
    opened = file.open()
    try:
        return opened.read(MAX_YAML_BYTES + 1)
    finally:
        opened.close()
