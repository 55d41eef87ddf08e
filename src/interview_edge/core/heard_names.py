"""Names that people say are theirs, in text as a speech recogniser writes it, English and Chinese.

A name that is on the roster is found however it is written; one that isn't is taken only where it looks like
a name, since "I'm sorry" and 我是学生 say no name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

import attrs

from interview_edge.core.models import Participant

_ENGLISH = re.compile(r"(?<![\w'’])(my name is|my name['’]s|i am|i['’]m|this is)\s+", re.IGNORECASE)
_SURE = ("my name",)  # after these, a name comes whatever it looks like
_WORD = re.compile(r"(?:(?:dr|mr|ms|mrs|prof)\.\s*)?([^\W\d_]+(?:['’-][^\W\d_]+)*)[ \t]*", re.IGNORECASE)
_MOST_WORDS = 4
_POSSESSIVE = ("'s", "’s", "'S", "’S")  # "I'm Alice's brother" says another's name, as does 我是小明的同学
# Begin no name, though a recogniser may write them large: after "I am" and "this is" above all.
_NO_NAMES = frozenset(
    re.findall(
        r"\w+",
        """
        a an the and but or not no so very just also really here there in on at from of to for with going
        gonna sorry sure happy glad fine good great ok okay what why how where when who it that this my your
        his her i you he she we they american british english irish scottish canadian australian french german
        spanish italian russian polish dutch indian chinese japanese korean vietnamese brazilian mexican
        african asian european catholic muslim jewish hindu buddhist
        """,
    )
)

_CHINESE = re.compile(r"(我的名字是|我的名字叫|我叫做|我叫|我是)\s*")
_HAN_RUN = re.compile(r"[\u3400-\u9fff·]+|[A-Za-z]+(?:[ '’-][A-Z][a-z]+)*")
# What goes on after a name, where a recogniser writes no comma.
_AFTER_NAME = re.compile(
    r"今年|今天|来自|來自|现在|現在|目前|毕业|畢業|很高|我|你|是|在|和|也|的|从|從|这|這|，"
)
_MOST_HAN = 4  # of a name; a double family name and a double given one
_LONGEST_FORM = 8  # that a roster may have, with a title
# The hundred most common family names, and some double ones: 我是 also begins 我是学生, 我是说.
_FAMILY_NAMES = frozenset(
    "王李张張刘劉陈陳杨楊黄黃赵趙吴吳周徐孙孫马馬朱胡郭何高林罗羅郑鄭梁谢謝宋唐许許韩韓冯馮邓鄧曹彭曾肖田董袁"
    "潘于蒋蔣蔡余杜叶葉程苏蘇魏吕呂丁任沈姚卢盧姜崔钟鍾谭譚陆陸汪范金石廖贾賈夏韦韋付方白邹鄒孟熊秦邱江尹薛"
    "闫閆段雷侯龙龍史陶黎贺賀顾顧毛郝龚龔邵万萬钱錢严嚴覃武戴莫孔向汤湯"
) | {"欧阳", "歐陽", "司马", "司馬", "上官", "诸葛", "諸葛"}


@attrs.frozen
class HeardName:
    """A name that was said. `on_roster` is None where there is no roster; a name on it is spelt as there."""

    name: str
    on_roster: bool | None


def name_heard(text: str, roster: Sequence[Participant] | None) -> HeardName | None:
    """The speaker's own name, as `text` says it: the first one on the roster, else the first one."""
    first: str | None = None
    for spoken in _candidates(text):
        for words in spoken.forms:
            person = match_roster(words, roster or ())
            if person is not None:
                return HeardName(person.name, on_roster=True)
        first = first or spoken.name
    if first is None:
        return None
    return HeardName(first, on_roster=False if roster else None)


def match_roster(name: str, roster: Sequence[Participant]) -> Participant | None:
    """The one person who is called so: by the whole name, or by a part of it that nobody else has."""
    wanted = _plain(name)
    if not wanted:
        return None
    whole = [person for person in roster if _plain(person.name) == wanted]
    if whole:
        return whole[0]
    partly = [person for person in roster if wanted in _parts(person.name)]
    return partly[0] if len(partly) == 1 else None


@attrs.frozen
class _Spoken:
    """What follows a phrase: `forms` that may be on a roster, longest first, and what looks like a name."""

    forms: tuple[str, ...]
    name: str | None


def _candidates(text: str) -> Iterator[_Spoken]:
    """In the order in which they are said."""
    found = [(match, _english) for match in _ENGLISH.finditer(text)]
    found += [(match, _chinese) for match in _CHINESE.finditer(text)]
    for match, read in sorted(found, key=lambda pair: pair[0].start()):
        yield read(text, match)


def _english(text: str, phrase: re.Match[str]) -> _Spoken:
    words: list[str] = []
    at = phrase.end()
    while len(words) < _MOST_WORDS and (word := _WORD.match(text, at)) is not None:
        words.append(word[1])
        at = word.end()
    forms = tuple(" ".join(words[:count]) for count in range(len(words), 0, -1))
    named: list[str] = []
    for each in words:
        if not each[0].isupper() or each.casefold() in _NO_NAMES or each.endswith(_POSSESSIVE):
            break
        named.append(each)
    if not named and words and phrase[1].lower().startswith(_SURE) and words[0].casefold() not in _NO_NAMES:
        named = [words[0].capitalize()]  # a recogniser that writes everything small
    return _Spoken(forms, " ".join(named) or None)


def _chinese(text: str, phrase: re.Match[str]) -> _Spoken:
    run = _HAN_RUN.match(text, phrase.end())
    if run is None:
        return _Spoken((), None)
    said = run[0]
    if said[0].isascii():
        return _Spoken((said,), said if said[0].isupper() else None)
    forms = tuple(said[:n] for n in range(min(len(said), _LONGEST_FORM), 1, -1) if said[n : n + 1] != "的")
    follows = _AFTER_NAME.search(said, 1)
    name = said[: follows.start()] if follows else said
    if follows and follows[0] == "的":
        return _Spoken(forms, None)
    sure = phrase[1] != "我是"
    fits = 2 <= len(name) <= _MOST_HAN or "·" in name
    if fits and (sure or {name[0], name[:2]} & _FAMILY_NAMES):
        return _Spoken(forms, name)
    return _Spoken(forms, None)


def _plain(name: str) -> str:
    """What two spellings of a name have in common: width, case and spaces don't count."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def _parts(name: str) -> set[str]:
    """By what else a person may be called: any of the names; of a Chinese one, the given name."""
    parts = {_plain(part) for part in name.split()} if len(name.split()) > 1 else set()
    plain = _plain(name)
    if re.fullmatch(r"[\u3400-\u9fff]{3,4}", plain):
        family = 2 if plain[:2] in _FAMILY_NAMES else 1
        parts.add(plain[family:])
    return parts
