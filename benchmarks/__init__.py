"""What the store costs, beside floors and peers, in one run on one machine.

``python -m benchmarks`` from the repository's root (or ``make bench``) generates the data, measures, prints tables and
writes each part's JSON and report: RESULTS.md, RESULTS-HTTP.md, RESULTS-SERVERS.md, RESULTS-PROVENANCE.md,
RESULTS-TESTING-OS.md, RESULTS-LIFE-CYCLE.md. ``--only servers`` measures one part, ``--only S-W3,P-W1`` these
workloads; ``--quick`` is for trying: small data, once, nothing written. ``python -m benchmarks report`` turns a JSON
into its report. Nothing here is part of the product.

- ``data``: the workloads W1 to W6 and their deterministic files
- ``floors``: the least that anybody must do for the same work, each in its own process
- ``ours``: the library, each operation in a fresh interpreter
- ``commands``: the command line, borg, restic and ``cp``, as whole processes
- ``catalogs``: a catalog that holds a million blobs, or many packages, already
- ``processes``: running a child and reading what it cost
- ``cases``: which of these a workload runs, and how each is prepared
- ``over_http``: the same for the service, whose workloads are H-W1, H-W3, H-W4, H-load and H-list
- ``on_servers``: the same with objects in S3 and the catalog on PostgreSQL: S-W3, S-W5, P-W1, P-W3, P-flat and M-2
- ``provenance``: what plug-ins record, beside bare transactions of the same rows: I-1000 and I-flat
- ``testing_os``: submissions of testing-os, beside the published ingest of that product: T-flat and T-1000
- ``life_cycle``: what comes after storing: L-collect, L-collect-S3, L-plan, L-scrub, L-foreground, L-rebuild, L-rates
- ``parts``: the parts of all this, and the documents each is written to
- ``runner``: warms the page cache, rotates the order, repeats
- ``targets``: what must be reached, as ratios of medians
- ``machine``, ``report``: the machine in words, the tables
- ``profiling``: where the time of one ingest goes
"""
