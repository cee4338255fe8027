"""Trees that nobody has stored yet, and the image that an image registry wants to have of one."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.data import WORKLOADS
from benchmarks.processes import run

if TYPE_CHECKING:
    from benchmarks.processes import Measures

TAG = "fresh"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_number = itertools.count(1)


def fresh_tree(workload: str, folder: Path, *, seed: int, quick: bool) -> None:
    """A workload's files with bytes that no tree before had."""
    WORKLOADS[workload].write(folder, seed=hash((seed, next(_number))), quick=quick)


def small_tree(folder: Path) -> None:
    """A few files, to become warm with."""
    fresh_tree("W3", folder, seed=0, quick=True)


def make_image(tree: Path, image: Path) -> Measures:
    """An OCI image layout whose only layer is one uncompressed tar of the tree; what making the tar cost."""
    blobs = image / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    packed = run(["tar", "--create", "--file", str(image / "layer.tar"), "--directory", str(tree), "."])
    layer = _keep(image / "layer.tar", blobs, LAYER_TYPE)
    rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
    config = _write({"architecture": "amd64", "os": "linux", "rootfs": rootfs}, blobs, _CONFIG_TYPE)
    document = {"schemaVersion": 2, "mediaType": _MANIFEST_TYPE, "config": config, "layers": [layer]}
    manifest = _write(document, blobs, _MANIFEST_TYPE)
    named = {**manifest, "annotations": {"org.opencontainers.image.ref.name": TAG}}
    (image / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (image / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    return packed.measures


def layer_bytes(image: Path) -> int:
    """How long the image's largest blob is: its layer."""
    return max(path.stat().st_size for path in (image / "blobs" / "sha256").iterdir())


def _write(document: dict[str, object], blobs: Path, media_type: str) -> dict[str, object]:
    path = blobs / "new"
    path.write_text(json.dumps(document))
    return _keep(path, blobs, media_type)


def _keep(path: Path, blobs: Path, media_type: str) -> dict[str, object]:
    """Move a file under its digest; its descriptor."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    kept = Path(shutil.move(path, blobs / digest))
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": kept.stat().st_size}
