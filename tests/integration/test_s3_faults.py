"""S3 that fails: at every kind of request, in every way, now and then. What was acknowledged is there whole.

Each case counts what was injected. A summary of all is printed at the end where ``LONG`` is set.
"""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.domain.digest import Digest
from artifactstore.errors import ArtifactStoreError
from artifactstore.registry.files import get_file
from artifactstore.registry.ingest import ingest
from artifactstore.registry.packages import list_packages
from artifactstore.registry.verify import verify_all
from artifactstore.storage.s3 import S3Store
from artifactstore.storage.s3.bucket import Bucket, open_client
from artifactstore.storage.s3.options import S3Options
from artifactstore.testing.builders import key_of, package_draft, some_bytes
from tests.ledger import LONG, tell
from tests.pushing_in_process import push_all
from tests.s3_proxy import ACTIONS, BEFORE, INGEST, OPERATIONS, SLOW, FaultyS3, From, Peace, faulty
from tests.s3_servers import (  # noqa: F401 - fixtures
    BUCKET,
    REGION,
    S3Server,
    aws_environment,
    moto,
    rclone,
)
from tests.support import fetch, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from artifactstore.domain.package import PackageReceipt
    from artifactstore.registry.registry import Registry

SERVERS = ("moto", "rclone")
KIBIBYTE = 1024
DAMAGED = ("medium-0", "medium-1", "parts-0", "medium-2")
SMALL_NUMBERS = {"multipart_threshold_bytes": 64 * KIBIBYTE, "multipart_part_bytes": 32 * KIBIBYTE}
"""Less than the settings allow, so that a package of a few hundred KiB takes every way there is."""
FILES = {
    **{f"logs/{number}.txt": b"%d" % number * 300 for number in range(5)},
    **{f"medium-{number}": some_bytes(10 * KIBIBYTE, seed=number) for number in range(3)},
    **{f"parts-{number}": some_bytes(80 * KIBIBYTE, seed=10 + number) for number in range(3)},
}
"""One pack, three objects of one request each, three in three parts each."""

# ruff: noqa: F811 - fixtures that are imported are named as arguments


@dataclass
class Tally:
    """What all cases of this module saw together."""

    injected: Counter[tuple[str, str]] = field(default_factory=Counter)
    cases: int = 0
    acknowledged: int = 0
    refused: int = 0
    refused_and_there: int = 0

    def note(self, outcome: Outcome, injected: Counter[tuple[str, str]]) -> None:
        self.cases += 1
        self.injected += injected
        self.acknowledged += outcome.acknowledged
        self.refused += not outcome.acknowledged
        self.refused_and_there += not outcome.acknowledged and outcome.found_whole > 0

    def text(self) -> str:
        actions = Counter[str]()
        for (_, action), times in self.injected.items():
            actions[action] += times
        return (
            f"S3 sweep: {self.cases} cases, {sum(actions.values())} faults {dict(sorted(actions.items()))};"
            f" acknowledged {self.acknowledged}, refused {self.refused} and acknowledged when asked again"
            f" ({self.refused_and_there} of them there already), lost 0"
        )


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    found = Tally()
    yield found
    tell(request, found.text())


class ProbedStore(S3Store):
    """Whose server has been found fit: what is asked of it here is counted."""

    must_be_probed = False


@dataclass
class Sick:
    """A server, the proxy before it, and stores that reach it through the proxy or past it."""

    server: S3Server
    proxy: FaultyS3
    clients: tuple[Any, Any]
    options: S3Options
    empty_home: Path
    """With a catalog in which nothing has happened, to be copied: making one takes longer than most cases."""
    calls: dict[Scenario, Counter[str]] = field(default_factory=dict)
    """How often each operation is asked for if nothing goes wrong."""

    def calls_in_peace(self, operation: str, scenario: Scenario) -> int:
        """Counted once, on a store of its own."""
        if scenario not in self.calls:
            with TemporaryDirectory() as folder:
                home, prefix = Path(folder) / "home", secrets.token_hex(6)
                with closing(self.registry(home, prefix, through_proxy=False)) as direct:
                    scenario.before(direct)
                self.proxy.log.clear()
                with closing(self.registry(home, prefix, through_proxy=True)) as registry:
                    scenario.act(registry)
            self.calls[scenario] = self.proxy.calls()
        return self.calls[scenario][operation]

    def registry(self, home: Path, prefix: str, *, through_proxy: bool) -> Registry:
        """A catalog in this home, with objects below a prefix of the bucket."""
        if not home.exists():
            shutil.copytree(self.empty_home, home)
        client = self.clients[0 if through_proxy else 1]
        store = ProbedStore(Bucket(client, BUCKET, f"{prefix}/", self.options))
        registry = open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}), actor="local:tester")
        return replace(registry, backends={registry.default_backend: store}, pack_threshold_bytes=4 * KIBIBYTE)


