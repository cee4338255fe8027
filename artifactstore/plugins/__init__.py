"""The contract for plug-ins: what they describe themselves with, what they are handed, what they hand in.

Small and stable; importing it loads no web, SQL or cloud library. A pilot is a plug-in that reads a producer's runs: it
turns one into a ``PackageDraft`` and makes one call on the context it is handed. It never says who it is: the context
knows, and stamps it on the events.
"""

from artifactstore.domain.media_type import media_type_of
from artifactstore.domain.package import BytesSource, FileDraft, FileSource, PackageDraft, PackageReceipt
from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import RunDirectoryError
from artifactstore.plugins.contract import CommandDoor, Plugin, PluginContext
from artifactstore.registry.directory import DirectoryTree, TreeFile

__all__ = [
    "BytesSource",
    "CommandDoor",
    "DirectoryTree",
    "FileDraft",
    "FileSource",
    "PackageDraft",
    "PackageReceipt",
    "Plugin",
    "PluginContext",
    "RetentionClass",
    "RunDirectoryError",
    "TreeFile",
    "media_type_of",
]
