"""What can be set of an S3 store, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifactstore.config import NAMES, Settings
from artifactstore.errors import ConfigurationError
from artifactstore.storage.s3.options import S3Options, parse_url
from artifactstore.storage.s3.uploading import part_bytes

PAGE = (Path(__file__).parents[2] / "docs/reference/settings.md").read_text()
NAMED = [name.removeprefix("S3_") for name in NAMES if name.startswith("S3_")]
MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/", ("bucket", "")),
        ("s3://bucket/a/b", ("bucket", "a/b/")),
        ("s3://bucket/a/b/", ("bucket", "a/b/")),
        ("s3://my.bucket-1/v1.0_(x)", ("my.bucket-1", "v1.0_(x)/")),
    ],
)
def test_a_url_names_bucket_and_prefix(url: str, expected: tuple[str, str]) -> None:
    assert expected == parse_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "s3://", "s3:///prefix", "s3:bucket", "s3://b", "s3://bucket//a", "s3://bucket/a//b", "s3://bucket/..",
        "s3://bucket/a/./b", "s3://bucket/a?b", "s3://bucket/a#b", "s3://bucket/a%20b", "s3://bucket/a b",
        "s3://bucket:9000/a", "s3://key:secret@bucket/a", "s3://bucket/\u00e9", "s3://bucket/a\n", "file:///bucket",
        "s3://bucket/" + "a" * 600,
    ],
)  # fmt: skip
def test_what_is_not_the_url_of_a_bucket_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_url(url)


def test_every_setting_of_the_page_is_an_option() -> None:
    assert sorted(NAMED) == sorted(name.upper() for name in S3Options.__dataclass_fields__)


@pytest.mark.parametrize(
    "name", ["MULTIPART_THRESHOLD_BYTES", "MULTIPART_PART_BYTES", "MAX_CONNECTIONS", "CONNECT_TIMEOUT_S",
             "READ_TIMEOUT_S", "CHECKSUMS", "ADDRESSING"],
)  # fmt: skip
def test_defaults_are_those_of_the_page(name: str) -> None:
    default = getattr(S3Options.parse({}), name.lower())

    assert f"| `ARTIFACTSTORE_S3_{name}` | `{default}` |" in PAGE
    assert getattr(S3Options(), name.lower()) == default


def test_an_empty_option_counts_as_not_set() -> None:
    assert S3Options.parse({}) == S3Options.parse(dict.fromkeys(NAMED, ""))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ENDPOINT_URL", "s3.example.org"),
        ("ENDPOINT_URL", "ftp://h"),
        ("ENDPOINT_URL", "http://h:0"),
        ("ENDPOINT_URL", "http://[::1"),
        ("PUBLIC_ENDPOINT_URL", "https://h/?a"),
        ("REGION", "EU West"),
        ("STORAGE_CLASS", "standard"),
        ("STORAGE_CLASS", "GLACIER"),
        ("STORAGE_CLASS", "DEEP_ARCHIVE"),
        ("SERVER_SIDE_ENCRYPTION", "yes"),
        ("KMS_KEY_ID", "alias/key"),
        ("MULTIPART_THRESHOLD_BYTES", "5242879"),
        ("MULTIPART_THRESHOLD_BYTES", "5368709121"),
        ("MULTIPART_PART_BYTES", "0"),
        ("MULTIPART_PART_BYTES", "16MiB"),
        ("MAX_CONNECTIONS", "-1"),
        ("CONNECT_TIMEOUT_S", "0"),
        ("READ_TIMEOUT_S", "1e3"),
        ("CHECKSUMS", "never"),
        ("ADDRESSING", "dns"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"ARTIFACTSTORE_S3_{name}"):
        S3Options.parse({name: text})


def test_a_key_goes_with_an_encryption_that_has_keys() -> None:
    found = S3Options.parse({"SERVER_SIDE_ENCRYPTION": "aws:kms", "KMS_KEY_ID": "alias/key"})

    assert ("aws:kms", "alias/key") == (found.server_side_encryption, found.kms_key_id)


def test_credentials_in_the_url_of_a_bucket_are_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_url("s3://AKIA:hunter2hunter2@bucket/prefix")

    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize("name", ["ENDPOINT_URL", "PUBLIC_ENDPOINT_URL"])
def test_a_password_in_an_address_is_not_repeated(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        S3Options.parse({name: "https://me:hunter2hunter2@s3.example.org"})

    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"


def test_settings_hand_on_what_belongs_to_the_backend() -> None:
    environment = {"ARTIFACTSTORE_S3_REGION": "eu-1", "ARTIFACTSTORE_S3_CHECKSUMS": "", "ARTIFACTSTORE_MAX_FILES": "5"}

    with_bucket = Settings.from_environment({**environment, "ARTIFACTSTORE_STORAGE_URL": "s3://bucket"})
    with_folder = Settings.from_environment(environment)

    assert ({"REGION": "eu-1"}, {}) == (
        with_bucket.backends["default"].options,
        with_folder.backends["default"].options,
    )


def test_a_misspelt_setting_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ARTIFACTSTORE_S3_REGOIN"):
        Settings.from_environment({"ARTIFACTSTORE_STORAGE_URL": "s3://bucket", "ARTIFACTSTORE_S3_REGOIN": "x"})


@pytest.mark.parametrize(
    ("object_bytes", "expected"),
    [
        (100 * MEBIBYTE, 16 * MEBIBYTE),
        (160_000 * MEBIBYTE, 16 * MEBIBYTE),
        (160_000 * MEBIBYTE + 1, 32 * MEBIBYTE),
        (5 * MEBIBYTE * MEBIBYTE, 1024 * MEBIBYTE),
    ],
)
def test_no_object_has_more_than_ten_thousand_parts(object_bytes: int, expected: int) -> None:
    assert expected == part_bytes(object_bytes, 16 * MEBIBYTE)
    assert object_bytes <= 10_000 * expected
