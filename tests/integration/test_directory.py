"""Reading a directory as files: links, odd things, and a tree that changes meanwhile."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from artifactstore.domain.paths import check_paths
from artifactstore.errors import (
    FileChangedError,
    FileUnreadableError,
    InvalidRequestError,
    LimitExceededError,
    LinkInvalidError,
    PathInvalidError,
)
from artifactstore.registry.directory import DirectoryTree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.registry.directory import OpenedTreeFile, TreeFile


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.fixture
def tree(root: Path) -> Iterator[DirectoryTree]:
    with DirectoryTree(root) as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_descriptor_is_left_open() -> Iterator[None]:
    before = open_descriptors()

    yield

    assert open_descriptors() == before


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def write(path: Path, data: bytes | str = b"content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def contents(root: Path, max_files: int = 1000) -> dict[str, bytes]:
    """Every file of the tree with its bytes, as an ingest reads them."""
    with DirectoryTree(root) as tree:
        return {file.path: read(file.open()) for file in tree.files(max_files=max_files)}


def read(opened: OpenedTreeFile) -> bytes:
    try:
        data = b"".join(iter(lambda: opened.read(4), b""))
        opened.finish()
    finally:
        opened.close()
    return data


def refusal(root: Path, kind: type[InvalidRequestError]) -> dict[str, str]:
    """The names that are refused with this error, and what it says of each."""
    with pytest.raises(kind) as caught:
        contents(root)
    assert type(caught.value) is kind
    return {eval(where): what for where, what in caught.value.problems}  # names stand there as Python literals


def found(tree: DirectoryTree, path: str) -> TreeFile:
    (file,) = (file for file in tree.files(max_files=1000) if file.path == path)
    return file


# ordinary trees


def test_every_file_is_found_with_its_bytes(root: Path) -> None:
    write(root / "run.json", "{}")
    write(root / "reports/a/b/c.md", "# deep")
    write(root / ".hidden/.file", "dots")
    write(root / "empty", b"")

    assert contents(root) == {"run.json": b"{}", "reports/a/b/c.md": b"# deep", ".hidden/.file": b"dots", "empty": b""}


def test_empty_directories_are_not_kept(root: Path) -> None:
    (root / "a/b").mkdir(parents=True)
    write(root / "file")

    assert list(contents(root)) == ["file"]


def test_directory_without_files_has_none(root: Path) -> None:
    assert contents(root) == {}


def test_tree_can_be_read_twice(root: Path) -> None:
    write(root / "a/file")

    with DirectoryTree(root) as tree:
        names = [[file.path for file in tree.files(max_files=10)] for _ in range(2)]

    assert names == [["a/file"], ["a/file"]]


def test_root_may_be_a_link_itself(root: Path) -> None:
    write(root / "file")
    link = root.with_name("link")
    link.symlink_to(root)

    assert contents(link) == {"file": b"content"}


def test_tree_of_500_levels_is_read(root: Path) -> None:
    folder = os.open(root, os.O_RDONLY)
    for _ in range(500):
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(os.open("f", os.O_CREAT, dir_fd=folder))
    os.close(folder)

    assert contents(root, max_files=10_000) == {"d/" * 500 + "f": b""}


def test_deep_tree_needs_few_descriptors(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root / "/".join("d" * 100) / "file")
    most, real_scandir = 0, os.scandir

    def scandir(folder: int) -> object:
        nonlocal most
        most = max(most, open_descriptors())
        return real_scandir(folder)

    before = open_descriptors()
    monkeypatch.setattr(os, "scandir", scandir)
    contents(root)

    assert most - before < 10


def test_more_entries_than_files_are_allowed_are_refused(root: Path) -> None:
    for number in range(21):
        write(root / str(number))

    with pytest.raises(LimitExceededError):
        contents(root, max_files=10)


# roots


def test_root_that_is_a_file_is_refused(root: Path) -> None:
    with pytest.raises(FileUnreadableError, match="is not a directory"):
        contents(write(root / "file"))


def test_root_that_is_missing_is_refused(root: Path) -> None:
    with pytest.raises(FileUnreadableError, match="No such file"):
        contents(root / "missing")


def test_root_that_cannot_be_read_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_open(monkeypatch, "run")

    with pytest.raises(FileUnreadableError, match="Permission denied"):
        contents(root)


# links


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("data/file", id="below"),
        pytest.param("./data/../data//file", id="in-a-roundabout-way"),
        pytest.param("data/other", id="to-another-link"),
        pytest.param("folder-link/file", id="through-a-linked-directory"),
    ],
)
def test_link_to_a_file_inside_is_read_as_the_file(root: Path, target: str) -> None:
    write(root / "data/file", "linked")
    (root / "data/other").symlink_to("file")
    (root / "folder-link").symlink_to("data")
    (root / "link").symlink_to(target)

    assert contents(root)["link"] == b"linked"


def test_link_to_a_directory_inside_is_read_as_the_directory(root: Path) -> None:
    write(root / "data/deep/file", "linked")
    (root / "link").symlink_to("data")

    assert contents(root) == {"data/deep/file": b"linked", "link/deep/file": b"linked"}


def test_link_upwards_that_stays_inside_is_read(root: Path) -> None:
    write(root / "data/file", "linked")
    (root / "other").mkdir()
    (root / "other/link").symlink_to("../data")

    assert contents(root)["other/link/file"] == b"linked"


def test_links_inside_a_linked_directory_are_resolved_from_where_they_really_are(root: Path) -> None:
    write(root / "a/b/file", "linked")
    (root / "a/b/up").symlink_to("../../top")
    write(root / "top", "top")
    (root / "link").symlink_to("a/b")

    assert contents(root)["link/up"] == b"top"


@pytest.mark.parametrize("target", ["../secret", "..", "data/../../secret", "../run/data/file", "../../etc/passwd"])
def test_link_that_leaves_is_named(root: Path, target: str) -> None:
    write(root.with_name("secret"), "secret")
    write(root / "data/file")
    (root / "link").symlink_to(target)

    problems = refusal(root, LinkInvalidError)

    assert (list(problems), "leaves the directory" in problems["link"]) == (["link"], True)


def test_link_that_leaves_by_way_of_another_is_named(root: Path) -> None:
    write(root.with_name("secret"), "secret")
    (root / "a").mkdir()
    (root / "a/up").symlink_to("..")
    (root / "link").symlink_to("a/up/../secret")

    assert "link" in refusal(root, LinkInvalidError)


@pytest.mark.parametrize("target", ["/etc/passwd", "/"])
def test_absolute_link_is_named(root: Path, target: str) -> None:
    (root / "link").symlink_to(target)

    assert "is absolute" in refusal(root, LinkInvalidError)["link"]


def test_link_to_an_absolute_link_is_named_even_if_there_is_something_of_that_name_inside(root: Path) -> None:
    write(root / "inside")
    (root / "absolute").symlink_to("/inside")
    (root / "link").symlink_to("absolute")

    assert sorted(refusal(root, LinkInvalidError)) == ["absolute", "link"]


@pytest.mark.parametrize(("links", "accepted"), [(40, True), (41, False)])
def test_chain_of_links_is_followed_40_times(root: Path, links: int, accepted: bool) -> None:
    write(root / "link0", "linked")
    for number in range(1, links + 1):
        (root / f"link{number}").symlink_to(f"link{number - 1}")

    if accepted:
        assert contents(root)[f"link{links}"] == b"linked"
    else:
        assert "loops" in refusal(root, LinkInvalidError)[f"link{links}"]


def test_link_to_nothing_is_named(root: Path) -> None:
    (root / "link").symlink_to("missing")

    assert "No such file" in refusal(root, LinkInvalidError)["link"]


def test_link_through_a_file_is_named(root: Path) -> None:
    write(root / "file")
    (root / "link").symlink_to("file/below")

    assert list(refusal(root, LinkInvalidError)) == ["link"]


def test_link_to_itself_is_named(root: Path) -> None:
    (root / "link").symlink_to("link")

    assert "loops" in refusal(root, LinkInvalidError)["link"]


def test_links_to_each_other_are_named(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")

    assert sorted(refusal(root, LinkInvalidError)) == ["a", "b"]


@pytest.mark.parametrize("target", [".", "..", "../..", "../../data"])
def test_link_to_a_directory_it_is_in_is_named(root: Path, target: str) -> None:
    write(root / "data/deep/file")
    (root / "data/deep/link").symlink_to(target)

    assert "data/deep/link" in refusal(root, LinkInvalidError)


def test_directories_that_link_into_each_other_are_named(root: Path) -> None:
    write(root / "a/file")
    write(root / "b/file")
    (root / "a/to-b").symlink_to("../b")
    (root / "b/to-a").symlink_to("../a")

    assert sorted(refusal(root, LinkInvalidError)) == ["a/to-b/to-a", "b/to-a/to-b"]


def test_directories_that_double_with_every_level_are_bounded(root: Path) -> None:
    for level in range(30):
        (root / f"d{level}").mkdir()
        for name in ("a", "b"):
            (root / f"d{level}" / name).symlink_to(f"../d{level + 1}")
    write(root / "d30/file")

    with pytest.raises(LimitExceededError):
        contents(root, max_files=1000)


def test_every_bad_link_is_named_at_once(root: Path) -> None:
    (root / "folder").mkdir()
    for name, target in {"a": "missing", "b": "/etc", "folder/c": "../.."}.items():
        (root / name).symlink_to(target)

    assert sorted(refusal(root, LinkInvalidError)) == ["a", "b", "folder/c"]


# what is not a regular file


def test_fifo_is_named_and_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "pipe")

    assert refusal(root, FileUnreadableError) == {"pipe": "is not a regular file"}


def test_socket_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")

    assert refusal(root, FileUnreadableError) == {"socket": "is not a regular file"}


def test_link_to_a_fifo_is_named(root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "link").symlink_to("pipe")

    assert sorted(refusal(root, FileUnreadableError)) == ["link", "pipe"]


def test_file_that_becomes_a_fifo_is_not_waited_for(root: Path, tree: DirectoryTree) -> None:
    file = found(tree, write(root / "file").name)
    (root / "file").unlink()
    os.mkfifo(root / "file")

    with pytest.raises(FileUnreadableError, match="'file' is not a regular file"):
        file.open()


# what cannot be read


def refuse_open(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Permissions do not stop root, who may be running this."""
    real_open = os.open

    def refusing_open(path: str | Path, *arguments: int, **options: int) -> int:
        if Path(path).name == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real_open(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refusing_open)


