"""A process killed before any of its system calls, or refused any of them, loses nothing and says so.

strace injects the faults; the product knows nothing of it. A kill comes on entry to the call. After each fault the
store opens, verifies and replays, and the same command gives the digest it would have given.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from itertools import product
from pathlib import PurePath
from typing import TYPE_CHECKING

import pytest

from artifactstore.storage.port import ObjectKind
from tests.faults.support import (
    FILES,
    LONG,
    Store,
    Trace,
    push,
    reader_that_keeps_the_wal,
    reported_code,
    traced,
)
from tests.support import SIGKILLED, flip_byte, objects_of_kind, write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.support import Call, Point

STEP = 1 if LONG else 5
CALLS = {
    "fsync": ("fsync",),
    "fdatasync": ("fdatasync",),
    "link": ("link", "linkat"),
    "rename": ("rename", "renameat", "renameat2"),
    "unlink": ("unlink", "unlinkat"),
    "write": ("write", "pwrite64"),
    "ftruncate": ("ftruncate",),
    "mkdir": ("mkdir", "mkdirat"),
    "read": ("pread64",),
}
"""The names of a call on one machine or another."""
EVERY_CALL = tuple(name for names in CALLS.values() for name in names)
SYNCS = frozenset(CALLS["fsync"] + CALLS["fdatasync"])


class Scene:
    """A template store, a run to push, and what an untroubled push of it does."""

    def __init__(self, folder: Path, template: Path) -> None:
        self._folder = folder
        self._template = template
        self._made = 0
        self.run = write_tree(folder / "run", FILES)
        store = self.store()
        self.dry = traced(store, folder / "dry.log", EVERY_CALL, *push(self.run))
        self.points = {name: self.dry.points(name, store.home) for name in EVERY_CALL}
        assert self.dry.answer.code == 0, self.dry.answer.stderr
        self.digest = self.dry.answer.document["manifest_digest"]

    def store(self) -> Store:
        """The template's copy."""
        self._made += 1
        home = self._folder / f"home-{self._made}"
        if self._template.exists():
            shutil.copytree(self._template, home)
        return Store(home)

    def push_with(self, store: Store, fault: str, path: str = "") -> Trace:
        return traced(store, self._folder / "fault.log", EVERY_CALL, *push(self.run), fault=fault, path=path)

    def recovers(self, store: Store, what: str, *, whole_meanwhile: bool = True) -> None:
        """The store is whole, the same command succeeds with the same digest, and the store is whole again."""
        if whole_meanwhile:
            store.check(self._out())
        again = store.run(*push(self.run))
        assert again.code == 0, (what, again.stderr)
        assert self.digest == again.document["manifest_digest"], what
        store.check(self._out())
        shutil.rmtree(store.home)

    def _out(self) -> Path:
        self._made += 1
        return self._folder / f"out-{self._made}"


@pytest.fixture(scope="module")
def existing(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A store that holds a similar run."""
    folder = tmp_path_factory.mktemp("existing")
    template = folder / "template"
    similar = write_tree(folder / "similar", {**FILES, "run.json": b"[]", "raw/large.bin": b"small"})
    assert Store(template).run(*push(similar, "run-0")).code == 0
    return Scene(folder, template)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A store that holds the run itself, known to be damaged: the push sets the damage aside and heals it."""
    folder = tmp_path_factory.mktemp("damaged")
    template = folder / "template"
    assert Store(template).run(*push(write_tree(folder / "same", FILES))).code == 0
    flip_byte(objects_of_kind(template, ObjectKind.PACK)[0], 100)
    assert Store(template).run("verify", "--all").code == 2
    return Scene(folder, template)


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """No store yet: the push makes the home, the database and its tables."""
    folder = tmp_path_factory.mktemp("nothing")
    return Scene(folder, folder / "no-template")


@pytest.mark.parametrize("call", ["fsync", "fdatasync", "link", "unlink", "write", "ftruncate", "mkdir"])
def test_killed_at_a_call(existing: Scene, call: str) -> None:
    killed_at_every_step(existing, call)


@pytest.mark.parametrize("call", ["rename", "fsync", "fdatasync", "link"])
def test_killed_while_healing(damaged: Scene, call: str) -> None:
    killed_at_every_step(damaged, call, whole_meanwhile=False)


@pytest.mark.parametrize("call", ["fdatasync", "unlink", "mkdir"])
def test_killed_during_the_first_use(nothing: Scene, call: str) -> None:
    killed_at_every_step(nothing, call)


def killed_at_every_step(scene: Scene, call: str, *, whole_meanwhile: bool = True) -> None:
    points = [point for name in CALLS[call] for point in steps(scene.points[name])]
    assert points, f"an untroubled push makes no {call} call"
    for point in points:
        store = scene.store()

        killed = scene.push_with(store, f"{point.name}:signal=KILL:when={point.hit}", point.path).answer
        assert (SIGKILLED, "") == (killed.code, killed.stdout), point

        scene.recovers(store, f"killed at {point}", whole_meanwhile=whole_meanwhile)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        *product(["fsync", "fdatasync", "link", "unlink", "write", "ftruncate", "mkdir"], ["EIO", "ENOSPC"]),
        ("read", "EIO"),
    ],
)
def test_refused_a_call(existing: Scene, call: str, error: str) -> None:
    for name in CALLS[call]:
        for point in first_middle_last(existing.points[name]):
            refused(existing, f"{name}:error={error}:when={point.hit}", point.path)


