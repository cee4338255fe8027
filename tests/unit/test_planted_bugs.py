"""The table of bugs that are planted fits the code and names tests that are there."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.planted_bugs import BUGS, PlantedBug

ROOT = Path(__file__).parents[2]


@cache
def names_in(path: str) -> set[str]:
    """The tests of a file, as pytest names them."""
    found: set[str] = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            inherited = [] if not node.bases else contract_tests()
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
            found |= {f"{node.name}::{name}" for name in inherited}
    return found


@cache
def contract_tests() -> list[str]:
    tree = ast.parse((ROOT / "artifactstore/testing/object_store.py").read_text())
    return [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_is_one_replacement_and_its_tests_are_there(bug: PlantedBug) -> None:
    assert 1 == (ROOT / bug.file).read_text().count(bug.was)
    assert bug.was != bug.becomes
    ast.parse((ROOT / bug.file).read_text().replace(bug.was, bug.becomes))
    for path, _, name in (test.partition("::") for test in bug.tests):
        assert name in names_in(path), f"{path} has no {name}"
    assert bug.tests


def test_no_two_bugs_have_one_name() -> None:
    assert len(BUGS) == len({bug.name for bug in BUGS})
