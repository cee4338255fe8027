"""A plug-in as it was installed: with the name and version of its distribution, which it cannot choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from artifactstore.domain.provenance import Provenance

if TYPE_CHECKING:
    from artifactstore.plugins.contract import Plugin


DISTRIBUTION = "artifactstore"
"""What our own plug-ins are installed with."""


@dataclass(frozen=True, slots=True)
class LoadedPlugin:
    """A plug-in that is installed, and where it came from."""

    plugin: Plugin
    distribution: str
    version: str
    """Of the distribution."""

    @property
    def provenance(self) -> Provenance:
        """What is stamped on all it records."""
        return Provenance(self.plugin.name, self.version, self.plugin.contract_version)
