"""For the whole suite: which tests are of whole processes; and with REQUIRE_ALL=1 (CI) a test that would skip
fails: nothing goes missing unseen.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from api_keys import MADE
from openai_api import KEY as OPERATOR_KEY

REQUIRE_ALL = os.environ.get("REQUIRE_ALL") == "1"

# How long an example takes, or the making of it (a fresh clone's first text reads Unicode's tables), says how
# busy the machine is and nothing of the code.
settings.register_profile(
    "timeless",
    settings.get_profile(settings.get_current_profile_name()),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("timeless")

# Tests that run once, not on every Python: of whole server processes, seconds each; and those that stop at
# every call, lose power or ask a real store, which find mistakes of ours and not of a Python's.
PROCESS_FOLDERS = tuple(
    Path(__file__).parent / name
    for name in (
        *("browser", "crash", "hostile", "openapi", "proxies", "integration/benchmarks", "integration/cli"),
        *("conformance", "power_loss", "integration/archive", "soak"),
        *("integration/storage_admin", "integration/transcription", "integration/inference"),
    )
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(folder in item.path.parents for folder in PROCESS_FOLDERS):
            item.add_marker(pytest.mark.process)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # An expected failure is reported as a skip too, and is none.
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """No log line and no output of any test may hold a credential that a test has used."""
    yield
    said = "".join(text for _, _, text in item._report_sections)  # what was captured in each phase
    shown = [secret for secret in (*MADE, OPERATOR_KEY) if secret in said]
    if shown:
        pytest.fail(f"{len(shown)} credentials stand in what was logged or printed")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if REQUIRE_ALL and report.skipped:
        _fail(report)
    return report


def _fail(report: Any) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"REQUIRE_ALL=1, but: {reason}"
