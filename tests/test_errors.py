"""Errors as people meet them."""

from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.errors import BulkheadError, ContractError, Problem, did_you_mean, listed


def test_every_error_is_in_the_tree_and_the_drawing_names_each() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) == 5
    assert all(issubclass(kind, BulkheadError) for kind in kinds)
    assert [kind.__name__ for kind in kinds if kind.__name__ not in str(errors.__doc__)] == []


def test_a_problem_reads_as_file_line_key_and_message() -> None:
    path = Path("workloads/etl/defs.yaml")
    assert str(Problem(path, 23, "steps[1].name", "missing.")) == "workloads/etl/defs.yaml:23: steps[1].name: missing."
    assert str(Problem(path, 1, "", "this is not YAML.")) == "workloads/etl/defs.yaml:1: this is not YAML."


def test_a_contract_error_has_one_line_for_each_problem() -> None:
    problems = [Problem(Path("d.yaml"), 1, "a", "x."), Problem(Path("d.yaml"), 2, "b", "y.")]
    error = ContractError("etl", problems)
    assert (error.team, error.problems) == ("etl", tuple(problems))
    assert str(error) == "d.yaml:1: a: x.\nd.yaml:2: b: y."


@pytest.mark.parametrize(
    ("word", "known", "text"),
    [
        ("raw_measurement", ["measurements", "raw_measurements"], " Did you mean 'raw_measurements'?"),
        ("weather", ["measurements"], ""),
        ("x", [], ""),
    ],
)
def test_the_nearest_known_word_is_offered_if_it_is_near(word: str, known: list[str], text: str) -> None:
    assert did_you_mean(word, known) == text


def test_a_list_of_words_is_sorted_and_an_empty_one_says_so() -> None:
    assert (listed(["b", "a"]), listed([]), listed([], "no teams")) == ("a, b", "none", "no teams")
