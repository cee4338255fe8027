"""Where policies come from: a directory that is named, the one below the root, or the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from artifactstore.errors import ConfigurationError
from artifactstore.pilots.testing_os.adopting import AdoptedPolicies, find_adopted
from artifactstore.pilots.testing_os.policy_files import GLOBAL_POLICY, AllPolicies, load_policies, read_all_policies

if TYPE_CHECKING:
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.testing_os.policy import Policies
    from artifactstore.plugins.contributed import Contributed

POLICIES = "policies"
"""Below the root of a repository."""
STORE = "store"
"""Said in place of a directory."""


class PolicySource(Protocol):
    """Policies, wherever they are."""

    def of(self, repo: JsonValue) -> Policies:
        """What a submission of this repository is judged by, whatever ``repo`` is.

        Raises ``ConfigurationError`` if the global policy is missing or cannot be read.
        """

    def everything(self) -> AllPolicies:
        """All of them. Raises as ``of`` does."""


@dataclass(frozen=True, slots=True)
class DirectoryPolicies:
    """Those of a directory, read anew each time: it may be another process's working tree."""

    directory: Path

    def of(self, repo: JsonValue) -> Policies:
        """See ``PolicySource``."""
        return load_policies(self.directory, repo)

    def everything(self) -> AllPolicies:
        """See ``PolicySource``."""
        return read_all_policies(self.directory)


def policies_of(contributed: Contributed, repo_root: Path | None, named: Path | str | None = None) -> PolicySource:
    """The directory that is named, or what is adopted if that is ``store``.

    If nothing is named, ``policies`` below the root; where that is not there, what is adopted. Raises
    ``ConfigurationError`` if there is neither.
    """
    if named is None and repo_root is not None and (repo_root / POLICIES).is_dir():
        return DirectoryPolicies(repo_root / POLICIES)
    if named is not None and named != STORE:
        return DirectoryPolicies(Path(named))
    if found := adopted_policies(contributed):
        return found
    looked_in = "" if named is not None or repo_root is None else f"no directory {repo_root / POLICIES}, and "
    raise ConfigurationError(
        f"there is no {GLOBAL_POLICY} to judge by: {looked_in}no policies are adopted in this store",
        hint="Name a directory with --policies, or adopt one: artifactstore testing-os policies adopt DIR",
    )


def adopted_policies(contributed: Contributed) -> AdoptedPolicies | None:
    """Those in the store; None if nothing was ever adopted."""
    found = find_adopted(contributed)
    return None if found is None else AdoptedPolicies(contributed, found.package_id)