@pytest.fixture(scope="module")
def sick_servers(
    moto: S3Server, rclone: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Sick]]:
    empty = tmp_path_factory.mktemp("template") / "home"
    open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(empty)})).close()
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1)
        patch.setattr("botocore.endpoint.time.sleep", lambda _: None)
        patch.setattr("artifactstore.storage.s3.staging._FIRST_PAUSE_S", 0.001)
        patch.setattr("artifactstore.storage.s3.reading._FIRST_PAUSE_S", 0.001)
        found = {}
        for name, server in zip(SERVERS, (moto, rclone), strict=True):
            proxy = stack.enter_context(faulty(server.url))
            options = S3Options(endpoint_url=server.url, region=REGION, read_timeout_s=0.3, **SMALL_NUMBERS)  # type: ignore[arg-type]
            clients = open_client(options, proxy.url), open_client(replace(options, read_timeout_s=60), server.url)
            found[name] = Sick(server, proxy, clients, options, empty)
        yield found


# what a case does to a store, and how it comes to the state before


def nothing_before(registry: Registry) -> None:
    """An empty store."""


def ingest_all(registry: Registry) -> PackageReceipt:
    return ingest(registry, package_draft(FILES))


def with_damage(registry: Registry) -> None:
    """Three objects of a package are torn, one is not there."""
    ingest_all(registry)
    store = registry.store
    assert isinstance(store, S3Store)
    torn, gone = DAMAGED[:-1], DAMAGED[-1]
    for name in torn:
        store._bucket.client.put_object(**store._bucket.at(key_of(FILES[name]).path), Body=b"torn")
    store.delete(key_of(FILES[gone]))


def heal(registry: Registry) -> PackageReceipt:
    """Find the damage, all of it or none, then store the files again."""
    for error in verify_all(registry).unreachable.values():
        raise error
    return ingest_all(registry)


def fetch_all(registry: Registry) -> PackageReceipt:
    """Every file, into a directory that was not there; then the receipt again."""
    (package,) = list_packages(registry, limit=2)
    with TemporaryDirectory() as folder:
        assert FILES == fetch(registry, package.package_id, Path(folder) / "copy")
    return ingest_all(registry)


def push_files(registry: Registry) -> PackageReceipt:
    """As over HTTP; what is sent in pieces is read back and then deleted piece by piece."""
    return push_all(registry, FILES, [path for path in FILES if "medium" in path])


class Scenario(NamedTuple):
    before: Callable[[Registry], object]
    act: Callable[[Registry], PackageReceipt]
    damaged: tuple[str, ...] = ()
    """Files that are not whole before, and may be so after an act that was refused."""


BY_OPERATION = {
    **dict.fromkeys(INGEST, Scenario(nothing_before, ingest_all)),
    "GetObject": Scenario(ingest_all, fetch_all),
    "DeleteObject": Scenario(nothing_before, push_files),
    "ListObjectsV2": Scenario(with_damage, heal, DAMAGED),
    "CopyObject": Scenario(with_damage, heal, DAMAGED),
}
FOR_GOOD = 10**6


