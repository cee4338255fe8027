"""Settings, and the only reader of the environment. docs/reference/settings.md describes each one."""

from __future__ import annotations

import os
import pwd
import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from artifactstore.catalog.database import DEFAULT_LIMITS, DatabaseLimits
from artifactstore.domain.capabilities import parse_capabilities
from artifactstore.domain.collection import CollectionPolicy, DailyWindow
from artifactstore.domain.package import check_slug
from artifactstore.domain.provenance import MAX_PAYLOAD_BYTES
from artifactstore.domain.quotas import parse_quotas
from artifactstore.domain.retention import RetentionPolicy
from artifactstore.domain.static_tokens import parse_static_tokens
from artifactstore.errors import ConfigurationError, InvalidRequestError, UsageError
from artifactstore.registry.registry import DEFAULT_BACKEND

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from artifactstore.domain.access import StaticToken
    from artifactstore.domain.capabilities import Capability
    from artifactstore.webhooks import Webhook

PREFIX = "ARTIFACTSTORE_"
NAMES = (
    "HOME",
    "DATABASE_URL",
    "DATABASE_POOL_SIZE",
    "DATABASE_STATEMENT_TIMEOUT_S",
    "STORAGE_URL",
    "BACKENDS_CONFIG_PATH",
    "RETENTION_CONFIG_PATH",
    "WEBHOOKS_CONFIG_PATH",
    "PACK_THRESHOLD_BYTES",
    "MAX_FILES",
    "VERIFY_EVERY_DAYS",
    "RETENTION_APPROVALS",
    "COLLECT_GRACE_S",
    "COLLECT_REPACK_PERCENT",
    "COLLECT_WINDOW",
    "COLLECT_OBJECTS_PER_S",
    "SCRUB_BYTES_PER_S",
    "SWEEP_MAX_LEAP_HOURS",
    "READY_NEEDS_SCRUB",
    "PLUGIN_CAPABILITIES",
    "QUOTAS",
    "MAX_PAYLOAD_BYTES",
    "RACE_RETRIES",
    "API_URL",
    "API_TOKEN",
    "AUTH_TOKENS",
    "ANON_READ",
    "ALLOWED_HOSTS",
    "LOG_LEVEL",
    "TESTING_OS_REPO_ROOT",
    "GITHUB_API_URL",
    "S3_ENDPOINT_URL",
    "S3_PUBLIC_ENDPOINT_URL",
    "S3_REGION",
    "S3_STORAGE_CLASS",
    "S3_SERVER_SIDE_ENCRYPTION",
    "S3_KMS_KEY_ID",
    "S3_MULTIPART_THRESHOLD_BYTES",
    "S3_MULTIPART_PART_BYTES",
    "S3_MAX_CONNECTIONS",
    "S3_CONNECT_TIMEOUT_S",
    "S3_READ_TIMEOUT_S",
    "S3_CHECKSUMS",
    "S3_ADDRESSING",
    "S3_PROFILE",
)
"""Every setting, without the prefix."""

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
LOG_LEVELS = ("debug", "info", "warning", "error")
_OUR_SCHEMES = ("FILE", "MEMORY", "S3")
_YES_OR_NO = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_VISIBLE = re.compile(r"[!-~]+")
_HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """A backend that is configured: its URL, and the settings of that URL's scheme by their names without the prefix.

    The backend checks the settings when it is opened.
    """

    url: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GitHubSettings:
    """What the environment says of GitHub; GitHub's own names, besides the address."""

    token: str | None = field(default=None, repr=False)
    api_url: str | None = None
    is_ci: bool = False
    """Whether this runs in a CI job."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says, checked. The embedded default needs none of it."""

    home: Path
    database_url: str
    backends: Mapping[str, BackendSettings]
    """By name."""
    default_backend: str = DEFAULT_BACKEND
    """Where new objects go."""
    database_limits: DatabaseLimits = DEFAULT_LIMITS
    retention_config_path: Path | None = None
    webhooks_config_path: Path | None = None
    pack_threshold_bytes: int = 1024 * 1024
    max_files: int = 1_000_000
    verify_every_days: int = 30
    """0: never."""
    retention_approvals: int = 1
    collection: CollectionPolicy = field(default_factory=CollectionPolicy)
    scrub_bytes_per_s: int = 32 * 1024 * 1024
    """0: as many as there are."""
    sweep_max_leap_hours: int = 8 * 24
    """0: any."""
    ready_needs_scrub: bool = True
    plugin_capabilities: Mapping[str, frozenset[Capability]] = field(default_factory=dict)
    """Of the plug-ins that the environment names."""
    quotas: Mapping[str, int] = field(default_factory=dict)
    """By producer: logical bytes."""
    max_payload_bytes: int = MAX_PAYLOAD_BYTES
    """Of an envelope."""
    race_retries: int = 1
    testing_os_repo_root: Path | None = None
    """Has the policies that a server judges submissions by."""
    github: GitHubSettings = field(default_factory=GitHubSettings)
    api_url: str | None = None
    """The server that the command line works on; without a slash at its end."""
    api_token: str | None = field(default=None, repr=False)
    auth_tokens: tuple[StaticToken, ...] = field(default=(), repr=False)
    anon_read: bool = False
    allowed_hosts: tuple[str, ...] = LOOPBACK_NAMES
    """Lower case, without ports; an IPv6 address in brackets."""
    log_level: str = "info"
    """One of ``LOG_LEVELS``."""
    metrics_folder: str | None = None
    """Where the worker processes of one service add up what they count."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read and check. Raises ``ConfigurationError`` naming the variable, also for one that is misspelt."""
        found = {name.removeprefix(PREFIX): value for name, value in environment.items() if name.startswith(PREFIX)}
        _refuse_unknown(found)
        home = Path(found.get("HOME") or _default_home(environment)).absolute()
        retention, webhooks = found.get("RETENTION_CONFIG_PATH"), found.get("WEBHOOKS_CONFIG_PATH")
        default_backend, backends = _backends(found, home)
        return cls(
            home=home,
            database_url=found.get("DATABASE_URL") or f"sqlite:///{home}/artifactstore.db",
            database_limits=_database_limits(found),
            backends=backends,
            default_backend=default_backend,
            retention_config_path=Path(retention) if retention else None,
            webhooks_config_path=Path(webhooks) if webhooks else None,
            pack_threshold_bytes=_whole_number(found, "PACK_THRESHOLD_BYTES", 1024 * 1024, 0, 16 * 1024 * 1024),
            max_files=_whole_number(found, "MAX_FILES", 1_000_000, 1, 100_000_000),
            verify_every_days=_whole_number(found, "VERIFY_EVERY_DAYS", 30, 0, 3_650),
            retention_approvals=_whole_number(found, "RETENTION_APPROVALS", 1, 1, 2),
            collection=_collection(found),
            scrub_bytes_per_s=_whole_number(found, "SCRUB_BYTES_PER_S", 32 * 1024 * 1024, 0, 2**40),
            sweep_max_leap_hours=_whole_number(found, "SWEEP_MAX_LEAP_HOURS", 8 * 24, 0, 87_600),
            ready_needs_scrub=_yes_or_no(found, "READY_NEEDS_SCRUB", default="true"),
            plugin_capabilities=_plugin_capabilities(found),
            quotas=_quotas(found),
            max_payload_bytes=_whole_number(found, "MAX_PAYLOAD_BYTES", MAX_PAYLOAD_BYTES, 1, 1024 * 1024),
            race_retries=_whole_number(found, "RACE_RETRIES", 1, 0, 10),
            testing_os_repo_root=Path(root) if (root := found.get("TESTING_OS_REPO_ROOT")) else None,
            github=_github(found, environment),
            api_url=parse_server_url(url, what=f"{PREFIX}API_URL") if (url := found.get("API_URL")) else None,
            api_token=_api_token(found.get("API_TOKEN")),
            auth_tokens=parse_static_tokens(found.get("AUTH_TOKENS", ""), setting=f"{PREFIX}AUTH_TOKENS"),
            anon_read=_yes_or_no(found, "ANON_READ"),
            allowed_hosts=_host_names(found.get("ALLOWED_HOSTS")),
            log_level=_one_of(found, "LOG_LEVEL", LOG_LEVELS, "info"),
            metrics_folder=environment.get(METRICS_FOLDER),
        )

    def retention_policy(self) -> RetentionPolicy:
        """The classes' durations, with those of the configuration file. Raises ``ConfigurationError``."""
        path = self.retention_config_path
        if path is None:
            return RetentionPolicy()
        document = _toml(path, "RETENTION_CONFIG_PATH")
        days, newest = document.get("retention", {}), document.get("keep_newest", {})
        if not isinstance(days, dict) or not isinstance(newest, dict) or document.keys() - {"retention", "keep_newest"}:
            raise ConfigurationError(
                f"{path} may hold two tables: [retention] with days for each class, and [keep_newest] with a number of"
                " packages for each producer"
            )
        return RetentionPolicy.with_overrides(days, newest)

    def webhook_configuration(self) -> dict[str, Webhook]:
        """The webhooks of the configuration file by name, secrets too, read now. Raises ``ConfigurationError``."""
        path = self.webhooks_config_path
        if path is None:
            return {}
        from artifactstore.webhooks.configuration import parse_webhooks

        document = _toml(path, "WEBHOOKS_CONFIG_PATH")
        try:
            return parse_webhooks(document, path.parent)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error.message}", hint=error.hint) from error


