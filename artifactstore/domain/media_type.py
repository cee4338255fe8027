"""Media types by file name, from one table that is frozen with manifest version 1.

The host's tables are never asked: the same file must get the same type on every machine. A new entry, or a changed one,
would change manifests and so needs a new manifest version.
"""

from __future__ import annotations

from types import MappingProxyType

UNKNOWN = "application/octet-stream"

BY_EXTENSION = MappingProxyType(
    {
        "7z": "application/x-7z-compressed",
        "avif": "image/avif",
        "bmp": "image/bmp",
        "bz2": "application/x-bzip2",
        "cbor": "application/cbor",
        "cfg": "text/plain",
        "conf": "text/plain",
        "css": "text/css",
        "csv": "text/csv",
        "err": "text/plain",
        "gif": "image/gif",
        "gz": "application/gzip",
        "htm": "text/html",
        "html": "text/html",
        "ico": "image/vnd.microsoft.icon",
        "ini": "text/plain",
        "jpeg": "image/jpeg",
        "jpg": "image/jpeg",
        "js": "text/javascript",
        "json": "application/json",
        "jsonl": "application/jsonl",
        "log": "text/plain",
        "md": "text/markdown",
        "mjs": "text/javascript",
        "mp4": "video/mp4",
        "ndjson": "application/x-ndjson",
        "out": "text/plain",
        "parquet": "application/vnd.apache.parquet",
        "pdf": "application/pdf",
        "pem": "application/x-pem-file",
        "png": "image/png",
        "ps": "application/postscript",
        "py": "text/x-python",
        "rst": "text/x-rst",
        "sarif": "application/sarif+json",
        "sh": "application/x-sh",
        "sig": "application/octet-stream",
        "sql": "application/sql",
        "svg": "image/svg+xml",
        "tar": "application/x-tar",
        "tgz": "application/gzip",
        "tif": "image/tiff",
        "tiff": "image/tiff",
        "toml": "application/toml",
        "tsv": "text/tab-separated-values",
        "txt": "text/plain",
        "wasm": "application/wasm",
        "webm": "video/webm",
        "webp": "image/webp",
        "whl": "application/zip",
        "xml": "application/xml",
        "xsd": "application/xml",
        "xsl": "application/xslt+xml",
        "xz": "application/x-xz",
        "yaml": "application/yaml",
        "yml": "application/yaml",
        "zip": "application/zip",
        "zst": "application/zstd",
    }
)


def media_type_of(path: str) -> str:
    """The type of a file by the extension of its last segment, any case; ``application/octet-stream`` if unknown."""
    dot = path.rfind(".")
    if dot <= path.rfind("/") + 1:  # none, or the name begins with it
        return UNKNOWN
    extension = path[dot + 1 :]
    return BY_EXTENSION.get(extension) or BY_EXTENSION.get(extension.lower(), UNKNOWN)
