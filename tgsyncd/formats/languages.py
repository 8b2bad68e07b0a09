# SPDX-License-Identifier: MIT
"""
Language codes (PURE).

MPEG-TS and MP4 want three letters (ISO 639-2), HLS and Jellyfin the shortest code (RFC 5646).

ISO 639-2 has two codes for some twenty languages; Matroska writes the bibliographic one (``ger``), MP4
the terminological one (``deu``). Both are read; what a source says in three letters is never changed.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["language_alpha3", "language_short"]

_TWO_TO_THREE: Final = """
aa aar ab abk ae ave af afr ak aka am amh an arg ar ara as asm av ava ay aym az aze ba bak be bel
bg bul bh bih bi bis bm bam bn ben bo bod br bre bs bos ca cat ce che ch cha co cos cr cre cs ces
cu chu cv chv cy cym da dan de deu dv div dz dzo ee ewe el ell en eng eo epo es spa et est eu eus
fa fas ff ful fi fin fj fij fo fao fr fra fy fry ga gle gd gla gl glg gn grn gu guj gv glv ha hau
he heb hi hin ho hmo hr hrv ht hat hu hun hy hye hz her ia ina id ind ie ile ig ibo ii iii ik ipk
io ido is isl it ita iu iku ja jpn jv jav ka kat kg kon ki kik kj kua kk kaz kl kal km khm kn kan
ko kor kr kau ks kas ku kur kv kom kw cor ky kir la lat lb ltz lg lug li lim ln lin lo lao lt lit
lu lub lv lav mg mlg mh mah mi mri mk mkd ml mal mn mon mr mar ms msa mt mlt my mya na nau nb nob
nd nde ne nep ng ndo nl nld nn nno no nor nr nbl nv nav ny nya oc oci oj oji om orm or ori os oss
pa pan pi pli pl pol ps pus pt por qu que rm roh rn run ro ron ru rus rw kin sa san sc srd sd snd
se sme sg sag si sin sk slk sl slv sm smo sn sna so som sq sqi sr srp ss ssw st sot su sun sv swe
sw swa ta tam te tel tg tgk th tha ti tir tk tuk tl tgl tn tsn to ton tr tur ts tso tt tat tw twi
ty tah ug uig uk ukr ur urd uz uzb ve ven vi vie vo vol wa wln wo wol xh xho yi yid yo yor za zha
zh zho zu zul
"""

_BIBLIOGRAPHIC: Final = """
alb sq arm hy baq eu bur my chi zh cze cs dut nl fre fr geo ka ger de gre el ice is mac mk mao mi
may ms per fa rum ro slo sk tib bo wel cy
"""


def _pairs(table: str) -> dict[str, str]:
    words = table.split()
    return dict(zip(words[::2], words[1::2], strict=True))


_ALPHA3: Final = _pairs(_TWO_TO_THREE)
_SHORT: Final = {three: two for two, three in _ALPHA3.items()} | _pairs(_BIBLIOGRAPHIC)
_UNKNOWN: Final = frozenset({"und", "zxx", "mis", "unk", "qaa"})


def language_alpha3(language: str | None) -> str | None:
    """Return the three-letter code for a language as a source names it; None when it names none."""
    primary = _primary(language)
    if primary is None or len(primary) == 3:
        return primary
    return _ALPHA3.get(primary)


def language_short(language: str | None) -> str | None:
    """Return the shortest code: ``en`` for ``eng``, ``de`` for ``ger``, ``fil`` for ``fil``."""
    primary = _primary(language)
    return None if primary is None else _SHORT.get(primary, primary)


def _primary(language: str | None) -> str | None:
    # "en-US" (Matroska's LanguageBCP47) and "en_US" are English here; a word such as "English" is no code.
    primary = re.split(r"[-_]", (language or "").strip().lower())[0]
    if not re.fullmatch(r"[a-z]{2,3}", primary) or primary in _UNKNOWN:
        return None
    return primary