def test_file_without_permission_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root / "locked")
    refuse_open(monkeypatch, "locked")

    with pytest.raises(FileUnreadableError, match="'locked' cannot be read: Permission denied"):
        contents(root)


def test_directory_without_permission_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root / "a/locked/file")
    refuse_open(monkeypatch, "locked")

    assert refusal(root, FileUnreadableError) == {"a/locked": "cannot be read: Permission denied"}


def test_directory_that_fails_while_it_is_listed_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root / "file")

    def scandir(_: int) -> object:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "scandir", scandir)

    assert refusal(root, FileUnreadableError) == {"": "cannot be read: Input/output error"}


def test_link_that_vanishes_while_it_is_looked_at_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "link").symlink_to("file")

    def readlink(*_: object, **__: object) -> str:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(os, "readlink", readlink)

    assert list(refusal(root, LinkInvalidError)) == ["link"]


def test_read_that_fails_names_the_file(root: Path, tree: DirectoryTree, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = found(tree, write(root / "file").name).open()

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "read", fail)

    with pytest.raises(FileUnreadableError, match="'file' cannot be read: Input/output error"):
        opened.read(10)
    opened.close()


# files that change meanwhile


def test_file_that_grows_while_it_is_read_is_refused(root: Path, tree: DirectoryTree) -> None:
    path = write(root / "log", "12345678")
    opened = found(tree, "log").open()
    opened.read(4)
    with path.open("ab") as file:
        file.write(b"more")

    with pytest.raises(FileChangedError, match="'log' grew"):
        read(opened)


