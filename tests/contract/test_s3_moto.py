"""The S3 store keeps the contract on a server that honours conditional writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.s3_contract import S3StoreContract
from tests.s3_servers import aws_environment, moto  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from tests.s3_servers import S3Server


class TestS3StoreOnMoto(S3StoreContract):
    """With CRC-32 checksums, which it takes as they come."""

    @pytest.fixture(autouse=True)
    def at(self, moto: S3Server) -> None:  # noqa: F811 - the fixture that is imported
        self.server = moto