def backend_at(url: str, environment: Mapping[str, str] = os.environ) -> BackendSettings:
    """A backend by its URL alone, with what the environment sets for that URL's scheme."""
    found = {name.removeprefix(PREFIX): value for name, value in environment.items() if name.startswith(PREFIX)}
    return BackendSettings(url, _scheme_options(found, url))


@contextmanager
def shared_metrics_folder(folder: str) -> Iterator[None]:
    """Let processes that are started meanwhile count together in a folder; prometheus-client reads this variable."""
    os.environ[METRICS_FOLDER] = folder
    try:
        yield
    finally:
        del os.environ[METRICS_FOLDER]


def local_user() -> str:
    """Who runs this process, for the event log: by the system's word, not the environment's."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


def parse_server_url(text: str, *, what: str) -> str:
    """The address of a server without a slash at its end.

    Raises ``ConfigurationError``, which calls it ``what`` and does not repeat it: there may be a password in it.
    """
    from urllib.parse import urlsplit

    problem = ""
    try:
        parts = urlsplit(text)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
            problem = "is not the address of a server"
        elif "@" in parts.netloc:
            problem = "must not hold a name or password"
        elif "?" in text or "#" in text:
            problem = "must not have a query or a fragment"
    except ValueError:
        problem = "is not the address of a server"
    if problem or not _VISIBLE.fullmatch(text):
        raise ConfigurationError(
            f"{what} {problem or 'has characters that no address has'}",
            hint="Write it like https://artifacts.example.org or http://127.0.0.1:8000.",
        )
    return text.rstrip("/")


def _refuse_unknown(found: Mapping[str, str]) -> None:
    unknown = sorted(set(found) - set(NAMES))
    if unknown:
        names = ", ".join(PREFIX + name for name in unknown)
        raise ConfigurationError(f"{names}: there is no such setting")


def _backends(found: Mapping[str, str], home: Path) -> tuple[str, dict[str, BackendSettings]]:
    """The default backend's name, and every backend: those of the configuration file, or the one of STORAGE_URL."""
    if not (path := found.get("BACKENDS_CONFIG_PATH")):
        url = found.get("STORAGE_URL") or (home / "objects").as_uri()
        return DEFAULT_BACKEND, {DEFAULT_BACKEND: BackendSettings(url, _scheme_options(found, url))}
    if found.get("STORAGE_URL"):
        raise ConfigurationError(
            f"{PREFIX}STORAGE_URL and {PREFIX}BACKENDS_CONFIG_PATH are both set",
            hint=f"Write the URL into the file, as the backend named {DEFAULT_BACKEND!r}.",
        )
    try:
        return parse_backends(_toml(Path(path), "BACKENDS_CONFIG_PATH"), found)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.message}", hint=error.hint) from error


