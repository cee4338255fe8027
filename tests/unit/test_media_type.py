"""Media types by extension. Their table is frozen by tests/vectors/media-types.json."""

from __future__ import annotations

import mimetypes

import pytest

from artifactstore.domain.media_type import BY_EXTENSION, UNKNOWN, media_type_of


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("run.json", "application/json"),
        ("reports/REPORT.MD", "text/markdown"),
        ("a.tar.gz", "application/gzip"),
        ("dir.json/file", UNKNOWN),
        ("dir.json/file.txt", "text/plain"),
        ("Makefile", UNKNOWN),
        ("name.", UNKNOWN),
        (".json", UNKNOWN),
        ("folder/.json", UNKNOWN),
        (".hidden.json", "application/json"),
        ("file.unheard-of", UNKNOWN),
        ("file.jsoN", "application/json"),
        ("file.\u212aml", UNKNOWN),
    ],
)
def test_type_follows_from_the_last_extension(path: str, expected: str) -> None:
    assert media_type_of(path) == expected


def test_hosts_tables_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mimetypes.types_map, ".json", "application/of-this-host")

    assert media_type_of("a.json") == "application/json"


def test_extensions_are_sorted_and_in_lower_case() -> None:
    assert list(BY_EXTENSION) == sorted(extension.lower() for extension in BY_EXTENSION)


def test_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        BY_EXTENSION["json"] = "text/plain"