def test_file_that_grows_after_its_last_byte_was_read_is_refused(root: Path, tree: DirectoryTree) -> None:
    path = write(root / "log", "12345678")
    opened = found(tree, "log").open()
    opened.read(8)
    with path.open("ab") as file:
        file.write(b"more")

    with pytest.raises(FileChangedError, match="'log' changed"):
        opened.finish()
    opened.close()


def test_file_that_shrinks_while_it_is_read_is_refused(root: Path, tree: DirectoryTree) -> None:
    path = write(root / "log", "12345678")
    opened = found(tree, "log").open()
    opened.read(4)
    os.truncate(path, 4)

    with pytest.raises(FileChangedError, match="'log' changed"):
        read(opened)


def test_file_that_is_rewritten_in_place_is_refused(root: Path, tree: DirectoryTree) -> None:
    path = write(root / "log", "12345678")
    os.utime(path, ns=(0, 0))
    opened = found(tree, "log").open()
    opened.read(4)
    path.write_bytes(b"abcdefgh")

    with pytest.raises(FileChangedError, match="'log' changed"):
        read(opened)


def test_file_that_was_not_read_to_its_end_does_not_pass(root: Path, tree: DirectoryTree) -> None:
    opened = found(tree, write(root / "log", "12345678").name).open()
    opened.read(4)

    with pytest.raises(FileChangedError):
        opened.finish()
    opened.close()


def test_file_that_disappears_before_it_is_opened_is_named(root: Path, tree: DirectoryTree) -> None:
    file = found(tree, write(root / "gone").name)
    (root / "gone").unlink()

    with pytest.raises(FileChangedError, match="'gone' disappeared"):
        file.open()


def test_file_swapped_for_a_link_is_not_followed(root: Path, tree: DirectoryTree) -> None:
    secret = write(root.with_name("secret"), "secret")
    file = found(tree, write(root / "file").name)
    (root / "file").unlink()
    (root / "file").symlink_to(secret)

    with pytest.raises(FileChangedError, match="'file' became a link"):
        file.open()


