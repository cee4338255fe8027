"""The image, the composed stack and the handbook name what is there, and the stack's own commands make a store."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from artifactstore import __version__
from artifactstore.api import serve
from artifactstore.config import NAMES, PREFIX
from tests.postgres_server import _installed
from tests.s3_servers import (  # noqa: F401 - fixtures
    ACCESS_KEY,
    BUCKET,
    SECRET_KEY,
    S3Server,
    aws_environment,
    rclone,
)
from tests.service import clean_environment, serving
from tests.support import write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres_server import PostgresServer

# ruff: noqa: F811 - fixtures that are imported are named as arguments

ROOT = Path(__file__).parents[1]
COMPOSE = (ROOT / "compose.yaml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
OURS = ("registry", "upgrade", "bucket")
ONCE = ("upgrade", "bucket")
DOCKERFILE = (ROOT / "Dockerfile").read_text()
CADDYFILE = (ROOT / "deploy" / "Caddyfile").read_text()
HANDBOOK = (ROOT / "docs" / "OPERATOR.md").read_text()
PINNED = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+[\w.-]*")
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN")


# compose.yaml


def test_every_setting_of_the_stack_is_one_that_there_is() -> None:
    said = {name for service in SERVICES.values() for name in service.get("environment", {}) if name.startswith(PREFIX)}

    assert said
    assert set() == said - {PREFIX + name for name in NAMES}


def test_every_command_of_the_stack_is_one_that_there_is() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    commands = [
        service["command"] for name, service in SERVICES.items() if name in OURS and "entrypoint" not in service
    ]

    assert [["serve"], ["db", "upgrade"]] == [[word for word in line if word.isalpha()] for line in commands]
    for line in commands:
        words = " ".join(word for word in line if word.isalpha())
        help_text = page.partition(f"## artifactstore {words}\n")[2].partition("\n## ")[0]
        assert all(option in help_text for option in line if option.startswith("--"))


def test_no_secret_has_a_default() -> None:
    secrets = [
        value
        for service in SERVICES.values()
        for name, value in service.get("environment", {}).items()
        if SECRET.search(name) or name == "PGPASSWORD"
    ]

    assert len(secrets) >= len(OURS) * 2 + 2
    assert [] == [value for value in secrets if not re.fullmatch(r"\$\{\w+:\?[^}]+\}", value)]
    assert [] == re.findall(rf"\$\{{\w*(?:{SECRET.pattern})\w*(?!\w*:\?)[^}}]*\}}", COMPOSE)


def test_a_stack_without_secrets_does_not_start() -> None:
    needed = set(re.findall(r"\$\{(\w+):\?", COMPOSE))

    assert {"POSTGRES_PASSWORD", "S3_SECRET_KEY", "PUBLIC_HOST"} == needed
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_every_image_is_pinned() -> None:
    images = {name: service["image"] for name, service in SERVICES.items()}

    assert {} == {name: image for name, image in images.items() if not PINNED.fullmatch(image)}
    assert {f"localhost/artifactstore:{__version__}"} == {images[name] for name in OURS}
    assert {"build"} == {SERVICES[name]["pull_policy"] for name in OURS}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_few_rights_and_bounds(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]
    assert {"mem_limit", "pids_limit", "user"} <= service.keys()
    if name in OURS:
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
        assert "cap_add" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_what_runs_on_is_checked_and_restarted_and_what_runs_once_is_not(name: str) -> None:
    service = SERVICES[name]

    assert ("no" if name in ONCE else "unless-stopped") == service["restart"]
    if name in ONCE:
        assert {"disable": True} == service["healthcheck"]
    elif name in OURS:
        assert "healthcheck" not in service, "it is the image's"
    else:
        assert "CMD" == service["healthcheck"]["test"][0]


def test_two_replicas_wait_for_the_upgrade_and_the_bucket_and_have_time_to_end() -> None:
    registry = SERVICES["registry"]

    assert 2 == registry["deploy"]["replicas"]
    assert {name: {"condition": "service_completed_successfully"} for name in ONCE} == registry["depends_on"]
    assert serve.GRACE_S < int(registry["stop_grace_period"].removesuffix("s"))
    assert serve.GRACE_S < int(SERVICES["proxy"]["stop_grace_period"].removesuffix("s"))


def test_only_the_proxy_can_be_reached_from_outside() -> None:
    document = yaml.safe_load(COMPOSE)

    assert document["networks"]["inside"] == {"internal": True}
    assert ["proxy"] == [name for name, service in SERVICES.items() if service["networks"] != ["inside"]]
    assert ["proxy"] == [name for name, service in SERVICES.items() if "ports" in service]
    assert all(port.startswith("${PUBLISH_ADDRESS:-127.0.0.1}:") for port in SERVICES["proxy"]["ports"])


def test_what_is_kept_lies_in_named_volumes() -> None:
    volumes = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}

    assert set(yaml.safe_load(COMPOSE)["volumes"]) == {volume for volume in volumes if not volume.startswith(".")}
    staged = {volume.partition(":")[2] for name in OURS for volume in SERVICES[name]["volumes"]}
    assert staged == set(re.findall(r"TMPDIR=(\S+)", DOCKERFILE))


def test_the_proxy_closes_connections_before_the_service_does() -> None:
    (keepalive,) = re.findall(r"^\s*keepalive (\d+)s$", CADDYFILE, re.MULTILINE)

    assert int(keepalive) < serve._KEEP_ALIVE_S
    assert "dynamic a registry 8000" in CADDYFILE
    assert set(re.findall(r"\{\$(\w+)\}", CADDYFILE)) == set(SERVICES["proxy"]["environment"])


def test_the_stacks_own_commands_make_a_store_of_two_servers(
    postgres: PostgresServer, rclone: S3Server, tmp_path: Path
) -> None:
    environment = {
        **SERVICES["registry"]["environment"],
        "ARTIFACTSTORE_DATABASE_URL": postgres.empty_database(),
        "ARTIFACTSTORE_S3_ENDPOINT_URL": rclone.url,
        "ARTIFACTSTORE_ALLOWED_HOSTS": "localhost,127.0.0.1,artifacts.example.org",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    home, run = tmp_path / "home", tmp_path / "run"
    write_tree(run, {"small.txt": b"small", "large.bin": os.urandom(2 * 1024 * 1024)})
    environment["ARTIFACTSTORE_HOME"] = str(home)

    for _ in range(2):  # both are run again at every start
        answered(environment, "-c", *SERVICES["bucket"]["command"])
        upgraded = answered(environment, "-m", "artifactstore", *SERVICES["upgrade"]["command"])
    made = answered(environment, "-m", "artifactstore", "token", "create", "operator", "--scope", "admin")
    tokens = {"admin": json.loads(made)["token"]}
    with (
        serving(home, tokens=tokens, environment=environment) as one,
        serving(home, tokens=tokens, environment=environment) as other,
    ):
        ready = [server.ask("GET", "/ready", token=None).status for server in (one, other)]
        push = answered(one.environment(), "-m", "artifactstore", "push", str(run), "--producer", "ci")
        package_id = json.loads(push)["package_id"]
        fetched = {
            path.name: other.ask("GET", f"/packages/{package_id}/files/{path.name}").body for path in run.iterdir()
        }
        told_apart = other.ask("GET", "/ready", headers={"Host": "somebody.example.org"}).status

    assert json.loads(upgraded)["at_head"] is True
    assert [200, 200] == ready
    assert {path.name: path.read_bytes() for path in run.iterdir()} == fetched
    assert 421 == told_apart
    assert not home.exists(), "nothing is kept in the container"


def test_a_dump_and_a_copy_of_the_bucket_are_the_store_again(
    postgres: PostgresServer, rclone: S3Server, tmp_path: Path
) -> None:
    settings = {
        "ARTIFACTSTORE_HOME": str(tmp_path / "home"),
        "ARTIFACTSTORE_DATABASE_URL": postgres.empty_database(),
        "ARTIFACTSTORE_STORAGE_URL": f"s3://{BUCKET}/{tmp_path.name}",
        **rclone.settings(),
    }
    write_tree(tmp_path / "run", {"small.txt": b"small", "large.bin": os.urandom(2 * 1024 * 1024)})
    program = ("-m", "artifactstore")
    answered(settings, *program, "push", str(tmp_path / "run"), "--producer", "ci")
    before = json.loads(answered(settings, *program, "replay", "--check"))
    restored = {
        "ARTIFACTSTORE_HOME": str(tmp_path / "other-home"),
        "ARTIFACTSTORE_DATABASE_URL": postgres.empty_database(),
        "ARTIFACTSTORE_STORAGE_URL": (tmp_path / "objects").as_uri(),
    }

    tool("pg_dump", "--format", "custom", "--file", tmp_path / "dump", settings["ARTIFACTSTORE_DATABASE_URL"])
    answered(settings, *program, "push", str(tmp_path / "run"), "--producer", "since-the-dump")
    assert rclone.folder is not None
    shutil.copytree(rclone.folder / BUCKET / tmp_path.name, tmp_path / "objects")
    restoring = ("--no-owner", "--exit-on-error", "--dbname", restored["ARTIFACTSTORE_DATABASE_URL"])
    tool("pg_restore", *restoring, tmp_path / "dump")
    verified = json.loads(answered(restored, *program, "verify", "--all"))
    after = json.loads(answered(restored, *program, "replay", "--check"))

    assert ("verified", 1, 2) == (verified["status"], verified["packages"], verified["files"])
    assert before == after


def tool(name: str, *arguments: str | Path) -> None:
    """One of PostgreSQL's own programs, of the server's version."""
    program = _installed() / "bin" / name
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert 0 == done.returncode, done.stderr


def answered(environment: dict[str, str], *arguments: str) -> str:
    """What a process of ours prints, with this environment and nothing of ours besides."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**clean_environment(), **environment},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    return done.stdout


