"""The contract for plug-ins: what they describe themselves with, what they are handed, what they hand in.

Small and stable; importing it loads no web, SQL or cloud library. A plug-in says where it observed something, what, who
took part and, if there is one, the package, in one call on the context it is handed. It never says who it is: the
context knows, and stamps it. docs/guides/write-a-plugin.md walks through one.
"""

from artifactstore.domain.canonical import JsonValue
from artifactstore.domain.capabilities import Capability
from artifactstore.domain.media_type import media_type_of
from artifactstore.domain.package import BytesSource, FileDraft, FileSource, PackageDraft, PackageReceipt
from artifactstore.domain.provenance import (
    EnvelopeInput,
    IngestedEnvelope,
    IngestedPackage,
    IngestedSource,
    IngestInput,
    IngestResult,
    PartyInput,
    Retrieval,
    SourceInput,
)
from artifactstore.domain.retention import RetentionClass
from artifactstore.domain.vocabulary import IdentifierKind, LocationKind, Scoping, Words
from artifactstore.errors import (
    ArtifactStoreError,
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    RunDirectoryError,
    UsageError,
)
from artifactstore.plugins.contract import CommandDoor, Listener, Notice, Plugin, PluginContext, WebhookFormat
from artifactstore.registry.directory import DirectoryTree, TreeFile

__all__ = [
    "ArtifactStoreError",
    "BytesSource",
    "Capability",
    "CommandDoor",
    "ConfigurationError",
    "ConflictError",
    "DirectoryTree",
    "EnvelopeInput",
    "FileDraft",
    "FileSource",
    "IdentifierKind",
    "IngestInput",
    "IngestResult",
    "IngestedEnvelope",
    "IngestedPackage",
    "IngestedSource",
    "InvalidRequestError",
    "JsonValue",
    "Listener",
    "LocationKind",
    "Notice",
    "PackageDraft",
    "PackageReceipt",
    "PartyInput",
    "Plugin",
    "PluginContext",
    "RetentionClass",
    "Retrieval",
    "RunDirectoryError",
    "Scoping",
    "SourceInput",
    "TreeFile",
    "UsageError",
    "WebhookFormat",
    "Words",
    "media_type_of",
]
