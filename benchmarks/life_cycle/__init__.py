"""What the life of packages costs after they are stored: plans, collection, the scrub, rebuilding, and other upkeep.

- ``making``: stores to begin from, some of whose rows have no bytes
- ``ours``: ours, in a process that has imported everything
- ``floors``: the least there is to do for the same
- ``foreground``: what callers notice of a scrub
- ``shared``: sizes, and stores that are made once and copied
- ``cases``: the workloads L-collect, L-collect-S3, L-plan, L-scrub, L-foreground, L-rebuild and L-rates
"""