# the Dockerfile


def test_the_image_is_made_of_pinned_things() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

    assert 2 == len(bases)
    assert 1 == len(set(bases))
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases[0])
    assert "--require-hashes" in DOCKERFILE
    assert "--build-constraint requirements.lock" in DOCKERFILE
    assert None is re.search(r":latest|curl|wget|index-url|https?://|apt-get|--trusted-host", DOCKERFILE)


def test_the_image_runs_as_a_user_by_number_that_is_not_root() -> None:
    (user,) = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)

    assert user == SERVICES["registry"]["user"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert "PYTHONDONTWRITEBYTECODE=1" in DOCKERFILE


def test_the_image_says_the_version_and_starts_what_the_stack_starts() -> None:
    (label,) = re.findall(r'image\.version="([^"]*)"', DOCKERFILE)
    (entrypoint,) = re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.MULTILINE)
    (command,) = re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)

    assert __version__ == label
    assert ["artifactstore"] == json.loads(entrypoint)
    assert SERVICES["registry"]["command"] == json.loads(command)


def test_everything_that_is_copied_into_the_image_is_let_through() -> None:
    let_through = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }

    assert copied == let_through
    assert all((ROOT / name).exists() for name in copied)


def test_the_images_health_check_tells_a_server_that_answers_from_one_that_does_not(tmp_path: Path) -> None:
    (line,) = re.findall(r"^HEALTHCHECK.*\\\n\s+CMD (.*)$", DOCKERFILE, re.MULTILINE)
    program, *arguments = json.loads(line)

    with serving(tmp_path / "home") as server:
        script = [argument.replace("8000", server.url.rpartition(":")[2]) for argument in arguments]
        while_it_runs = subprocess.run([sys.executable, *script], check=False, timeout=30).returncode
    when_it_is_gone = subprocess.run(
        [sys.executable, *script], check=False, timeout=30, stderr=subprocess.DEVNULL
    ).returncode

    assert "python" == program
    assert script != arguments
    assert (0, 1) == (while_it_runs, when_it_is_gone)


