"""Policies in the store: a set is one package, and an event says that from then on submissions are judged by it.

Adopting a set again brings it back: it is the same package and another event. The newest event decides. What was
adopted is read file by file as it is needed, and once in a process: packages do not change.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from artifactstore.catalog.queries import Queries
from artifactstore.domain.canonical import canonical_json
from artifactstore.domain.instant import moment_of
from artifactstore.pilots.testing_os.adopted import Adopted, PoliciesAdopted, adopted
from artifactstore.pilots.testing_os.package import PRODUCER
from artifactstore.pilots.testing_os.policy import Policies, RepositoryPolicy
from artifactstore.pilots.testing_os.policy_files import (
    GLOBAL_POLICY,
    REPOSITORIES,
    AllPolicies,
    global_policy,
    parsed,
    repository_path,
)
from artifactstore.pilots.testing_os.schemas import POLICIES_SCHEMA
from artifactstore.plugins import (
    BytesSource,
    EnvelopeInput,
    FileDraft,
    PackageDraft,
    RetentionClass,
    Retrieval,
    SourceInput,
)
from artifactstore.plugins.contributed import Recordable

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.instant import Instant
    from artifactstore.pilots.testing_os.policy_sets import PolicySet
    from artifactstore.plugins.contributed import Contributed

LOCATION_KIND = "testing-os.policies"
TRANSPORT = "testing-os.adoption"
ROLE = "policy"
_YAML = "application/yaml"
Key = TypeVar("Key")
Value = TypeVar("Value")


class Adoption(NamedTuple):
    """What is adopted, and whether it was not before."""

    adopted: Adopted
    is_new: bool


def adopt(contributed: Contributed, policies: PolicySet, *, clock: Callable[[], Instant]) -> Adoption:
    """Judge by these from now on. What is adopted already changes nothing. Raises what an ingest raises."""
    before, digest, now = find_adopted(contributed), str(policies.digest), clock()
    if before is not None and before.digest == digest:
        return Adoption(before, is_new=False)
    external_id = f"policies/{policies.digest.raw.hex()}"
    received_at = moment_of(now)
    recordable = Recordable(
        source=SourceInput(LOCATION_KIND, external_id, retrieval=Retrieval(display_name="testing-os policies")),
        envelope=EnvelopeInput(TRANSPORT, canonical_json({"digest": digest}).encode(), received_at),
        package=_package_of(policies, external_id),
        events_of=lambda receipt: [PoliciesAdopted(package_id=receipt.package_id, digest=digest, adopted_at=now)],
    )
    contributed.ingest(recordable)
    found = find_adopted(contributed)
    assert found is not None, "it was recorded"
    return Adoption(found, is_new=True)


def find_adopted(contributed: Contributed) -> Adopted | None:
    """What is judged by where nobody names other policies; None if nothing was ever adopted."""
    with contributed.look() as connection:
        return adopted(connection)


@dataclass(frozen=True, slots=True)
class AdoptedPolicies:
    """The policies that are a package. See ``PolicySource`` for what its methods promise."""

    contributed: Contributed
    package_id: str

    def of(self, repo: JsonValue) -> Policies:
        """See ``PolicySource``."""
        everywhere = self._document(GLOBAL_POLICY)
        assert isinstance(everywhere, dict), "only what can be judged by is adopted"
        path = repository_path(repo)
        if path is None or path not in self._paths():
            return Policies(everywhere)
        return Policies(everywhere, RepositoryPolicy(self._document(path)))

    def everything(self) -> AllPolicies:
        """See ``PolicySource``."""
        own = sorted(path for path in self._paths() if path.startswith(f"{REPOSITORIES}/"))
        repositories = [path.removeprefix(f"{REPOSITORIES}/").removesuffix(".yaml") for path in own]
        return AllPolicies(self.of(None), {repo: self.of(repo) for repo in repositories})

    def _document(self, path: str) -> JsonValue:
        def read() -> JsonValue:
            data = self.contributed.read_file(self.package_id, path)
            return global_policy(data) if path == GLOBAL_POLICY else parsed(data, path)

        return _DOCUMENTS.get((self.package_id, path), read)

    def _paths(self) -> frozenset[str]:
        def read() -> frozenset[str]:
            with self.contributed.look() as connection:
                queries = Queries(connection)
                package = queries.package(self.package_id)
                assert package is not None, "a row refers to it"
                return frozenset(entry.path for entry in queries.entries(package.row_id))

        return _PATHS.get(self.package_id, read)


class _Kept(Generic[Key, Value]):
    """What was read of packages. Forgets all of it when it is full: that is rare, and then it is read again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[Key, Value] = {}
        self._lock = Lock()

    def get(self, key: Key, read: Callable[[], Value]) -> Value:
        """What is known, or what ``read`` answers; several may read at once, and the same."""
        if key not in (known := self._known):
            value = read()
            with self._lock:
                if len(self._known) >= self._most:
                    self._known = {}
                self._known[key] = value
            return value
        return known[key]


_DOCUMENTS: _Kept[tuple[str, str], JsonValue] = _Kept(4_096)
_PATHS: _Kept[str, frozenset[str]] = _Kept(16)


def _package_of(policies: PolicySet, external_id: str) -> PackageDraft:
    metadata: dict[str, JsonValue] = {
        "digest": str(policies.digest),
        "policy_version": policies.policies.global_policy.version,
        "repositories": len(policies.policies.by_repo),
    }
    return PackageDraft(
        producer=PRODUCER,
        files=tuple(FileDraft(path, BytesSource(data), ROLE, _YAML) for path, data in policies.files.items()),
        retention_class=RetentionClass.PERMANENT_RECORD,
        external_id=external_id,
        schema=POLICIES_SCHEMA,
        metadata=metadata,
    )
