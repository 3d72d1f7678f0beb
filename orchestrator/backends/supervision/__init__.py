"""The parent of one workload: starts it, holds its limits, and lets nothing that it started outlive it.

Runs as a process of its own, knows only the standard library, and does not import the platform, so that it starts fast
and is up whatever becomes of the platform. Modules import each other relatively: the process sees this folder alone.

    supervisor.py   the life of one workload, from start to end
    starter.py      forks and executes it; inside a sandbox, as a program of its own
    starter.c       that program once more, for machines with a C compiler
    watch.py        measures the tree, and says which limit it broke
    cgroups.py      the same limits, held by the kernel where it lets us
    disk.py         finds out whether it fills a disk
    output.py       carries its output to the step's logs, with secrets masked
    redaction.py    masks secrets
    processes.py    reads /proc
"""