def pins(name: str) -> dict[str, set[str]]:
    """The hashes of each ``name==version`` of a lock."""
    found: dict[str, set[str]] = {}
    for block in re.split(r"\n(?=[a-z])", (ROOT / name).read_text()):
        pin = re.match(r"([\w.-]+==[^\s;]+)", block)
        assert pin is not None, block
        found[pin[1]] = set(re.findall(r"sha256:[0-9a-f]{64}", block))
    return found


def test_the_image_installs_what_was_tested_and_no_tool() -> None:
    runtime, everything = pins("requirements-runtime.lock"), pins("requirements.lock")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *(line for group in extras.values() for line in group)]
    tools = project["dependency-groups"]["dev"]

    installed = {pin.partition("==")[0] for pin in runtime}
    assert runtime == {pin: everything.get(pin) for pin in runtime}
    assert set() == {distribution(line) for line in wanted} - installed
    assert set() == {distribution(line) for line in tools} & installed


def distribution(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return found[0].lower()


# the handbook

RIGHTS = {
    "head_bucket": "s3:ListBucket",
    "head_object": "s3:GetObject",
    "get_object": "s3:GetObject",
    "put_object": "s3:PutObject",
    "create_multipart_upload": "s3:PutObject",
    "upload_part": "s3:PutObject",
    "complete_multipart_upload": "s3:PutObject",
    "copy_object": "s3:PutObject",
    "copy": "s3:PutObject",
    "delete_object": "s3:DeleteObject",
    "delete_objects": "s3:DeleteObject",
    "abort_multipart_upload": "s3:AbortMultipartUpload",
    "list_objects_v2": "s3:ListBucket",
    "list_multipart_uploads": "s3:ListBucketMultipartUploads",
}
"""Which right on AWS an operation of boto3 needs."""


def operations() -> Iterator[str]:
    """What the adapter asks of S3, apart from the probe."""
    for path in sorted((ROOT / "artifactstore" / "storage" / "s3").glob("*.py")):
        text = path.read_text()
        called = re.findall(r"client\.([a-z_0-9]+)\(", text)
        yield from (name for name in called if name not in {"get_paginator", "generate_presigned_url"})
        yield from re.findall(r'_pages\(\s*"(\w+)"', text)


def test_the_policy_grants_what_the_adapter_asks_and_no_more() -> None:
    (policy,) = [
        document
        for block in re.findall(r"```json\n(.*?)```", HANDBOOK, re.DOTALL)
        if "Statement" in (document := json.loads(block))
    ]
    granted = {right for statement in policy["Statement"] for right in statement["Action"]}

    assert {RIGHTS[name] for name in operations()} == {right for right in granted if right.startswith("s3:")}
    assert {"kms:GenerateDataKey", "kms:Decrypt"} == {right for right in granted if right.startswith("kms:")}
    assert {"Allow"} == {statement["Effect"] for statement in policy["Statement"]}


def test_every_metric_that_the_handbook_watches_is_counted(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as server:
        counted = server.ask("GET", "/metrics").body.decode()

    watched = set(re.findall(r"(?<!#)artifactstore_[a-z_]+(?=[{`\[)])", HANDBOOK))
    declared = set(re.findall(r"^# TYPE (\S+)", counted, re.MULTILINE))
    assert len(watched) > 8
    assert set() == {re.sub(r"_(bucket|count|sum)$", "", name) for name in watched} - declared


def test_every_command_that_the_handbook_names_is_one_that_there_is() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    commands = set(re.findall(r"^## artifactstore (\S+)$", page, re.MULTILINE))
    named = set(re.findall(r"(?:`|^|\$ |&& )artifactstore ([a-z][a-z-]*)", HANDBOOK, re.MULTILINE))

    assert len(named) >= 7
    assert set() == named - commands


@pytest.mark.parametrize("name", sorted(set(re.findall(rf"{PREFIX}[A-Z0-9_]+", HANDBOOK))))
def test_every_setting_that_the_handbook_names_is_one_that_there_is(name: str) -> None:
    assert name in {PREFIX + setting for setting in NAMES}
