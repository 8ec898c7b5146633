"""In CI a skipped test is a failure, unless ``allowed_skips.txt`` names it with its reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("userlan", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI")))
settings.load_profile("userlan")

pytest_plugins = ["tests.fuzzing"]

ALLOWED = Path(__file__).with_name("allowed_skips.txt")


def allowed_skips() -> set[str]:
    """Node ids (a prefix is enough) that may skip in CI."""
    lines = ALLOWED.read_text().splitlines()
    return {line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()}


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn an unexpected skip into a failure where CI runs."""
    if not os.environ.get("CI") or exitstatus != 0:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    allowed = allowed_skips()
    unexpected = [report.nodeid for report in skipped if not any(report.nodeid.startswith(prefix) for prefix in allowed)]
    if unexpected and reporter is not None:
        session.exitstatus = 1
        reporter.write_line(f"skipped, but not named in {ALLOWED.name}: {', '.join(unexpected)}", red=True)