def parse_backends(document: Mapping[str, object], found: Mapping[str, str]) -> tuple[str, dict[str, BackendSettings]]:
    """``default = "name"`` and a table ``[backends.name]`` with a ``url`` for each; else ``ConfigurationError``.

    Other members are the settings of the URL's scheme in lower case, and stand before those of the environment.
    """
    tables = document.get("backends")
    if not isinstance(tables, dict) or not tables or document.keys() - {"backends", "default"}:
        raise ConfigurationError("there must be a table [backends.NAME] for each backend, and default = NAME")
    backends = {name: _backend(name, table, found) for name, table in tables.items()}
    default = document.get("default", next(iter(backends)) if len(backends) == 1 else None)
    if default not in backends:
        raise ConfigurationError(f"default must be one of {', '.join(backends)}")
    return str(default), backends


def _backend(name: str, table: object, found: Mapping[str, str]) -> BackendSettings:
    try:
        check_slug(name, what="the name")
    except InvalidRequestError as error:
        raise ConfigurationError(f"[backends.{name}]: {error.message}") from error
    if not isinstance(table, dict) or not isinstance(url := table.get("url"), str):
        raise ConfigurationError(f"[backends.{name}] needs a url", hint='Such as url = "s3://bucket/prefix"')
    given = {key.upper(): value for key, value in table.items() if key != "url"}
    scheme = url.partition("://")[0].upper()
    known = {setting.removeprefix(f"{scheme}_") for setting in NAMES if setting.startswith(f"{scheme}_")}
    for key, value in given.items():
        if scheme in _OUR_SCHEMES and key not in known:
            raise ConfigurationError(f"[backends.{name}]: {key.lower()} is no setting of {scheme.lower()}://")
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise ConfigurationError(f"[backends.{name}]: {key.lower()} must be text or a whole number")
    texts = {key: str(value) for key, value in given.items()}
    return BackendSettings(url, {**_scheme_options(found, url), **texts})


def _scheme_options(found: Mapping[str, str], url: str) -> dict[str, str]:
    prefix = f"{url.partition('://')[0].upper()}_"
    return {name.removeprefix(prefix): text for name, text in found.items() if name.startswith(prefix) and text}