@pytest.mark.parametrize("name", ["fsync", "fdatasync", "link", "linkat", "pwrite64"])
def test_refused_a_call_for_good(existing: Scene, name: str) -> None:
    if existing.points[name]:
        refused(existing, f"{name}:error=EIO:when=1+")


def test_where_even_the_error_cannot_be_written_the_exit_code_says_it(existing: Scene) -> None:
    store = existing.store()

    trace = existing.push_with(store, "write:error=EIO:when=1+")

    assert (2, "", "") == (trace.answer.code, trace.answer.stdout, trace.answer.stderr)
    existing.recovers(store, "nothing could be written")


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_refused_the_rename_that_sets_damage_aside(damaged: Scene, error: str) -> None:
    for name in CALLS["rename"]:
        if damaged.points[name]:
            refused(damaged, f"{name}:error={error}:when=1", whole_meanwhile=False)


def refused(scene: Scene, fault: str, path: str = "", *, whole_meanwhile: bool = True) -> None:
    store = scene.store()

    trace = scene.push_with(store, fault, path)

    assert trace.injected, f"{fault}: strace injected nothing"
    if trace.answer.code == 0:
        for index in trace.injected:
            assert is_harmless(trace.calls, index), f"{fault}: acknowledged after {trace.calls[index].text}"
    else:
        assert (2, "") == (trace.answer.code, trace.answer.stdout), (fault, trace.answer.stderr)
        assert reported_code(trace.answer) != "INTERNAL", (fault, trace.answer.stderr)
    scene.recovers(store, fault, whole_meanwhile=whole_meanwhile)


def is_harmless(calls: list[Call], index: int) -> bool:
    """Whether a refused call may be passed over: what was acknowledged is durable without it.

    - A name that could not be unlinked stays, and nothing refers to it: a file in ``staging``, or a WAL whose pages
      are in the database too.
    - The database is only written, and the WAL's pages read to that end, when the WAL is folded into it. If that fails
      the WAL must stay: it has all of it.
    - A WAL that was written nothing since its last sync has nothing to lose by the next.
    - SQLite passes over a sync of the directory that has its WAL. Harmless here because the last connection folds the
      WAL into the database, which is synced, before the answer is given.
    """
    call, later = calls[index], calls[index + 1 :]
    if call.name in CALLS["unlink"]:
        return True
    if call.path.endswith(".db") or (call.name in CALLS["read"] and call.path.endswith(".db-wal")):
        return not any(other.name in CALLS["unlink"] and other.path.endswith(".db-wal") for other in later)
    if call.name in SYNCS and call.path.endswith(".db-wal"):
        return call.path not in not_durable(calls[:index])
    database_was_synced = any(o.name in SYNCS and o.path.endswith(".db") and o.succeeded for o in later)
    return call.name == "fdatasync" and not PurePath(call.path).suffix and database_was_synced


@pytest.mark.parametrize("scene", ["existing", "damaged", "nothing"])
def test_all_that_was_made_is_synced_before_the_answer(scene: str, request: pytest.FixtureRequest) -> None:
    """A file system may lose every name and byte that was not; ext4 happens to keep many of them."""
    assert set() == not_durable(before_the_answer(request.getfixturevalue(scene).dry))


def test_the_record_is_synced_while_another_process_has_the_database_open(existing: Scene, tmp_path: Path) -> None:
    """Then nobody folds the WAL into the database before the answer is given."""
    store = existing.store()

    with closing(reader_that_keeps_the_wal(store)):
        trace = existing.push_with(store, "")

    assert set() == not_durable(before_the_answer(trace))


def before_the_answer(trace: Trace) -> list[Call]:
    (answer,) = [index for index, call in enumerate(trace.calls) if call.path.startswith("pipe:")]
    return trace.calls[:answer]


def not_durable(calls: list[Call]) -> set[str]:
    """The files whose bytes, and the names whose directories, were not synced after they were made."""
    written: set[str] = set()
    named: set[str] = set()
    for call in calls:
        if not call.succeeded or call.path.endswith(".db-shm"):
            continue
        if call.name in SYNCS:
            written.discard(call.path)
            named = {name for name in named if str(PurePath(name).parent) != call.path}
        elif call.name in CALLS["write"] + CALLS["ftruncate"]:
            written.add(call.path)
        elif call.name in CALLS["link"] + CALLS["rename"] + CALLS["mkdir"]:
            named.add(call.path)
            if call.source in written:
                written.add(call.path)
        elif call.name in CALLS["unlink"]:
            written.discard(call.path)
            named.discard(call.path)
    return written | named


def steps(points: list[Point]) -> list[Point]:
    """The first of these, every STEPth after it, and the last."""
    chosen = points[::STEP]
    return chosen if points[-1:] == chosen[-1:] else [*chosen, points[-1]]


def first_middle_last(points: list[Point]) -> list[Point]:
    if LONG or len(points) < 3:
        return points
    return [points[0], points[len(points) // 2], points[-1]]
