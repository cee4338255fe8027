"""Servers that are too large to be a dependency: ``make test-servers`` installs them and runs these tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.localstack_server import CREDENTIALS, running_localstack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.s3_servers import S3Server

pytest.register_assert_rewrite("artifactstore.testing.object_store")


@pytest.fixture(scope="session")
def localstack() -> Iterator[S3Server]:
    """One LocalStack for all tests, and the credentials that it knows."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        with running_localstack() as server:
            yield server
