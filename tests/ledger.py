"""What was asked for and what was acknowledged, kept by whoever asked, and compared with the store when all is over.

The files of a run follow from its name, so nothing needs to be remembered to know what must be there.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from artifactstore.errors import ArtifactStoreError
from artifactstore.registry.events import list_events
from artifactstore.registry.packages import list_packages
from artifactstore.registry.verify import verify_all
from artifactstore.testing.builders import package_draft, some_bytes
from tests.support import fetch, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from artifactstore.domain.package import PackageDraft, PackageReceipt
    from artifactstore.registry.registry import Registry

    Push = Callable[[PackageDraft], PackageReceipt]

LONG = bool(os.environ.get("LONG"))
"""Whether there is time for the long form of a test."""
MEBIBYTE = 1024 * 1024
_TRIES = 200
_PAGE = 1_000


def files_of(name: str) -> dict[str, bytes]:
    """A few files that many runs share and some of its own; now and then a larger one, rarely one for several parts."""
    drawn = Random(name)
    files = {f"shared/{number}.bin": some_bytes(700, number) for number in sorted(drawn.sample(range(30), 4))}
    files |= {"own.txt": name.encode(), "logs/own.log": drawn.randbytes(3_000)}
    kind = drawn.randrange(40)
    if kind < 4:
        files["medium.bin"] = drawn.randbytes(MEBIBYTE + MEBIBYTE // 8)
    if kind == 5:
        files["large.bin"] = drawn.randbytes(6 * MEBIBYTE)
    return files


class Ledger:
    """Safe for several threads."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, str] = {}
        """Runs by name, and the package each was answered."""
        self.refusals = Counter[str]()
        """How often a try ended with which error."""
        self.mended = 0
        """Runs that were not acknowledged the first time, and were when asked again."""
        self._turn = threading.Lock()

    def store(self, name: str, push: Push) -> str:
        """Ask until it is acknowledged. Raises the last error after very many tries."""
        draft, error = package_draft(files_of(name), external_id=name), None
        for number in range(_TRIES):
            try:
                receipt = push(draft)
            except ArtifactStoreError as caught:
                error = caught
                with self._turn:
                    self.refusals[type(caught).__name__] += 1
            else:
                with self._turn:
                    self.mended += number > 0
                    known = self.acknowledged.setdefault(name, receipt.package_id)
                assert known == receipt.package_id, f"{name} was answered with two packages"
                return receipt.package_id
        assert error is not None
        raise error

    def add(self, acknowledged: Mapping[str, str], refusals: Mapping[str, int], mended: int) -> None:
        """What another process was answered. Raises if it was answered another package for the same run."""
        for name, package_id in acknowledged.items():
            assert package_id == self.acknowledged.setdefault(name, package_id), f"{name} is two packages"
        self.refusals.update(refusals)
        self.mended += mended

    def check(self, registry: Registry) -> str:
        """Raises unless the store holds exactly what was acknowledged, whole. In words: what was counted."""
        found: dict[str, str] = {}
        after: str | None = None
        while page := list_packages(registry, after=after, limit=_PAGE):
            found |= {str(package.external_id): package.package_id for package in page}
            assert all(package.status == "finalized" for package in page)
            after = page[-1].package_id
        missing = self.acknowledged.items() - found.items()
        assert set() == missing, f"{len(missing)} acknowledged packages are lost"
        assert found == self.acknowledged
        for name, package_id in found.items():
            with TemporaryDirectory() as folder:
                assert files_of(name) == fetch(registry, package_id, Path(folder) / "copy"), name
        assert [] == verify_all(registry).damage
        assert_no_gap(registry)
        events = replay_is_exact(registry).events
        assert events >= 4 * len(found)
        return (
            f"{len(found)} packages acknowledged, 0 lost, {self.mended} of them not at the first try"
            f" ({sum(self.refusals.values())} refusals {dict(self.refusals)}), {events} events without a gap"
        )


def assert_no_gap(registry: Registry) -> None:
    """The log's numbers are 1, 2, 3 and so on."""
    last = 0
    while page := list_events(registry, after=last, limit=_PAGE):
        assert list(range(last + 1, last + 1 + len(page))) == [event.seq for event in page]
        last = page[-1].seq


def tell(request: pytest.FixtureRequest, text: str) -> None:
    """What a test counted, with its result; where it took long, on the terminal too, past what captures output."""
    if isinstance(request.node, pytest.Item):
        request.node.user_properties.append(("counted", text))
    if LONG:
        capture = request.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print(f"\n{text}")
