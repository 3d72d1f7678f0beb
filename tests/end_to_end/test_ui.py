import os

import pytest

from tests.end_to_end import screenshots
from tests.end_to_end.browser import find_chromium


@pytest.mark.browser
def test_the_ui_launches_the_jobs_and_shows_lineage_checks_metadata_plot_logs_and_stdout(tmp_path):
    if find_chromium() is None:
        message = "NOT RUN: no Chromium on this machine, so the UI was not looked at"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    folder = tmp_path / "pictures"
    folder.mkdir()
    screenshots.take(folder)
    assert {path.stem for path in folder.glob("*.png")} == {
        "asset",
        "checks",
        "failing",
        "lineage",
        "log",
        "model",
        "plot",
        "stdout",
    }
