"""Names heard in text: which phrases say one, where it ends, and who on the roster is meant."""

from __future__ import annotations

import pytest

from interview_edge.core.heard_names import HeardName, match_roster, name_heard
from interview_edge.core.models import Participant

ROSTER = tuple(
    Participant(name) for name in ("Alice Smith", "Bob Jones", "Bob Stone", "王小明", "欧阳娜娜", "李雷")
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Hello, my name is Alice.", "Alice"),
        ("my name is alice", "Alice"),  # a recogniser without capitals
        ("My name's Mary Ann O'Neill and I work here", "Mary Ann O'Neill"),
        ("I'm Bob, nice to meet you", "Bob"),
        ("I’m Jean-Luc Picard.", "Jean-Luc Picard"),
        ("Well, I am Dr. Watson.", "Watson"),
        ("Hi, this is Zoë speaking", "Zoë"),
        ("I'm sorry. My name is Carol.", "Carol"),
        ("大家好，我叫王小明。", "王小明"),
        ("我的名字是李雷，来自北京", "李雷"),
        ("我叫王小明今年二十岁", "王小明"),
        ("你好，我是陈静。", "陈静"),
        ("我是欧阳娜娜", "欧阳娜娜"),
        ("我叫 Tom", "Tom"),
    ],
)
def test_a_name_is_heard(text: str, name: str) -> None:
    assert name_heard(text, None) == HeardName(name, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I'm sorry about that",
        "I am going home",
        "I'm American",
        "this is not what I meant",
        "my name is not important",
        "Miami is Great",
        "我是学生",
        "我是说你可以",
        "我叫",
        "我是从北京来的",
        "I am",
    ],
)
def test_none_is_heard(text: str) -> None:
    assert name_heard(text, None) is None


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("I'm alice", HeardName("Alice Smith", on_roster=True)),
        ("this is ALICE SMITH from sales", HeardName("Alice Smith", on_roster=True)),
        ("my name is Bob Stone", HeardName("Bob Stone", on_roster=True)),
        ("I'm Bob", HeardName("Bob", on_roster=False)),  # two of them
        ("I'm Zoe. I am Alice.", HeardName("Alice Smith", on_roster=True)),  # the first one on it
        ("I'm Zoe. I am Yan.", HeardName("Zoe", on_roster=False)),
        ("我是王小明的同学", None),
        ("I'm Alice's brother", None),
        ("大家好我叫小明很高兴", HeardName("王小明", on_roster=True)),
        ("我是娜娜", HeardName("欧阳娜娜", on_roster=True)),
        ("I am glad", None),
    ],
)
def test_the_roster_says_who_is_meant(text: str, heard: HeardName | None) -> None:
    assert name_heard(text, ROSTER) == heard


def test_spelling_and_width_do_not_count_on_the_roster() -> None:
    assert match_roster("ＡＬＩＣＥ　smith", ROSTER) == Participant("Alice Smith")
    assert match_roster("  ", ROSTER) is None
