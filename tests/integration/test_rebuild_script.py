"""The script in docs/reference rebuilds packages that the product stored, and needs nothing of it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import cbor2
import pytest
from blake3 import blake3

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.domain.media_type import media_type_of
from artifactstore.domain.package import DEFAULT_ROLE, FileDraft, PackageDraft
from artifactstore.domain.retention import RetentionClass
from artifactstore.registry.directory import DirectoryTree
from artifactstore.registry.ingest import ingest
from artifactstore.testing.builders import some_bytes

SCRIPT = Path(__file__).parents[2] / "docs/reference/rebuild_package.py"
FILES = {
    "run.json": b"{}\n",
    "empty": b"",
    "logs/a/b/c.log": b"line\n" * 1000,
    "logs/copy.log": b"line\n" * 1000,
    "Übersicht/Prüfung.txt": b"bestanden",
    "large.bin": some_bytes(3 * 1024 * 1024),
    "at-the-threshold.bin": some_bytes(1024 * 1024, seed=1),
    "below-the-threshold.bin": some_bytes(1024 * 1024 - 1, seed=2),
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A directory of objects, and the manifest digest of a package in it."""
    home = tmp_path_factory.mktemp("home")
    run = tmp_path_factory.mktemp("run")
    for path, data in FILES.items():
        (run / path).parent.mkdir(parents=True, exist_ok=True)
        (run / path).write_bytes(data)
    registry = open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}), actor="local:builder")
    try:
        with DirectoryTree(run) as tree:
            files = tuple(
                FileDraft(file.path, file, DEFAULT_ROLE, media_type_of(file.path)) for file in tree.files(max_files=100)
            )
            receipt = ingest(registry, PackageDraft("builder", files, RetentionClass.RAW_EVIDENCE, external_id="run-1"))
    finally:
        registry.close()
    return home / "objects", receipt.manifest_digest