def test_directory_swapped_for_a_link_is_not_followed(root: Path, tree: DirectoryTree) -> None:
    write(root.with_name("elsewhere") / "file", "secret")
    write(root / "folder/file")
    file = found(tree, "folder/file")
    (root / "folder").rename(root.with_name("moved"))
    (root / "folder").symlink_to(root.with_name("elsewhere"))

    with pytest.raises(FileChangedError, match="'folder/file'"):
        file.open()


def test_directory_swapped_for_a_link_while_the_tree_is_walked_is_not_followed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root.with_name("elsewhere") / "file", "secret")
    write(root / "folder/file")
    real_open = os.open

    def swap_and_open(path: str | Path, *arguments: int, **options: int) -> int:
        if path == "folder" and not (root / "folder").is_symlink():
            (root / "folder").rename(root.with_name("moved"))
            (root / "folder").symlink_to(root.with_name("elsewhere"))
        return real_open(path, *arguments, **options)

    monkeypatch.setattr(os, "open", swap_and_open)

    assert list(refusal(root, FileUnreadableError)) == ["folder"]


def test_size_of_a_file_that_is_gone_is_zero(root: Path, tree: DirectoryTree) -> None:
    file = found(tree, write(root / "file", "12345").name)
    before = file.size_bytes()
    (root / "file").unlink()

    assert (before, file.size_bytes()) == (5, 0)


# names: the walk takes them as they are, and the rules for paths refuse them by name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param(b"bell\x07", "has a control character", id="control-character"),
        pytest.param(b"new\nline", "has a control character", id="new-line"),
        pytest.param(b"back\\slash", "has a backslash", id="backslash"),
        pytest.param(b"caf\xe9", "is not valid UTF-8", id="not-utf-8"),
        pytest.param("e\u0301".encode(), "is not in Unicode normalisation form C", id="not-nfc"),
    ],
)
def test_name_that_cannot_be_stored_is_named(root: Path, name: bytes, expected: str) -> None:
    with open(os.fsencode(root) + b"/" + name, "wb"):  # noqa: PTH123 - a Path is text
        pass

    with DirectoryTree(root) as tree, pytest.raises(PathInvalidError) as caught:
        check_paths([file.path for file in tree.files(max_files=10)])

    assert caught.value.problems == ((repr(os.fsdecode(name)), expected),)


def test_directory_whose_path_is_longer_than_1024_bytes_is_named(root: Path) -> None:
    folder, names = os.open(root, os.O_RDONLY), ["d" * 204] * 4 + ["e" * 205]
    for name in names:
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)

    assert refusal(root, PathInvalidError) == {"/".join(names): "is longer than 1024 bytes"}


def test_file_whose_path_is_longer_than_1024_bytes_is_named(root: Path) -> None:
    names = ["d" * 204] * 4 + ["e" * 205]
    write(root / "/".join(names))

    with DirectoryTree(root) as tree, pytest.raises(PathInvalidError) as caught:
        check_paths([file.path for file in tree.files(max_files=10)])

    assert caught.value.problems == ((repr("/".join(names)), "is 1025 bytes long, more than 1024"),)


# one file by its path


def test_file_is_found_by_its_path(root: Path, tree: DirectoryTree) -> None:
    write(root / "reports/report.md", "# Report")

    file = tree.file("reports/report.md")

    assert file is not None
    assert read(file.open()) == b"# Report"


def test_file_is_found_through_a_link(root: Path, tree: DirectoryTree) -> None:
    write(root / "data/file", "linked")
    (root / "link").symlink_to("data")

    file = tree.file("link/file")

    assert file is not None
    assert (file.path, read(file.open())) == ("link/file", b"linked")


@pytest.mark.parametrize("path", ["missing", "missing/below", "file/below", "nul\x00", "\ud800", "", ".", "file/.."])
def test_path_at_which_no_file_can_be_gives_none(root: Path, tree: DirectoryTree, path: str) -> None:
    write(root / "file")

    assert tree.file(path) is None


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "folder/../../secret", "out/secret"])
def test_path_that_leaves_is_refused(root: Path, tree: DirectoryTree, path: str) -> None:
    write(root.with_name("secret"), "secret")
    (root / "folder").mkdir()
    (root / "out").symlink_to("..")

    with pytest.raises(LinkInvalidError):
        tree.file(path)


def test_path_of_a_directory_cannot_be_opened_as_a_file(root: Path, tree: DirectoryTree) -> None:
    (root / "folder").mkdir()
    file = tree.file("folder")

    assert file is not None
    with pytest.raises(FileUnreadableError, match="'folder' is not a regular file"):
        file.open()


def test_path_that_is_too_long_for_the_system_is_refused(tree: DirectoryTree) -> None:
    with pytest.raises(FileUnreadableError, match="File name too long"):
        tree.file("x" * 5000)
