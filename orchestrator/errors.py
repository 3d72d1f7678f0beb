"""Every error a person can meet, in one tree.

BulkheadError
+-- SettingsError      a setting of the platform cannot be used
+-- ContractError      a defs.yaml is wrong; carries every problem found, each with file, line and key
+-- HomeError          the platform's state under BULKHEAD_HOME cannot be used
+-- CommandError       a command line asked for something that is not there
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path


class BulkheadError(Exception):
    """Base of every error that carries a message written for the person who meets it."""


class SettingsError(BulkheadError):
    """A setting of the platform cannot be used; names the variable, its value and what was expected."""


class HomeError(BulkheadError):
    """The platform's state directory cannot be used; says why and what to do."""


class CommandError(BulkheadError):
    """A command line asked for something that is not there; names the nearest thing that is."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a contract: where it stands and what was expected there."""

    path: Path
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ContractError(BulkheadError):
    """A team's contract is wrong. `problems` holds every problem found, in the order of the file."""

    def __init__(self, team: str, problems: Sequence[Problem]) -> None:
        self.team = team
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest known word, or an empty string."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def listed(words: Iterable[str], empty: str = "none") -> str:
    """Return words as a sorted, comma-separated list."""
    return ", ".join(sorted(word if word.isprintable() else repr(word) for word in words)) or empty
