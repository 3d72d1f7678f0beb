"""The workload of the public Windmill benchmark: `python fibo.py N` computes the Nth Fibonacci number recursively."""

import sys

from dagster_pipes import open_dagster_pipes


def fibo(n: int) -> int:
    return n if n < 2 else fibo(n - 1) + fibo(n - 2)


with open_dagster_pipes() as pipes:
    pipes.report_asset_materialization(metadata={"fibo": fibo(int(sys.argv[1]))})
