"""docs/reference/settings.md names every setting, its default and other variable, and no other setting."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from interview_edge.settings import Settings, variable

TEXT = (Path(__file__).parents[2] / "docs/reference/settings.md").read_text()
ROWS = {
    name: (default, meaning)
    for name, default, meaning in re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", TEXT, re.MULTILINE)
}


@pytest.mark.parametrize("attribute", attrs.fields(Settings), ids=lambda attribute: attribute.name)
def test_each_setting_is_described(attribute: attrs.Attribute[object]) -> None:
    assert attribute.name in ROWS
    default, meaning = ROWS[attribute.name]
    value = getattr(attribute.default, "value", attribute.default)
    if isinstance(value, tuple):
        assert default == (", ".join(value) or "none")
    elif value is not None:
        assert default == (str(value).lower() if isinstance(value, bool) else str(value))
    if not variable(attribute).startswith("EDGE_"):
        assert f"`{variable(attribute)}`" in meaning


def test_nothing_else_is_described() -> None:
    assert ROWS.keys() == {attribute.name for attribute in attrs.fields(Settings)}
