"""What it costs to take submissions of testing-os, beside the published ingest of the product itself.

- ``submissions``: the same files for both sides
- ``ours``: ours, in a process that goes on
- ``original``, ``original/driver.mjs``: the published one, in Node; `make original` installs it
- ``filled``: what holds 20,000 records already
- ``cases``: the workloads T-flat and T-1000
"""
