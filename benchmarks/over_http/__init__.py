"""What the service costs over HTTP: real server processes on loopback, beside floors and peers.

- ``servers``: starting ours, the floors' and the peers', each in a folder and on a port of its own, and ending them
- ``floor_server``: the least a server must do to take or give a file, behind the same HTTP implementation
- ``clients``: one client in a warm process: pushes, one large PUT or GET, many small GETs
- ``s3_client``: the same for boto3, in whichever interpreter has it
- ``rounds``: what those two share: the same files, changed in every round
- ``load``: many clients at once
- ``trees``: trees and images nobody has stored yet
- ``peers``: skopeo, rclone, oras and MLflow as whole processes
- ``cases``: which of these a workload runs
"""