class Case(NamedTuple):
    """Where, when and how long one action happens."""

    server: str
    position: str
    times: int

    def call(self, calls: int) -> int:
        return {"first": 1, "middle": (calls + 1) // 2, "last": calls}[self.position]


ALWAYS = {
    ("PutObject", "answer 409"),
    ("PutObject", "reset after"),
    ("UploadPart", "half answer"),
    ("CompleteMultipartUpload", "reset after"),
    ("GetObject", "half answer"),
}
"""Each was, or would be, a defect of its own; once, on either server."""


def pairs() -> list[tuple[str, str]]:
    """Every operation with every action; with less time, some actions for each, in which each action comes often."""
    if LONG:
        return list(product(OPERATIONS, ACTIONS))
    quick = {name: Random(name).sample(ACTIONS, 4 if name in INGEST else 2) for name in OPERATIONS}
    return [each for each in product(OPERATIONS, ACTIONS) if each in ALWAYS or each[1] in quick[each[0]]]


def cases(operation: str, action: str) -> list[Case]:
    """All of them where there is time, else one that differs from one pair to the next."""
    every = [Case(*each) for each in product(SERVERS, ("first", "middle", "last"), (1, FOR_GOOD))]
    if LONG:
        return [each for each in every if action not in SLOW or each.times == 1 or each.position == "middle"]
    if (operation, action) in ALWAYS:
        return [Case(server, "first", 1) for server in SERVERS]
    chosen = Random(f"{operation} {action}").choice(every)
    return [chosen._replace(times=1) if action in SLOW else chosen]


@pytest.mark.parametrize(("operation", "action"), pairs())
def test_one_kind_of_bad_luck_at_one_kind_of_request_loses_nothing(
    sick_servers: dict[str, Sick], tally: Tally, tmp_path: Path, operation: str, action: str
) -> None:
    for number, case in enumerate(cases(operation, action)):
        sick, home = sick_servers[case.server], tmp_path / str(number)
        outcome, injected = suffer(sick, home, operation, action, case)

        tally.note(outcome, injected)
        assert 0 < sum(injected.values()), case
        assert {(operation, action)} == set(injected), case
        assert outcome.acknowledged or not is_expected_to_be_survived(operation, action, case), (case, outcome.error)
        assert not outcome.acknowledged or not is_hopeless(operation, action, case), case


def is_expected_to_be_survived(operation: str, action: str, case: Case) -> bool:
    """What happens once is mended by asking again, unless an answer was believed that was another."""
    if action == "answer 409":  # somebody else is at the same key, which only a write with a condition is told
        return case.times == 1 and operation in {"PutObject", "CompleteMultipartUpload"}
    if (operation, action) == ("HeadObject", "half answer"):  # half of its headers, and no size among them
        return False
    return case.times == 1 and action != "flip answer"


def is_hopeless(operation: str, action: str, case: Case) -> bool:
    """Nothing can be stored through requests that never arrive."""
    return case.times == FOR_GOOD and action in BEFORE and operation in INGEST


@dataclass
class Outcome:
    error: ArtifactStoreError | None
    found_whole: int

    @property
    def acknowledged(self) -> bool:
        return self.error is None


def suffer(sick: Sick, home: Path, operation: str, action: str, case: Case) -> tuple[Outcome, Counter[tuple[str, str]]]:
    """One case in a store of its own: act while it happens, check, act again in peace, check again."""
    scenario, prefix = BY_OPERATION[operation], secrets.token_hex(6)
    with closing(sick.registry(home, prefix, through_proxy=False)) as direct:
        scenario.before(direct)
        calls = sick.calls_in_peace(operation, scenario)
        sick.proxy.log.clear()
        sick.proxy.rule = From(operation, action, case.call(calls), case.times)
        try:
            with closing(sick.registry(home, prefix, through_proxy=True)) as registry:
                receipt, error = None, None
                try:
                    receipt = scenario.act(registry)
                except ArtifactStoreError as caught:
                    error = caught
                injected = sick.proxy.injected()
                sick.proxy.rule = Peace()
                sick.proxy.settle()
                whole = whole_packages(direct, but=() if receipt else scenario.damaged)
                assert receipt is None or {receipt.package_id: receipt.manifest_digest} == whole

                again = scenario.act(registry)
        finally:
            sick.proxy.rule = Peace()
            sick.proxy.settle()
        assert receipt is None or receipt.package_id == again.package_id
        assert {again.package_id: again.manifest_digest} == whole_packages(direct)
        assert [] == verify_all(direct).damage
        replay_is_exact(direct)
    return Outcome(error, len(whole)), injected


def whole_packages(direct: Registry, *, but: tuple[str, ...] = ()) -> dict[str, str]:
    """Every package that is recorded, re-read past the proxy; raises unless all bytes are there, ``but`` some files."""
    packages = list_packages(direct, limit=10)
    for package in packages:
        with TemporaryDirectory() as folder:
            if but:
                for number, path in enumerate(FILES.keys() - set(but)):
                    get_file(direct, package.package_id, path, Path(folder) / str(number))
                    assert FILES[path] == (Path(folder) / str(number)).read_bytes()
            else:
                assert FILES == fetch(direct, package.package_id, Path(folder) / "copy")
    return {package.package_id: str(Digest.blake3(package.manifest_digest)) for package in packages}
