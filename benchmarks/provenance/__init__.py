"""What it costs to record what plug-ins observed, beside bare transactions that write the same rows.

- ``observations``: what a plug-in says, 1,000 times and more, none like another
- ``bare``: the floor: the very rows, written by the driver alone
- ``in_turn``: ours and the floor in turn, in one process
- ``filled``: a catalog that holds a million envelopes already
- ``cases``: the workloads I-1000 and I-flat
"""
