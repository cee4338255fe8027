# ruff: noqa: D103, PLR2004, T201 - a script
"""Rebuild a package from stored objects, without artifactstore.

    python rebuild_package.py OBJECTS MANIFEST DESTINATION

OBJECTS is a directory of objects (or a copy of a bucket), MANIFEST a digest (blake3:<hex>) or a manifest file, and
DESTINATION a directory that does not exist yet. Needs Python 3.11 and: pip install blake3 cbor2. The formats are
described in manifest.md and storage-format.md. Exit code 1: something is missing or damaged, and named.
"""

import hashlib
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import cbor2
from blake3 import blake3

BUFFER_BYTES = 1024 * 1024


def main(objects: Path, manifest: str, destination: Path) -> int:
    document = cbor2.loads(manifest_bytes(objects, manifest))
    if document["version"] != 1:
        sys.exit(f"this script reads manifest version 1, not {document['version']}")
    targets = [destination / checked(file["path"]) for file in document["files"]]
    packs = packs_by_member(objects)
    destination.mkdir(parents=True)
    lost = 0
    for file, target in zip(document["files"], targets, strict=True):
        name = file["blake3"].hex()
        whole = objects / key("blobs", name)
        if not rebuild(file, [place for place in (whole, *packs.get(name, [])) if place.is_file()], target):
            print(f"missing or damaged: {file['path']!r}", file=sys.stderr)
            lost += 1
    print(f"{len(targets) - lost} of {len(targets)} files rebuilt")
    return 1 if lost else 0


def manifest_bytes(objects: Path, manifest: str) -> bytes:
    if not manifest.startswith("blake3:"):
        return Path(manifest).read_bytes()
    name = manifest.removeprefix("blake3:")
    data = (objects / key("manifests", name, ".cbor")).read_bytes()
    return data if blake3(data).hexdigest() == name else sys.exit(f"the manifest {manifest} is damaged")


def key(kind: str, name: str, suffix: str = "") -> str:
    return f"{kind}/blake3/{name[:2]}/{name[2:4]}/{name}{suffix}"


def checked(path: str) -> str:
    if "\\" in path or "\0" in path or ":" in path[:2] or not {"", ".", ".."}.isdisjoint(path.split("/")):
        sys.exit(f"the manifest has a path that leaves the destination: {path!r}")
    return path


def packs_by_member(objects: Path) -> dict[str, list[Path]]:
    """The packs that have each blob. A member is named by the BLAKE3 of its blob."""
    packs: dict[str, list[Path]] = {}
    for path in sorted(objects.glob("packs/blake3/??/??/*.zip")):
        try:
            with zipfile.ZipFile(path) as pack:
                for name in pack.namelist():
                    packs.setdefault(name, []).append(path)
        except (zipfile.BadZipFile, OSError) as error:
            print(f"passed over {path}: {error}", file=sys.stderr)
    return packs


def rebuild(file: dict, places: list[Path], target: Path) -> bool:
    """Write a file from the first place that has bytes with its size and both digests."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for place in places:
        size, address, sha256 = 0, blake3(), hashlib.sha256()
        try:
            with opened(place, file["blake3"].hex()) as source, target.open("wb") as out:
                while data := source.read(BUFFER_BYTES):
                    size += out.write(data)
                    address.update(data)
                    sha256.update(data)
            if (size, address.digest(), sha256.digest()) == (file["size"], file["blake3"], file["sha256"]):
                return True
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            print(f"{place}: {error}", file=sys.stderr)
        target.unlink(missing_ok=True)
    return False


@contextmanager
def opened(place: Path, name: str) -> Iterator[BinaryIO]:
    with zipfile.ZipFile(place) if place.suffix == ".zip" else place.open("rb") as stream:
        yield stream.open(name) if isinstance(stream, zipfile.ZipFile) else stream


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])) if len(sys.argv) == 4 else __doc__)
