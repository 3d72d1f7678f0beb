"""Take memory, 50 MB every 50 ms, until something stops it."""

import time

from showcase.pipes import open_pipes

MB = 1_000_000
CEILING = 4000 * MB


def eat(ceiling: int, pause: float = 0.05) -> None:
    """Hold 50 MB more every `pause` seconds; raises RuntimeError at `ceiling` bytes, to spare a laptop."""
    held: list[bytes] = []
    while len(held) * 50 * MB < ceiling:
        held.append(b"\x01" * (50 * MB))
        time.sleep(pause)
    raise RuntimeError(f"no limit stopped this step at {ceiling // MB} MB")


def main() -> None:
    with open_pipes("eats_memory") as pipes:
        pipes.log.info("taking 50 MB every 50 ms")
        eat(CEILING)


if __name__ == "__main__":
    main()
