"""What only a bucket can be asked: requests past the adapter, below a prefix of the probe's own.

``ground`` is that prefix and its requests; ``objects`` measures what happens to bytes, ``conditions`` who wins,
``uploads`` parts and checksums, ``access`` presigned URLs, versions and locks; ``probing`` puts them in order.
"""

from artifactstore.storage.s3.probing.probing import S3Probing

__all__ = ["S3Probing"]
