"""What a text is written in: its scripts, its language as far as common words tell it, and how its words are spaced.

A light test that needs no model: a language is told by the share of its commonest words. It says nothing rather than
guess: of short texts, of code, and where two languages fit.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

import regex

LEAST_WORDS = 12
"""A text with fewer words does not tell its language by them."""
LEAST_SHARE, LEAST_LEAD = 0.2, 1.4
"""A language's commonest words make up at least this share of a text in it, and this many times that of any other."""
LEAST_COMMON = 4
"""How many different ones of its commonest words a text in a language has at least."""
LEAST_LETTERS = 10
"""A text with fewer letters does not tell its script."""
LEAST_OF_SCRIPT = 0.1
"""A text is in every script that at least this share of its letters belongs to."""
UNBROKEN = 20
"""Letters in a row, no word of which is this long: a run of words without spaces."""

MOST_CAPITALS = 0.12
"""Names in camel case, acronyms and codes have more capitals within; words that lost their spaces have fewer."""

SPACELESS = (
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
    r"\p{Javanese}\p{Balinese}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}]"
)
"""A letter of a script that puts no spaces between words, as a pattern's set."""
WORD_CHARACTER = rf"[\w--[{SPACELESS}ー\p{{Hangul}}]]"
"""What a word in any other script may not go on with, as a set of a pattern with the flag V1. Korean has spaces between
words, but none before particles."""

_SCRIPTS = {
    "LATIN": "Latin",
    "CYRILLIC": "Cyrillic",
    "GREEK": "Greek",
    "ARABIC": "Arabic",
    "HEBREW": "Hebrew",
    "DEVANAGARI": "Devanagari",
    "BENGALI": "Bengali",
    "TAMIL": "Tamil",
    "TELUGU": "Telugu",
    "GUJARATI": "Gujarati",
    "ARMENIAN": "Armenian",
    "GEORGIAN": "Georgian",
    "ETHIOPIC": "Ethiopic",
    "HANGUL": "Hangul",
    "CJK": "Han",
    "HIRAGANA": "Kana",
    "KATAKANA": "Kana",
    "THAI": "Thai",
    "LAO": "Lao",
    "KHMER": "Khmer",
    "MYANMAR": "Myanmar",
    "TIBETAN": "Tibetan",
}
"""Script by the first word of a letter's name in Unicode."""

_COMMON = {
    "en": "the of and to a in is that it for was on are with as be this at by or an not have from they which can you",
    "de": "der die das und ist in den von zu mit nicht ein eine auf für als auch es sich dem im sie wird an werden",
    "fr": "le la les de des et est en un une du que qui dans pour pas sur avec il elle au par plus ce sont vous ou",
    "es": "el la los las de y que en un una es por con para se del no su lo como más al son está pero o",
    "it": "il la le di e che è un una in per non con si del della i gli da sono al come più nel ma anche",
    "pt": "o a os as de e que em um uma é para com não do da se por no na mais como são ao dos ou",
    "nl": "de het een en van is in dat op te zijn met voor niet aan er die om ook als naar door bij of maar worden",
    "sv": "och att det i en som är på av för med den inte till ett om har de vi jag kan från så men eller var",
    "da": "og at det i en som er på af for med den ikke til et om har de vi jeg kan fra så men eller av til å",
    "pl": "i w na z się nie do to jest że o jak co a po za od przez ale dla oraz czy są tak jego może",
    "cs": "a se na je v že to s z do o jako by k pro ale po za jsou nebo které která který být jeho tak",
    "ro": "și de la în a cu pe este nu un o că din care pentru mai se ce sunt al ale sau prin au fi",
    "tr": "ve bir bu da de için ile çok daha olarak olan gibi ne var kadar sonra her ya en değil o ama ise veya",
    "fi": "ja on ei se että oli hän mutta kun ovat myös tai joka kuin sen ole niin jos voi tämä sekä ne mukaan",
    "hu": "a az és hogy nem is egy ez van de meg volt csak már mint vagy ha lehet azt el ki még kell",
    "id": "yang dan di ini itu dengan untuk tidak dari dalam adalah pada akan juga ke karena oleh bisa atau ada",
    "vi": "là và của không có được một những cho trong với này các để người đã khi từ như cũng nhiều đó hoặc",
    "ru": "и в не на что с по это как к из он для но от а то за так же все у или был может",
    "uk": "і в не на що з до це як та для від за але він у є про або був так же може якщо також",
}
_LANGUAGES_OF = {
    word: tuple(language for language, words in _COMMON.items() if word in words.split())
    for word in " ".join(_COMMON.values()).split()
}
_REPLIES = frozenset(["no", "non", "ja"])
"""Commonest words in one language that are an answer in another."""
_NAMES = {
    "en": "english",
    "de": "german deutsch",
    "fr": "french français",
    "es": "spanish español castellano",
    "it": "italian italiano",
    "pt": "portuguese português",
    "nl": "dutch nederlands",
    "sv": "swedish svenska",
    "da": "danish norwegian dansk norsk",
    "pl": "polish polski",
    "cs": "czech slovak česky",
    "ro": "romanian română",
    "tr": "turkish türkçe",
    "fi": "finnish suomi suomeksi",
    "hu": "hungarian magyar magyarul",
    "id": "indonesian malay indonesia",
    "vi": "vietnamese",
    "ru": "russian русский русском",
    "uk": "ukrainian українська українською",
    "zh": "chinese mandarin 中文 汉语",
    "ja": "japanese 日本語",
    "Cyrillic": "russian ukrainian bulgarian serbian belarusian macedonian cyrillic",
    "Greek": "greek",
    "Arabic": "arabic persian farsi urdu",
    "Hebrew": "hebrew yiddish",
    "Devanagari": "hindi marathi nepali sanskrit",
    "Bengali": "bengali bangla",
    "Tamil": "tamil",
    "Telugu": "telugu",
    "Gujarati": "gujarati",
    "Armenian": "armenian",
    "Georgian": "georgian",
    "Ethiopic": "amharic tigrinya",
    "Hangul": "korean hangul 한국어",
    "Han": "chinese mandarin japanese kanji 中文 汉语 日本語",
    "Kana": "japanese hiragana katakana 日本語",
    "Thai": "thai",
    "Lao": "lao",
    "Khmer": "khmer",
    "Myanmar": "burmese",
    "Tibetan": "tibetan",
    "Latin": "latin english german french spanish italian portuguese dutch romanize transliterate pinyin romaji",
}
"""What a prompt may call a language or a script by."""

