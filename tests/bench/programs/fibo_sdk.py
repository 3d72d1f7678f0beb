"""The same with the sdk: `python fibo_sdk.py N ASSET`."""

import sys

from bulkhead_sdk import open_step


def fibo(n: int) -> int:
    return n if n < 2 else fibo(n - 1) + fibo(n - 2)


with open_step(sys.argv[2]) as step:
    step.report(sys.argv[2], metadata={"fibo": fibo(int(sys.argv[1]))})
