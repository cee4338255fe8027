"""The tree on disk: whole files or none, whoever dies where; and whatever state it is in, it can be read."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore import failpoints
from artifactstore.domain.instant import parse_instant
from artifactstore.errors import DestinationInvalidError, FileUnreadableError, PathInvalidError, StorageFullError
from artifactstore.pilots.testing_os.filing import UnsafePlaceError, place_of, place_of_1_1
from artifactstore.pilots.testing_os.tree import INDEX_NAMES, MOST_RECORDS, TreeBusyError, Written, locked_tree
from artifactstore.pilots.testing_os.tree_reading import Corruption, Skipped, TreeRecord, read_tree
from tests.support import SIGKILLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Die = Callable[[int, Path], tuple[int, list[str]]]

NOW = parse_instant("2026-11-20T12:00:00Z")
PATH = "records/org/repo/2026/03/19/run-1.json"
TEXT = '{\n  "run_id": "1"\n}\n'
DATA = TEXT.encode()
OLD = {name: f'{{"old": "{name}"}}\n' for name in INDEX_NAMES}
NEW = {name: f'{{"new": "{name}"}}\n' for name in INDEX_NAMES}


def written(root: Path, path: str = PATH, data: bytes = DATA) -> Written:
    with locked_tree(root, wait_s=0) as tree:
        return tree.write_record(path, data)


def indexed(root: Path, texts: dict[str, str]) -> bool:
    with locked_tree(root, wait_s=0) as tree:
        return tree.write_indexes({name: text.encode() for name, text in texts.items()}, started_at=NOW)


def files(root: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def put(root: Path, path: str, data: bytes | str = DATA) -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data.encode() if isinstance(data, str) else data)
    return target


# where a record belongs


@pytest.mark.parametrize(
    ("repo", "run_id", "finished_at", "default", "in_1_1"),
    [
        ("o/r", "a-_1", "2026-03-19T23:45:12-04:00", "o/r/2026/03/20/run-a-_1.json", None),
        ("o/r/x", "a", "2026-03-19T00:00:00Z", "invalid repo format: o/r/x", "o/r/2026/03/19/run-a.json"),
        ("o", "a", "2026-03-19T00:00:00Z", "invalid repo format: o", None),
        ("o/", "a", "2026-03-19T00:00:00Z", "invalid repo format: o/", None),
        ("../r", "a", "2026-03-19T00:00:00Z", "unsafe repo segment: ../r", None),
        ("o/a..b", "a", "2026-03-19T00:00:00Z", "unsafe repo segment: o/a..b", None),
        ("o\\x/r", "a", "2026-03-19T00:00:00Z", "unsafe repo segment: o\\x/r", None),
        ("./r", "a", "2026-03-19T00:00:00Z", "unsafe repo segment: ./r", "r/2026/03/19/run-a.json"),
        ("o/r", "a\n", "2026-03-19T00:00:00Z", "unsafe run_id: a\n", None),
        ("o/r", "../a", "2026-03-19T00:00:00Z", "unsafe run_id: ../a", None),
        ("o/r", "a", "", "record missing timing.finished_at", None),
        ("o/r", "a", "2026-03-19T00:00:00+05", "Invalid finished_at timestamp", None),
    ],
)
def test_a_place_is_guarded_in_each_profile_in_the_published_words(repo, run_id, finished_at, default, in_1_1):
    record = {"repo": repo, "run_id": run_id, "timing": {"finished_at": finished_at}}

    found = []
    for place in (place_of, place_of_1_1):
        try:
            found.append(place(record).path(rejected=False).removeprefix("records/"))
        except UnsafePlaceError as error:
            found.append(str(error))

    assert [default, default if in_1_1 is None else in_1_1] == found


@pytest.mark.parametrize(
    "path",
    [
        "",
        "run-1.json",
        "indexes/run-1.json",
        "/records/run-1.json",
        "records/../run-1.json",
        "records/./run-1.json",
        "records//run-1.json",
        "records/o\\x/run-1.json",
        "records/o\0/run-1.json",
        "records/o/1.json",
        "records/o/run-1.yaml",
        "records/o/run-1.json\n",
        f"records/o/run-{'x' * 250}.json",
        "records/" + "\u00e9" * 130 + "/run-1.json",
    ],
)
def test_what_is_no_records_path_is_not_written(tmp_path, path):
    with pytest.raises(PathInvalidError):
        written(tmp_path, path)

    assert {} == files(tmp_path)


# records


@pytest.mark.parametrize("count", [3, 150], ids=["few directories", "more than are kept open"])
def test_every_record_is_durable_with_its_name_before_an_index_names_it(tmp_path, monkeypatch, count):
    happened: list[tuple[str, str]] = []
    sync, rename = os.fsync, os.rename

    def fsync(descriptor):
        happened.append(("sync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        sync(descriptor)

    def renamed(source, target, **options):
        happened.append(("rename", str(target)))
        rename(source, target, **options)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", renamed)
    paths = [f"records/org/repo-{number}/2026/03/19/run-a.json" for number in range(count)]

    with locked_tree(tmp_path, wait_s=5) as tree:
        for start in range(0, count, MOST_RECORDS):
            tree.write_records(dict.fromkeys(paths[start : start + MOST_RECORDS], DATA))
        tree.write_indexes(dict.fromkeys(INDEX_NAMES, b"{}"), started_at=NOW)

    before = happened[: [kind for kind, _ in happened].index("rename")]
    synced = {path.removesuffix(" (deleted)") for kind, path in before if kind == "sync"}
    for path in paths:
        folder = (tmp_path / path).parent
        assert {str(folder), *(str(above) for above in folder.parents if tmp_path in above.parents)} <= synced
        assert any(each.startswith(f"{tmp_path / path}.") for each in synced), "the file itself, before it has its name"


def test_a_record_is_written_once(tmp_path):
    assert [Written.NEW, Written.PRESENT] == [written(tmp_path), written(tmp_path)]

    assert {PATH: DATA} == files(tmp_path)


def test_another_record_of_the_name_is_kept(tmp_path):
    put(tmp_path, PATH, "other")

    assert written(tmp_path) is Written.OTHER

    assert {PATH: b"other"} == files(tmp_path)


def test_an_empty_file_is_no_record_and_gives_way_to_one(tmp_path):
    put(tmp_path, PATH, "")

    assert written(tmp_path) is Written.NEW

    assert {PATH: DATA} == files(tmp_path)


def test_where_there_are_no_hard_links_a_name_is_taken_all_the_same(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOTSUP, "no links here")

    monkeypatch.setattr(os, "link", refuse)

    assert written(tmp_path) is Written.NEW
    assert written(tmp_path, data=b"other") is Written.OTHER
    assert {PATH: DATA} == files(tmp_path)


def test_what_comes_between_two_looks_is_kept(tmp_path):
    def come_first(name: str) -> None:
        if name == "tree.before-record-name":
            put(tmp_path, PATH, "first")

    with armed(come_first):
        assert written(tmp_path) is Written.OTHER

    assert {PATH: b"first"} == files(tmp_path)


@pytest.mark.parametrize("link", ["records", "records/org", "records/org/repo/2026/03/19"])
def test_no_link_is_followed_when_writing(tmp_path, link):
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    (root / link).parent.mkdir(parents=True)
    (root / link).symlink_to(outside)

    with pytest.raises(DestinationInvalidError):
        written(root)

    assert {} == files(outside)


def test_a_link_that_has_a_records_name_is_kept_and_not_written_through(tmp_path):
    outside = put(tmp_path, "outside", "")
    (tmp_path / PATH).parent.mkdir(parents=True)
    (tmp_path / PATH).symlink_to(outside)

    assert written(tmp_path) is Written.OTHER

    assert outside.read_bytes() == b""


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    indexed(tmp_path, OLD)

    def fail(name: str) -> None:
        if name == "tree.before-sync":
            raise OSError(errno.ENOSPC, "No space left on device")

    with armed(fail), pytest.raises(StorageFullError, match="No space left"):
        written(tmp_path)
    with armed(fail_late("tree.before-index-name")), pytest.raises(StorageFullError):
        indexed(tmp_path, NEW)

    assert {f"indexes/{name}": text.encode() for name, text in OLD.items()} == files(tmp_path)


def fail_late(point: str) -> Callable[[str], None]:
    def fail(name: str) -> None:
        if name == point:
            raise OSError(errno.ENOSPC, "No space left on device")

    return fail


@contextmanager
def armed(action: Callable[[str], None]) -> Iterator[None]:
    failpoints.arm(action)
    try:
        yield
    finally:
        failpoints.arm(None)


# indexes


def test_indexes_are_replaced_where_they_differ(tmp_path):
    assert indexed(tmp_path, OLD)
    unchanged = (tmp_path / "indexes" / "failing.json").stat()

    assert indexed(tmp_path, {**NEW, "failing.json": OLD["failing.json"]})

    assert (tmp_path / "indexes" / "failing.json").stat().st_ino == unchanged.st_ino
    assert texts_of(tmp_path) == {**NEW, "failing.json": OLD["failing.json"]}
    assert not indexed(tmp_path, texts_of(tmp_path))


def texts_of(root: Path) -> dict[str, str]:
    """The directory of the indexes, which holds nothing else."""
    return {path.name: path.read_text() for path in (root / "indexes").iterdir()}


def test_an_index_that_is_a_link_is_replaced_and_what_it_leads_to_is_not_touched(tmp_path):
    outside = put(tmp_path, "outside", OLD["failing.json"])
    (tmp_path / "indexes").mkdir()
    (tmp_path / "indexes" / "failing.json").symlink_to(outside)

    indexed(tmp_path, NEW)

    assert texts_of(tmp_path) == NEW
    assert outside.read_text() == OLD["failing.json"]


def journal_of(root: Path, pid: int, temporaries: dict[str, str], content: str | None = None) -> Path:
    """A journal and temporaries as the original leaves them when it is killed."""
    for name in temporaries.values():
        put(root, f"indexes/{name}", "half")
    entries = [
        {"tmpPath": f"{root}/indexes/{temporary}", "finalPath": f"{root}/indexes/{name}"}
        for name, temporary in temporaries.items()
    ]
    journal = {"pid": pid, "started_at": "2026-11-20T20:40:29.140Z", "entries": entries}
    text = json.dumps(journal, indent=2) + "\n" if content is None else content
    return put(root, f"indexes/.in-progress.{pid}.433fab00.json", text)


LEFT = {"failing.json": "failing.json.a234f448.tmp", "stale.json": "stale.json.9f9bd2d7.tmp"}


@pytest.fixture
def dead() -> int:
    """The id of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_killed_original_has_left_is_removed(tmp_path, dead):
    indexed(tmp_path, OLD)
    journal_of(tmp_path, dead, LEFT)

    with locked_tree(tmp_path, wait_s=0) as tree:
        assert tree.repair() == 0  # done already

    assert texts_of(tmp_path) == OLD


