"""Waits until it is stopped."""

import time

from dagster_pipes import open_dagster_pipes

with open_dagster_pipes():
    while True:
        time.sleep(60)