def _toml(path: Path, setting: str) -> dict[str, object]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{PREFIX}{setting}: {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{PREFIX}{setting}: {path} is not valid TOML: {error}") from error


def _default_home(environment: Mapping[str, str]) -> Path:
    """The platform's directory for a user's data (XDG Base Directory Specification; Apple's on macOS)."""
    user = Path(environment.get("HOME") or "~").expanduser()
    if sys.platform == "darwin":
        return user / "Library" / "Application Support" / "artifactstore"
    return Path(environment.get("XDG_DATA_HOME") or user / ".local" / "share") / "artifactstore"


def _database_limits(found: Mapping[str, str]) -> DatabaseLimits:
    default = DEFAULT_LIMITS
    return DatabaseLimits(
        _whole_number(found, "DATABASE_POOL_SIZE", default.max_connections, 2, 1_000),
        _whole_number(found, "DATABASE_STATEMENT_TIMEOUT_S", default.statement_timeout_s, 1, 86_400),
    )


def _whole_number(found: Mapping[str, str], name: str, default: int, lowest: int, highest: int) -> int:
    text = found.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > len(str(highest)) or not lowest <= int(text) <= highest:
        raise ConfigurationError(f"{PREFIX}{name} must be a whole number from {lowest} to {highest}, not {text!r}")
    return int(text)


def _collection(found: Mapping[str, str]) -> CollectionPolicy:
    default = CollectionPolicy()
    window = found.get("COLLECT_WINDOW")
    try:
        daily = DailyWindow.parse(window) if window else None
    except ConfigurationError as error:
        raise ConfigurationError(f"{PREFIX}COLLECT_WINDOW: {error.message}", hint=error.hint) from error
    return CollectionPolicy(
        grace_s=_whole_number(found, "COLLECT_GRACE_S", default.grace_s, 0, 604_800),
        repack_percent=_whole_number(found, "COLLECT_REPACK_PERCENT", default.repack_percent, 1, 101),
        window=daily,
        objects_per_s=_whole_number(found, "COLLECT_OBJECTS_PER_S", default.objects_per_s, 0, 1_000_000),
    )


def _yes_or_no(found: Mapping[str, str], name: str, *, default: str = "false") -> bool:
    return _YES_OR_NO[_one_of(found, name, tuple(_YES_OR_NO), default)]


def _one_of(found: Mapping[str, str], name: str, choices: tuple[str, ...], default: str) -> str:
    text = (found.get(name) or default).lower()
    if text not in choices:
        raise ConfigurationError(f"{PREFIX}{name} must be one of {', '.join(choices)}, not {text[:60]!r}")
    return text


def _plugin_capabilities(found: Mapping[str, str]) -> dict[str, frozenset[Capability]]:
    try:
        return parse_capabilities(found.get("PLUGIN_CAPABILITIES", ""))
    except UsageError as error:
        raise ConfigurationError(f"{PREFIX}PLUGIN_CAPABILITIES: {error.message}", hint=error.hint) from error


def _quotas(found: Mapping[str, str]) -> dict[str, int]:
    try:
        return parse_quotas(found.get("QUOTAS", ""))
    except UsageError as error:
        raise ConfigurationError(f"{PREFIX}QUOTAS: {error.message}", hint=error.hint) from error


def _github(found: Mapping[str, str], environment: Mapping[str, str]) -> GitHubSettings:
    is_ci = any(environment.get(name, "").lower() not in {"", "false", "0"} for name in ("CI", "GITHUB_ACTIONS"))
    token = environment.get("GITHUB_TOKEN") or environment.get("GH_TOKEN") or None
    return GitHubSettings(token, found.get("GITHUB_API_URL") or None, is_ci)


def _host_names(text: str | None) -> tuple[str, ...]:
    if not text:
        return LOOPBACK_NAMES
    return tuple(_host_name(name.strip()) for name in text.split(","))


def _host_name(text: str) -> str:
    name = text.lower()
    if name.startswith("[") and name.endswith("]"):
        from ipaddress import AddressValueError, IPv6Address

        try:
            return f"[{IPv6Address(name[1:-1])}]"
        except AddressValueError:
            name = ""
    if not _HOST_NAME.fullmatch(name):
        raise ConfigurationError(
            f"{PREFIX}ALLOWED_HOSTS: {text[:80]!r} is not the name of a host",
            hint="Names without ports, separated by commas: artifacts.example.org,192.0.2.7,[2001:db8::7]",
        )
    return name


def _api_token(text: str | None) -> str | None:
    if text and not _VISIBLE.fullmatch(text):
        raise ConfigurationError(f"{PREFIX}API_TOKEN has a space or a character that no token has")
    return text or None
