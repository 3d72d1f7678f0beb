from pathlib import Path

import pytest

from tests.end_to_end import screenshots
from tests.end_to_end.browser import needs_chromium


@pytest.mark.browser
def test_the_ui_launches_the_jobs_and_shows_lineage_checks_metadata_plot_logs_and_stdout(tmp_path: Path) -> None:
    needs_chromium()
    screenshots.take(tmp_path)
    names = {"asset", "checks", "failing", "lineage", "log", "model", "plot", "stdout"}
    assert {path.stem for path in tmp_path.glob("*.png")} == names
