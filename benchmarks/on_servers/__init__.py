"""What the store costs with its objects in S3 and its catalog on PostgreSQL: real servers on loopback.

S3 is ``rclone serve s3`` over a directory (it syncs nothing), PostgreSQL the wheel's, as ``initdb`` leaves it: what it
has committed is on the disk.

- ``postgres``: a PostgreSQL for each run, a copy of one that was made ready
- ``relay``: counts the requests that pass on their way to S3
- ``processor``: how much processor time each of several servers used
- ``ours``: ingests in a warm process, on whatever database and storage the environment names
- ``boto3_peer``: the same files put by boto3
- ``growing``: many packages recorded; the last of them timed in turn with the first of another store
- ``shared``: what the cases share: settings and the servers
- ``cases``: the workloads S-W3, S-W5, P-W1, P-W3, P-flat and M-2
"""
