"""The S3 store keeps the contract on a server that ignores conditional writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.s3_contract import S3StoreContract
from tests.s3_servers import aws_environment, rclone  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from tests.s3_servers import S3Server


class TestS3StoreOnRclone(S3StoreContract):
    """With Content-MD5, the checksum that every server knows."""

    options = {"CHECKSUMS": "when_required"}  # noqa: RUF012 - the base says that it is the class's

    @pytest.fixture(autouse=True)
    def at(self, rclone: S3Server) -> None:  # noqa: F811 - the fixture that is imported
        self.server = rclone