_CODE = regex.compile(r"```.*?(?:```|\Z)", regex.DOTALL)
_WORD = re.compile(r"[^\W\d_]+")
_CAPITAL = regex.compile(r"(?<=\p{L})\p{Lu}")
_LONG_RUN = regex.compile(rf"(?V1)[[\p{{L}}\p{{M}}]--{SPACELESS}]{{{UNBROKEN},}}")


@dataclass(frozen=True, slots=True)
class Writing:
    """What a text is written in. ``scripts`` and ``language`` are empty where the text is too short to tell.

    ``shares`` is the share of its letters by script, ``runs`` are its runs of at least ``UNBROKEN`` letters, of scripts
    that put spaces between words.
    """

    letters: int
    shares: Mapping[str, float]
    language: str
    words: int
    runs: tuple[str, ...]

    @property
    def unbroken(self) -> int:
        """How many letters are in ``runs``."""
        return sum(map(len, self.runs))

    @property
    def scripts(self) -> frozenset[str]:
        """The scripts that it is in."""
        if self.letters < LEAST_LETTERS:
            return frozenset()
        return frozenset(script for script, share in self.shares.items() if share >= LEAST_OF_SCRIPT)


@lru_cache(maxsize=30_000)
def writing_of(text: str) -> Writing:
    """What ``text`` is written in. Fenced code does not count for its language."""
    counts: Counter[str] = Counter()
    for character, number in Counter(text).items():
        if script := _script(character):
            counts[script] += number
    letters = sum(counts.values())
    shares = {script: number / letters for script, number in counts.items()}
    parts = text.split()
    words = Counter(_WORD.findall(_CODE.sub(" ", text).lower()))
    return Writing(
        letters=letters,
        shares=shares,
        language=_by_script(counts) or _by_words(words),
        words=len(parts),
        runs=tuple(run for word in parts if len(word) >= UNBROKEN for run in _LONG_RUN.findall(word) if _words_in(run)),
    )


def is_common(word: str) -> bool:
    """Whether a word, in lower case, is one of the commonest of a language, and so found in nearly any text."""
    return word in _LANGUAGES_OF and word not in _REPLIES


def names(prompt: str, what: str) -> bool:
    """Whether ``prompt`` names a language or a script, as one that asks for a translation does."""
    words = _NAMES.get(what, "").split()
    return any(word in prompt.lower() for word in words)


def _words_in(run: str) -> bool:
    """Whether a run of letters may be words without spaces rather than a name such as ``CardPaymentFeeCharged``."""
    return len(_CAPITAL.findall(run)) <= MOST_CAPITALS * len(run)


def _by_words(words: Counter[str]) -> str:
    """The language whose commonest words make up most of the text, if it stands out; empty otherwise."""
    total = words.total()
    if total < LEAST_WORDS:
        return ""
    hits: Counter[str] = Counter()
    different: Counter[str] = Counter()
    for word, number in words.items():
        for language in _LANGUAGES_OF.get(word, ()):
            hits[language] += number
            different[language] += 1
    (best, most), (_, second) = [*hits.most_common(2), ("", 0), ("", 0)][:2]
    stands_out = most >= LEAST_SHARE * total and most >= LEAST_LEAD * second and different[best] >= LEAST_COMMON
    return best if stands_out else ""


def _by_script(counts: Counter[str]) -> str:
    """Chinese or Japanese, by whether there is any kana to speak of; empty for other scripts, and for short texts."""
    kana, han, total = counts["Kana"], counts["Han"], counts.total()
    if kana + han < LEAST_LETTERS or kana + han < total / 2:
        return ""
    return "ja" if kana >= LEAST_OF_SCRIPT * (kana + han) else "zh"


@cache
def _script(character: str) -> str:
    """The script of a letter; empty for what is no letter, and for scripts that are not listed."""
    if not character.isalpha():
        return ""
    return _SCRIPTS.get(unicodedata.name(unicodedata.normalize("NFKC", character)[0], "").split(" ")[0], "")
