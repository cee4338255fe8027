"""What we say of the code's shape, run."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from artifactstore.built_in import ENTRY_POINTS, load_entry_point

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "artifactstore").rglob("*.py"))
LONGEST_FUNCTION = 60
LONGEST_MODULE = 450
ONE_TABLE = ROOT / "artifactstore" / "errors.py"
"""The tree of errors: a class of a few lines for each, which one looks up and nobody reads through."""


def test_imports_point_down() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]

    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert answer.returncode == 0, answer.stdout


def test_the_built_in_tables_are_the_entry_points() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert ENTRY_POINTS == project["entry-points"]
    for group, names in ENTRY_POINTS.items():
        for name in names:
            assert load_entry_point(group, name)


OBSERVATIONS = {"SourceIndexed", "EnvelopeIndexed", "Ingested"}
"""The events by which a source or an envelope comes into being."""
WHERE_THEY_ARE = {"events", "provenance_events"}
WHERE_THEY_ARE_NAMED = {
    "domain/provenance_events.py",  # what they are
    "domain/events.py",  # the table of all events, for replay
    "catalog/projections.py",  # how the tables follow from the log
    "catalog/provenance_projections.py",  # and from these
    "registry/observing.py",  # the one place that lets them happen
}
PROVENANCE_TABLES = r"(?:source|envelope|party|package_observation)\b"
WRITES = re.compile(
    rf"\b(?:INSERT(?:\s+OR\s+\w+)?\s+INTO|REPLACE\s+INTO|UPDATE|DELETE\s+FROM|TRUNCATE)\s+[\"`]?{PROVENANCE_TABLES}",
    re.IGNORECASE,
)
ROWS = re.compile(rf"{PROVENANCE_TABLES}\s*\([a-z_, ]+\)")
"""What ``Connection.insert`` is given."""


def lets_happen(path: Path) -> bool:
    """Whether a module has one of these events at hand: it defines it, imports it, or names it of another module."""
    tree = list(ast.walk(ast.parse(path.read_text())))
    imported = {each.name.rpartition(".")[2] for node in tree if isinstance(node, ast.Import) for each in node.names}
    imports = [node for node in tree if isinstance(node, ast.ImportFrom)]
    taken = {(node.module or "", each.name) for node in imports for each in node.names}
    owners = [(node.value, node.attr) for node in tree if isinstance(node, ast.Attribute)]
    named = {name for owner, name in owners if isinstance(owner, ast.Name) and owner.id in WHERE_THEY_ARE}
    return (
        path.name == "provenance_events.py"
        or "provenance_events" in imported
        or bool(OBSERVATIONS & named)
        or any(
            name == "provenance_events" or (module.startswith("artifactstore.domain") and name in {*OBSERVATIONS, "*"})
            for module, name in taken
        )
    )


def texts_in(path: Path) -> list[str]:
    """Every piece of text in a module, with those that stand beside each other as one."""
    tree = ast.parse(path.read_text())
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def test_only_one_place_lets_observations_happen() -> None:
    found = {path.relative_to(ROOT / "artifactstore").as_posix() for path in MODULES if lets_happen(path)}

    assert WHERE_THEY_ARE_NAMED == found


def test_only_projections_write_the_tables_of_provenance() -> None:
    writers = {
        path.relative_to(ROOT / "artifactstore").as_posix()
        for path in MODULES
        if any(WRITES.search(text) or ROWS.fullmatch(text) for text in texts_in(path))
    }

    assert {"catalog/projections.py", "catalog/provenance_projections.py"} == writers


def test_the_environment_is_read_in_one_place() -> None:
    readers = [
        path.relative_to(ROOT).as_posix()
        for path in MODULES
        if any(word in path.read_text() for word in ("os.environ", "getenv", "getpass"))
    ]

    assert ["artifactstore/config.py"] == readers


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_module_says_what_it_is_and_fits_in_a_head(path: Path) -> None:
    tree = ast.parse(path.read_text())

    assert ast.get_docstring(tree), "a module opens with what lives in it"
    if "migrations/versions" in path.as_posix() or "testing" in path.parts:
        return
    assert path == ONE_TABLE or len(path.read_text().splitlines()) <= LONGEST_MODULE
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= LONGEST_FUNCTION, f"{node.name} has {lines} lines"


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import artifactstore", {"artifactstore.bootstrap", "typer", "sqlite3"}),
        (
            "import artifactstore.plugins",
            {
                "sqlalchemy",
                "sqlmodel",
                "sqlite3",
                "psycopg",
                "alembic",
                "typer",
                "rich",
                "fastapi",
                "starlette",
                "uvicorn",
                "boto3",
                "botocore",
                "urllib3",
                "httpx",
                "pydantic",
                "pydantic_core",
                "jsonschema_rs",
            },
        ),
        ("import artifactstore.cli.app", {"sqlalchemy", "sqlmodel", "alembic", "rich", "sqlite3", "jsonschema_rs"}),
        ("import artifactstore.bootstrap", {"sqlalchemy", "sqlmodel", "alembic", "rich", "typer", "jsonschema_rs"}),
        ("import artifactstore.registry.ingest", {"sqlalchemy", "sqlmodel", "alembic", "jsonschema_rs", "typer"}),
    ],
)
def test_what_is_slow_to_import_is_imported_where_it_is_used(statement: str, absent: set[str]) -> None:
    program = f"import sys\n{statement}\nprint(*sys.modules)"

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert set() == absent & set(answer.stdout.split())


def test_the_public_door_opens_on_what_it_names() -> None:
    import artifactstore

    for name in artifactstore.__all__:
        assert getattr(artifactstore, name).__name__ == name


def test_the_version_is_said_once() -> None:
    import artifactstore

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["version"] == artifactstore.__version__


def test_the_lock_has_hashes_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()

    assert "://" not in lock
    assert "--hash=sha256:" in lock
