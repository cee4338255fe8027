"""Named backends: what the configuration file may say, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import Backends
from artifactstore.config import BackendSettings, Settings
from artifactstore.errors import ConfigurationError
from artifactstore.storage.memory import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path

TWO = """
default = "archive"

[backends.fast]
url = "file:///srv/objects"

[backends.archive]
url = "s3://artifacts/archive"
region = "eu-1"
max_connections = 8
"""


def configured(tmp_path: Path, text: str, **variables: str) -> Settings:
    path = tmp_path / "backends.toml"
    path.write_text(text)
    environment = {f"ARTIFACTSTORE_{name}": value for name, value in variables.items()}
    return Settings.from_environment({"ARTIFACTSTORE_BACKENDS_CONFIG_PATH": str(path), **environment})


def test_without_a_file_there_is_one_backend(tmp_path: Path) -> None:
    found = Settings.from_environment({"ARTIFACTSTORE_HOME": str(tmp_path)})

    assert ("default", {"default": BackendSettings((tmp_path / "objects").as_uri())}) == (
        found.default_backend,
        found.backends,
    )


def test_a_file_names_backends_and_the_default_one(tmp_path: Path) -> None:
    found = configured(tmp_path, TWO)

    assert "archive" == found.default_backend
    assert BackendSettings("file:///srv/objects") == found.backends["fast"]
    assert {"REGION": "eu-1", "MAX_CONNECTIONS": "8"} == found.backends["archive"].options


def test_what_a_table_leaves_out_is_taken_from_the_environment(tmp_path: Path) -> None:
    found = configured(tmp_path, TWO, S3_REGION="us-9", S3_CHECKSUMS="when_required")

    options = {"REGION": "eu-1", "CHECKSUMS": "when_required", "MAX_CONNECTIONS": "8"}
    assert options == found.backends["archive"].options
    assert {} == found.backends["fast"].options


def test_one_backend_needs_no_default(tmp_path: Path) -> None:
    assert "only" == configured(tmp_path, '[backends.only]\nurl = "memory://"').default_backend


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there must be a table"),
        ("backends = 3", "there must be a table"),
        ('[backends.a]\nurl = "memory://"\n[other]', "there must be a table"),
        ('[backends.a]\nurl = "memory://"\n[backends.b]\nurl = "memory://"', "default must be one of a, b"),
        ('default = "c"\n[backends.a]\nurl = "memory://"', "default must be one of a"),
        ("[backends.a]\nregion = 3", "needs a url"),
        ("[backends]\na = 3", "needs a url"),
        ('[backends."A B"]\nurl = "memory://"', "the name"),
        ('[backends.a]\nurl = "s3://bucket"\nregoin = "x"', "regoin is no setting of s3://"),
        ('[backends.a]\nurl = "file:///x"\nregion = "x"', "region is no setting of file://"),
        ('[backends.a]\nurl = "s3://bucket"\nregion = true', "region must be text or a whole number"),
        ('[backends.a]\nurl = "s3://bucket"\nregion = ["x"]', "region must be text or a whole number"),
        ("[backends.a", "is not valid TOML"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        configured(tmp_path, text)

    assert "backends.toml" in caught.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"missing\.toml cannot be read"):
        Settings.from_environment({"ARTIFACTSTORE_BACKENDS_CONFIG_PATH": str(tmp_path / "missing.toml")})


def test_a_storage_url_beside_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="both set"):
        configured(tmp_path, TWO, STORAGE_URL="file:///srv/other")


# opening


def test_a_backend_is_opened_once_and_only_when_it_is_asked_for() -> None:
    backends = Backends({"good": BackendSettings("memory://"), "bad": BackendSettings("nosuch://x")})

    assert ["good", "bad"] == list(backends)
    assert "bad" in backends
    assert isinstance(backends["good"], MemoryStore)
    assert backends["good"] is backends["good"]


def test_one_that_cannot_be_opened_is_named() -> None:
    backends = Backends({"good": BackendSettings("memory://"), "bad": BackendSettings("nosuch://x")})

    with pytest.raises(ConfigurationError, match="backend 'bad': nothing installed provides 'nosuch'"):
        backends["bad"]


def test_the_only_one_needs_no_name() -> None:
    with pytest.raises(ConfigurationError, match=r"^nothing installed provides 'nosuch'"):
        Backends({"default": BackendSettings("nosuch://x")})["default"]
