"""The wheel carries everything: installed in an empty environment elsewhere, it ingests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "tests" / "fixtures" / "guide-board"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    answer = subprocess.run(build, capture_output=True, text=True, timeout=300, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_schemas_migrations_and_type_marker_are_inside(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())

    assert {
        "artifactstore/schemas/guide-board.run.v1.json",
        "artifactstore/catalog/migrations/env.py",
        "artifactstore/catalog/migrations/versions/0001_the_first_tables.py",
        "artifactstore/py.typed",
    } <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_it_ingests_in_an_empty_environment_elsewhere(wheel: Path, tmp_path: Path) -> None:
    """The environment has the wheel and its dependencies, these taken from where the tests run: no index is asked."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site / "ours")
    (site / "paths.pth").write_text(f"{site / 'ours'}\n{dependencies(tmp_path)}\n")
    environment = {"PATH": os.environ["PATH"], "ARTIFACTSTORE_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-m", "artifactstore", *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    ingested = run("guide-board", "ingest", str(FIXTURE))
    where = subprocess.run(
        [python, "-c", "import artifactstore; print(artifactstore.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip

    assert ingested.returncode == 0, ingested.stderr
    assert str(site) in where.stdout
    assert run("verify", json.loads(ingested.stdout)["package_id"]).returncode == 0
    assert run("replay", "--check").returncode == 0


def dependencies(tmp_path: Path) -> Path:
    """The installed dependencies without this checkout: a directory of links."""
    folder = tmp_path / "dependencies"
    folder.mkdir()
    for path in Path(sys.prefix).glob("lib/python*/site-packages/*"):
        if "artifactstore" not in path.name and path.suffix != ".pth":
            (folder / path.name).symlink_to(path)
    return folder