def test_a_journal_under_our_own_id_is_of_an_earlier_process(tmp_path):
    journal_of(tmp_path, os.getpid(), LEFT)

    indexed(tmp_path, NEW)

    assert texts_of(tmp_path) == NEW


def test_a_journal_of_a_process_that_lives_is_left_alone(tmp_path):
    journal = journal_of(tmp_path, os.getppid(), LEFT)

    indexed(tmp_path, NEW)

    assert {*NEW, *LEFT.values(), journal.name} == set(texts_of(tmp_path))


@pytest.mark.parametrize("content", ["", '{"pid": 1, "ent', "[]", "null", '{"entries": [null, 7, {"tmpPath": []}]}'])
def test_a_torn_journal_is_removed(tmp_path, dead, content):
    journal_of(tmp_path, dead, {}, content)

    indexed(tmp_path, NEW)

    assert texts_of(tmp_path) == NEW


def test_a_journal_that_lies_takes_nothing_else_away(tmp_path, dead):
    indexed(tmp_path, OLD)
    kept = [put(tmp_path, "x.tmp"), put(tmp_path, "failing.json.a234f448.tmp"), put(tmp_path, "indexes/notes.json")]
    named = [*map(str, kept), "../x.tmp", f"{tmp_path}/indexes/failing.json", "..\\x.tmp", "/"]
    journal_of(tmp_path, dead, {}, json.dumps({"entries": [{"tmpPath": name} for name in named]}))

    written(tmp_path)

    assert all(path.exists() for path in kept)
    assert (tmp_path / "indexes" / "failing.json").exists()
    assert not list((tmp_path / "indexes").glob(".in-progress*"))


