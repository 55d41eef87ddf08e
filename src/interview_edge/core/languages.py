"""Languages as people's models name them, as ISO 639-1 codes.

OpenAI's verbose answers name a language in English ("english"), other servers that speak the same protocol
give its code ("en"). The names are those of Whisper's 100 languages. Two of them have no code of
two letters, and the ISO 639-3 one stands.
"""

from __future__ import annotations

import re

_CODES = re.compile(r"[a-z]{2,3}")
_LOCALE = re.compile(r"([a-z]{2,3})[-_].*")
_NAMES = """
afrikaans af, albanian sq, amharic am, arabic ar, armenian hy, assamese as, azerbaijani az, bashkir ba,
basque eu, belarusian be, bengali bn, bosnian bs, breton br, bulgarian bg, cantonese yue, catalan ca,
chinese zh, croatian hr, czech cs, danish da, dutch nl, english en, estonian et, faroese fo, finnish fi,
french fr, galician gl, georgian ka, german de, greek el, gujarati gu, haitian creole ht, hausa ha,
hawaiian haw, hebrew he, hindi hi, hungarian hu, icelandic is, indonesian id, italian it, japanese ja,
javanese jv, kannada kn, kazakh kk, khmer km, korean ko, lao lo, latin la, latvian lv, lingala ln,
lithuanian lt, luxembourgish lb, macedonian mk, malagasy mg, malay ms, malayalam ml, maltese mt, maori mi,
marathi mr, mongolian mn, myanmar my, nepali ne, norwegian no, nynorsk nn, occitan oc, pashto ps, persian fa,
polish pl, portuguese pt, punjabi pa, romanian ro, russian ru, sanskrit sa, serbian sr, shona sn, sindhi sd,
sinhala si, slovak sk, slovenian sl, somali so, spanish es, sundanese su, swahili sw, swedish sv, tagalog tl,
tajik tg, tamil ta, tatar tt, telugu te, thai th, tibetan bo, turkish tr, turkmen tk, ukrainian uk, urdu ur,
uzbek uz, vietnamese vi, welsh cy, yiddish yi, yoruba yo
"""
_CODE_OF = {name: code for entry in _NAMES.split(",") for name, _, code in [entry.strip().rpartition(" ")]}
# Burmese, Flemish...: names that Whisper takes for the same.
_CODE_OF |= {"mandarin": "zh", "burmese": "my", "flemish": "nl", "castilian": "es", "valencian": "ca"}


def language_code(said: str | None) -> str | None:
    """The code of a language that a model names: by its code ("en", "EN", "en-US") or in English. None for
    anything else.
    """
    if said is None:
        return None
    name = said.strip().lower()
    locale = _LOCALE.fullmatch(name)
    if locale is not None:
        return locale[1]
    return _CODE_OF.get(name) or (name if _CODES.fullmatch(name) else None)
