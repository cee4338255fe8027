"""Objects in a bucket of Amazon S3 or of a server that speaks its protocol: ``s3://bucket/prefix``.

``store`` is the adapter; ``options`` what can be set; ``bucket`` the requests that several need; ``staging`` how an
object gets in, ``uploading`` its requests; ``reading`` how its bytes come out; ``errors`` what leaves. boto3 is
imported when a store is opened: nobody else needs it.
"""

from artifactstore.storage.s3.store import S3Store

__all__ = ["S3Store"]