# killed at every step


@pytest.fixture(scope="module")
def die() -> Iterator[Any]:
    """A function that has a process write what it is told and die at a failpoint."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.pilots.testing_os.tree_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(hit: int, root: Path, **order: Any) -> tuple[int, list[str]]:
        process.stdin.write(json.dumps({"hit": hit, "root": str(root), **order}) + "\n")
        process.stdin.flush()
        status, passed = json.loads(process.stdout.readline())
        return status, passed

    yield ask
    process.communicate(timeout=30)


@pytest.mark.parametrize("before", [None, b""], ids=["nothing is there", "an empty file is there"])
def test_killed_at_every_step_of_a_record(tmp_path, die, before):
    template = tmp_path / "template"
    template.mkdir()
    if before is not None:
        put(template, PATH, before)
    status, passed = die(0, copy_of(template, tmp_path / "dry-run"), records={PATH: TEXT})
    assert status == 0

    for hit in range(1, len(passed) + 1):
        root = copy_of(template, tmp_path / str(hit))
        assert die(hit, root, records={PATH: TEXT})[0] == SIGKILLED, passed[hit - 1]

        is_there = files(root).get(PATH, before)
        assert is_there in {before, DATA}, passed[hit - 1]
        reads = [each for each in read_tree(root) if isinstance(each, TreeRecord)]
        assert [each.data for each in reads] == ([DATA] if is_there == DATA else [])

        again = written(root)
        assert again is (Written.PRESENT if is_there == DATA else Written.NEW), passed[hit - 1]
        assert {PATH: DATA} == files(root), passed[hit - 1]

    wanted = {"tree.before-bytes", "tree.before-sync", "tree.before-record-name", "tree.after-record-name"}
    wanted |= {"tree.before-directory-sync", "tree.before-record-end", "tree.before-names-sync"}
    assert wanted == set(passed)


def test_killed_at_every_step_of_the_indexes(tmp_path, die):
    template = tmp_path / "template"
    template.mkdir()
    indexed(template, OLD)
    status, passed = die(0, copy_of(template, tmp_path / "dry-run"), indexes=NEW)
    assert status == 0

    seen = set()
    for hit in range(1, len(passed) + 1):
        root = copy_of(template, tmp_path / str(hit))
        assert die(hit, root, indexes=NEW)[0] == SIGKILLED, passed[hit - 1]

        states = [(root / "indexes" / name).read_text() for name in INDEX_NAMES]
        seen.add(sum(state == NEW[name] for state, name in zip(states, INDEX_NAMES, strict=True)))
        assert all(state in {OLD[name], NEW[name]} for state, name in zip(states, INDEX_NAMES, strict=True))

        indexed(root, NEW)
        assert texts_of(root) == NEW, passed[hit - 1]

    assert seen == {0, 1, 2, 3}
    assert {"tree.before-index-written", "tree.before-index-name", "tree.after-index-names"} < set(passed)
    assert passed[-1] == "tree.before-journal-end"


def test_killed_at_every_step_of_a_repair(tmp_path, die, dead):
    template = tmp_path / "template"
    template.mkdir()
    indexed(template, OLD)
    journal_of(template, dead, LEFT)
    status, passed = die(0, copy_of(template, tmp_path / "dry-run"))
    assert status == 0

    for hit in range(1, len(passed) + 1):
        root = copy_of(template, tmp_path / str(hit))
        assert die(hit, root)[0] == SIGKILLED
        assert all((root / "indexes" / name).read_text() == OLD[name] for name in INDEX_NAMES)

        assert not indexed(root, OLD)
        assert texts_of(root) == OLD

    assert passed == ["tree.before-repair"] * 3


def copy_of(template: Path, root: Path) -> Path:
    shutil.copytree(template, root)
    return root


# one at a time


@contextmanager
def holding(root: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the lock."""
    program = "import json, sys; from tests.pilots.testing_os.tree_process import write; write(json.loads(sys.argv[1]))"
    order = json.dumps({"root": str(root), "hold": 60})
    process = subprocess.Popen([sys.executable, "-c", program, order], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_tree_has_one_writer_at_a_time_and_its_lock_ends_with_the_process(tmp_path):
    with holding(tmp_path) as process:
        with pytest.raises(TreeBusyError) as caught:
            written(tmp_path)
        assert caught.value.retryable

        process.kill()
        process.wait()

        assert written(tmp_path) is Written.NEW

    assert {PATH: DATA} == files(tmp_path)  # the lock is no file


def test_many_writers_at_once_lose_nothing(tmp_path):
    program = (
        "import json, sys; from tests.pilots.testing_os.tree_process import write; "
        "[write(order) for order in json.loads(sys.argv[1])]"
    )
    orders = [
        [
            {
                "root": str(tmp_path),
                "wait_s": 60,
                "records": {f"records/o/r/2026/11/01/run-{process}-{n}.json": TEXT for n in range(first, first + 5)},
                "indexes": {name: f"{process}-{first}-{name}" for name in INDEX_NAMES},
            }
            for first in range(0, 25, 5)
        ]
        for process in range(4)
    ]
    processes = [subprocess.Popen([sys.executable, "-c", program, json.dumps(order)]) for order in orders]

    assert [0] * 4 == [process.wait(120) for process in processes]

    found = texts_of(tmp_path)
    assert set(found) == set(INDEX_NAMES)
    assert len({text.removesuffix(name) for name, text in found.items()}) == 1
    assert 100 == sum(isinstance(each, TreeRecord) for each in read_tree(tmp_path))
    assert 103 == len(files(tmp_path))


def test_a_root_that_is_not_there_is_the_callers_error(tmp_path):
    with pytest.raises(FileUnreadableError):
        written(tmp_path / "nowhere")
    with pytest.raises(FileUnreadableError):
        list(read_tree(tmp_path / "nowhere"))


# reading


def record_text(**members: Any) -> str:
    return json.dumps({"run_id": "1", **members})


def test_a_tree_is_read_in_the_order_of_the_originals_scan(tmp_path):
    order = [
        "records/.hidden.json",
        "records/O/r/2026/11/01/run-a.json",
        "records/o/foo/2026/11/01/run-a.json",
        "records/o/foo/2026/11/02/run-a.json",
        "records/o/foo-bar/2026/11/01/run-a.json",
        "records/o/foo.js/2026/11/01/run-a.json",
        "records/run-top.json",
        "records/z/_rejected/run-a.json",
        "records/\u00e9/foo/2026/11/01/run-a.json",
        "records/\uff61/foo/2026/11/01/run-a.json",
        "records/\U0001f600/foo/2026/11/01/run-a.json",
        "records/_rejected/o/foo/2026/11/01/run-a.json",
        "records/_rejected/o/foo-bar/2026/11/01/run-a.json",
    ]
    for path in reversed(order):
        put(tmp_path, path, record_text(path=path))
    for other in ("records/README.md", "records/x.JSON", f"{PATH}.deadbeef.tmp", "indexes/stale.json", "x.json"):
        put(tmp_path, other)

    found = list(read_tree(tmp_path))

    assert order == [each.path for each in found]
    assert all(isinstance(each, TreeRecord) and each.value["path"] == each.path for each in found)
    assert found[0].data == record_text(path=order[0]).encode()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not valid JSON"),
        (b'{"run_id": ', "not valid JSON"),
        (b'\xef\xbb\xbf{"run_id": "1"}', "not valid JSON"),
        (b'{"run_id": "\xff"}', "not UTF-8"),
        (b'{"run_id": "1", "run_id": "2"}', "duplicate key"),
        (b'{"run_id": NaN}', "not a JSON number"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 100 + b"]" * 100, "nested deeper"),
        (b'{"run_id": "1", "x": "' + b"x" * 17_000_000 + b'"}', "more than 16777216 bytes"),
    ],
    ids=["empty", "torn", "mark", "bytes", "repeated key", "NaN", "bomb", "deep", "huge"],
)
def test_a_corrupted_file_is_told_and_passed_over(tmp_path, data, problem):
    put(tmp_path, "records/a.json", record_text())
    put(tmp_path, "records/b.json", data)
    put(tmp_path, "records/c.json", record_text())

    first, found, last = read_tree(tmp_path)

    assert isinstance(first, TreeRecord)
    assert isinstance(found, Corruption)
    assert isinstance(last, TreeRecord)
    assert found.path == "records/b.json"
    assert problem in found.error


