"""The S3 store keeps the contract on a server that verifies signatures and checksums and honours conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.s3_contract import S3StoreContract

if TYPE_CHECKING:
    from tests.s3_servers import S3Server


class TestS3StoreOnLocalStack(S3StoreContract):
    """With CRC-32 checksums, which it verifies and acknowledges."""

    @pytest.fixture(autouse=True)
    def at(self, localstack: S3Server) -> None:
        self.server = localstack
