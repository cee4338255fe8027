"""Settings, and the only reader of the environment. docs/reference/settings.md describes each one."""

from __future__ import annotations

import os
import pwd
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from artifactstore.domain.retention import RetentionPolicy
from artifactstore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "ARTIFACTSTORE_"
NAMES = (
    "HOME",
    "DATABASE_URL",
    "STORAGE_URL",
    "RETENTION_CONFIG_PATH",
    "PACK_THRESHOLD_BYTES",
    "MAX_FILES",
)
"""Every setting, without the prefix."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says, checked. The embedded default needs none of it."""

    home: Path
    database_url: str
    storage_url: str
    retention_config_path: Path | None = None
    pack_threshold_bytes: int = 1024 * 1024
    max_files: int = 1_000_000

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read and check. Raises ``ConfigurationError`` naming the variable, also for one that is misspelt."""
        found = {name.removeprefix(PREFIX): value for name, value in environment.items() if name.startswith(PREFIX)}
        _refuse_unknown(found)
        home = Path(found.get("HOME") or _default_home(environment)).absolute()
        retention = found.get("RETENTION_CONFIG_PATH")
        return cls(
            home=home,
            database_url=found.get("DATABASE_URL") or f"sqlite:///{home}/artifactstore.db",
            storage_url=found.get("STORAGE_URL") or (home / "objects").as_uri(),
            retention_config_path=Path(retention) if retention else None,
            pack_threshold_bytes=_whole_number(found, "PACK_THRESHOLD_BYTES", 1024 * 1024, 0, 16 * 1024 * 1024),
            max_files=_whole_number(found, "MAX_FILES", 1_000_000, 1, 100_000_000),
        )

    def retention_policy(self) -> RetentionPolicy:
        """The classes' durations, with those of the configuration file. Raises ``ConfigurationError``."""
        path = self.retention_config_path
        if path is None:
            return RetentionPolicy()
        import tomllib

        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigurationError(
                f"{PREFIX}RETENTION_CONFIG_PATH: {path} cannot be read: {error.strerror}"
            ) from error
        except ValueError as error:
            raise ConfigurationError(f"{PREFIX}RETENTION_CONFIG_PATH: {path} is not valid TOML: {error}") from error
        table = document.get("retention", {})
        if not isinstance(table, dict) or document.keys() - {"retention"}:
            raise ConfigurationError(f"{path} must hold one table, [retention], with days for each class")
        return RetentionPolicy.with_overrides(table)


def local_user() -> str:
    """Who runs this process, for the event log: by the system's word, not the environment's."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


def _refuse_unknown(found: Mapping[str, str]) -> None:
    unknown = sorted(set(found) - set(NAMES))
    if unknown:
        names = ", ".join(PREFIX + name for name in unknown)
        raise ConfigurationError(f"{names}: there is no such setting")


def _default_home(environment: Mapping[str, str]) -> Path:
    """The platform's directory for a user's data (XDG Base Directory Specification; Apple's on macOS)."""
    user = Path(environment.get("HOME") or "~").expanduser()
    if sys.platform == "darwin":
        return user / "Library" / "Application Support" / "artifactstore"
    return Path(environment.get("XDG_DATA_HOME") or user / ".local" / "share") / "artifactstore"


def _whole_number(found: Mapping[str, str], name: str, default: int, lowest: int, highest: int) -> int:
    text = found.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > len(str(highest)) or not lowest <= int(text) <= highest:
        raise ConfigurationError(f"{PREFIX}{name} must be a whole number from {lowest} to {highest}, not {text!r}")
    return int(text)