@pytest.mark.parametrize("text", ["null", "[]", '"x"', "7", "{}", '{"run_id": ""}', '{"run_id": null}'])
def test_json_that_is_no_record_is_skipped(tmp_path, text):
    put(tmp_path, "records/a.json", text)

    assert [Skipped("records/a.json", "missing run_id")] == list(read_tree(tmp_path))


def test_a_link_within_the_root_is_followed_and_one_that_leaves_it_is_not(tmp_path):
    root = tmp_path / "root"
    put(root, "kept/one.json", record_text(run_id="kept"))
    secret = put(tmp_path, "secret.json", record_text(run_id="secret"))
    put(tmp_path, "folder/secret.json", record_text(run_id="secret"))
    links = root / "records"
    links.mkdir()
    (links / "a.json").symlink_to("../kept/one.json")
    (links / "b.json").symlink_to("../../secret.json")
    (links / "c.json").symlink_to(secret)
    (links / "d.json").symlink_to("nowhere.json")
    (links / "e.json").symlink_to("e.json")
    (links / "f").symlink_to(tmp_path / "folder")
    (links / "g.json").symlink_to("../kept")

    found = list(read_tree(root))

    assert [("a.json", TreeRecord), *((f"{name}.json", Corruption) for name in "bcde")] == [
        (each.path.removeprefix("records/"), type(each)) for each in found
    ]
    assert found[0].value == {"run_id": "kept"}
    assert "secret" not in json.dumps([getattr(each, "value", None) for each in found])