@pytest.fixture
def objects(stored: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    copied = tmp_path / "copied"
    subprocess.run(["cp", "-r", "--no-preserve=mode", stored[0], copied], check=True)
    return copied


def rebuild(objects: Path, manifest: str, destination: Path) -> subprocess.CompletedProcess[str]:
    """The script on its own: another process, in a directory from which the product cannot be imported by chance."""
    command = [sys.executable, "-P", "-W", "error", str(SCRIPT), str(objects), manifest, str(destination)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")


def tree_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_every_byte_comes_back(stored: tuple[Path, str], tmp_path: Path) -> None:
    finished = rebuild(*stored, tmp_path / "out")

    assert (finished.returncode, finished.stderr) == (0, "")
    assert tree_of(tmp_path / "out") == dict(sorted(FILES.items()))


def test_manifest_may_be_a_file(stored: tuple[Path, str], tmp_path: Path) -> None:
    objects, digest = stored
    (manifest,) = objects.glob("manifests/**/*.cbor")

    finished = rebuild(objects, str(manifest), tmp_path / "out")

    assert (finished.returncode, manifest.stem) == (0, digest.removeprefix("blake3:"))


def test_script_imports_nothing_but_the_standard_library_blake3_and_cbor2() -> None:
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(SCRIPT.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }

    assert imported - sys.stdlib_module_names == {"blake3", "cbor2"}


def test_script_has_at_most_100_lines() -> None:
    assert len(SCRIPT.read_text().splitlines()) <= 100


@pytest.mark.parametrize("name", ["large.bin", "run.json", "empty"])
def test_missing_blob_is_named_and_the_others_come_back(
    objects: Path, stored: tuple[Path, str], tmp_path: Path, name: str
) -> None:
    address = blake3(FILES[name]).hexdigest()
    for path in objects.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes().replace(address.encode(), b"0" * 64))
    (objects / f"blobs/blake3/{address[:2]}/{address[2:4]}/{address}").unlink(missing_ok=True)

    finished = rebuild(objects, stored[1], tmp_path / "out")

    assert (finished.returncode, finished.stderr.splitlines()[-1]) == (1, f"missing or damaged: {name!r}")
    assert tree_of(tmp_path / "out") == {path: data for path, data in sorted(FILES.items()) if path != name}


def test_damaged_blob_is_named_and_not_kept(objects: Path, stored: tuple[Path, str], tmp_path: Path) -> None:
    (large,) = (path for path in objects.glob("blobs/**/*") if path.is_file() and path.stat().st_size == 3 * 1024**2)
    large.write_bytes(b"\xff" + large.read_bytes()[1:])

    finished = rebuild(objects, stored[1], tmp_path / "out")

    assert (finished.returncode, (tmp_path / "out/large.bin").exists()) == (1, False)


def test_damage_in_a_pack_costs_only_the_files_it_hits(objects: Path, stored: tuple[Path, str], tmp_path: Path) -> None:
    (pack,) = objects.glob("packs/**/*.zip")
    pack.write_bytes(pack.read_bytes().replace(b"line\n", b"lime\n", 1))

    finished = rebuild(objects, stored[1], tmp_path / "out")

    hit = {"logs/a/b/c.log", "logs/copy.log"}
    assert finished.returncode == 1
    assert tree_of(tmp_path / "out") == {path: data for path, data in sorted(FILES.items()) if path not in hit}


def test_sound_copy_in_another_pack_is_found(objects: Path, stored: tuple[Path, str], tmp_path: Path) -> None:
    (pack,) = objects.glob("packs/**/*.zip")
    pack.with_name("f" * 64 + ".zip").write_bytes(pack.read_bytes())
    pack.write_bytes(pack.read_bytes().replace(b"line\n", b"lime\n", 1))

    finished = rebuild(objects, stored[1], tmp_path / "out")

    assert (finished.returncode, tree_of(tmp_path / "out")) == (0, dict(sorted(FILES.items())))


def test_pack_that_is_no_archive_is_passed_over(objects: Path, stored: tuple[Path, str], tmp_path: Path) -> None:
    (pack,) = objects.glob("packs/**/*.zip")
    pack.with_name("0" * 64 + ".zip").write_bytes(b"not an archive")

    finished = rebuild(objects, stored[1], tmp_path / "out")

    assert (finished.returncode, "passed over" in finished.stderr) == (0, True)


def test_damaged_manifest_is_refused(objects: Path, stored: tuple[Path, str], tmp_path: Path) -> None:
    (manifest,) = objects.glob("manifests/**/*.cbor")
    manifest.write_bytes(manifest.read_bytes().replace(b"run.json", b"ruN.json"))

    finished = rebuild(objects, stored[1], tmp_path / "out")

    assert (finished.returncode, "is damaged" in finished.stderr, (tmp_path / "out").exists()) == (1, True, False)


@pytest.mark.parametrize("path", ["../out.txt", "/tmp/out.txt", "a/../../b", "a//b", "C:\\a", "C:a", "a\\..\\b", ""])
def test_path_that_leaves_the_destination_is_refused(tmp_path: Path, path: str) -> None:
    document = {"version": 1, "files": [{"path": path, "size": 0, "blake3": b"", "sha256": b""}]}
    (tmp_path / "manifest.cbor").write_bytes(cbor2.dumps(document))

    finished = rebuild(tmp_path, str(tmp_path / "manifest.cbor"), tmp_path / "out")

    assert (finished.returncode, "leaves the destination" in finished.stderr) == (1, True)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["manifest.cbor"]


def test_destination_that_exists_is_left_alone(stored: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    finished = rebuild(*stored, tmp_path / "out")

    assert (finished.returncode, tree_of(tmp_path / "out")) == (1, {})


def test_script_explains_itself() -> None:
    finished = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False)

    assert (finished.returncode, "OBJECTS MANIFEST DESTINATION" in finished.stderr) == (1, True)