def test_records_that_are_a_link_are_told_and_not_read(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    put(tmp_path, "elsewhere/a.json", record_text())
    (root / "records").symlink_to(tmp_path / "elsewhere")

    (found,) = read_tree(root)

    assert isinstance(found, Corruption)
    assert found.path == "records"


def test_what_is_no_file_is_told_and_not_waited_for(tmp_path):
    (tmp_path / "records").mkdir()
    os.mkfifo(tmp_path / "records" / "a.json")
    (tmp_path / "records" / "b.json").mkdir()
    put(tmp_path, "records/b.json/c.json", record_text())

    pipe, record = read_tree(tmp_path)

    assert Corruption("records/a.json", "is not a regular file") == pipe
    assert record.path == "records/b.json/c.json"


def test_a_name_that_is_not_utf8_is_told(tmp_path):
    (tmp_path / "records").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/records/\xff.json")).write_text(record_text())

    assert [Corruption("records/\\xff.json", "its name is not UTF-8")] == list(read_tree(tmp_path))


def test_directories_without_end_are_told(tmp_path):
    put(tmp_path, "records/" + "d/" * 40 + "a.json", record_text())

    (found,) = read_tree(tmp_path)

    assert isinstance(found, Corruption)
    assert "directories are within each other" in found.error


def test_a_tree_without_records_has_none(tmp_path):
    assert [] == list(read_tree(tmp_path))
