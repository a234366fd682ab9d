"""The instructions of IFEval as checks of ftgate.

Source of the instructions: Zhou et al. 2023, Instruction-Following Evaluation for Large Language Models, table 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import regex

from ftgate.datasets.problems import BadRowError, kind_of
from ftgate.scoring.folding import folded

Arguments = Mapping[str, Any]
ONE_MORE = r"\*"
"""One more asterisk, in a pattern."""
_RAW = "raw pattern"
"""The key of a pattern that must see the answer as it was written, with letter case and emphasis."""


def rule_of(instructions: Any, arguments: Any) -> tuple[dict[str, Any] | None, list[str]]:
    """The check that stands for all ``instructions`` together, and those that no check expresses.

    ``arguments`` are the keyword arguments of each. Raises BadRowError if the two do not belong together.
    """
    if not isinstance(instructions, list) or not instructions:
        raise BadRowError(
            f"instruction_id_list must be a list, found {kind_of(instructions)}", "write the ids as a list"
        )
    given = arguments if isinstance(arguments, list) else [{}] * len(instructions)
    if len(given) != len(instructions):
        raise BadRowError(
            f"{len(instructions)} instructions and {len(given)} kwargs",
            "give one object of kwargs for each instruction",
        )
    parts, inexpressible = [], list[str]()
    for name, values in zip(instructions, given, strict=True):
        try:
            parts.append(_INSTRUCTIONS[name](values or {}))
        except (KeyError, TypeError, ValueError, AttributeError):
            inexpressible.append(str(name)[:60])
    check = None if inexpressible else _joined(parts)
    if check is None and not inexpressible:
        inexpressible.append(" together with ".join(str(name)[:60] for name in instructions))
    return check, inexpressible


def _joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """One check for several: constraints together, patterns together. None where no single check says them all."""
    constraints: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            name, wanted = ("raw_patterns", [value]) if key == _RAW else (key, value)
            constraints[name] = _both(constraints[name], wanted) if name in constraints else wanted
            if constraints[name] is None:
                return None
    return {"constraints": constraints}


def _both(one: Any, other: Any) -> Any:
    """A constraint that says as much as two of one name; None where there is none."""
    if one == other:
        return one
    if _is_list_of_texts(one) and _is_list_of_texts(other):
        return [*one, *other]
    (low, high), (lowest, highest) = _bounds(one), _bounds(other)
    if None in (low, high, lowest, highest):
        return None
    least, most = max(low, lowest), min(high, highest)
    return None if least > most else [int(least) or None, None if most == math.inf else int(most)]


def _bounds(value: Any) -> tuple[Any, Any]:
    """The least and the most that a count may be; None for anything else than a count."""
    if isinstance(value, int):
        return value, value
    if not isinstance(value, list) or len(value) != 2 or _is_list_of_texts(value):
        return None, None
    return value[0] or 0, math.inf if value[1] is None else value[1]


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _at_least(relation: Any) -> bool:
    if relation not in ("at least", "less than"):
        raise ValueError(relation)
    return bool(relation == "at least")


def _count(name: str, number: str, relation: str) -> Callable[[Arguments], dict[str, Any]]:
    """So many of what ``constraints`` counts as ``name``, or fewer."""
    return lambda values: {
        name: [int(values[number]), None] if _at_least(values[relation]) else [None, int(values[number]) - 1]
    }


def _times(pattern: str, count: int) -> str:
    """A pattern for a text in which ``pattern`` occurs ``count`` times. It never goes back, so it is fast."""
    return rf"\A(?>.*?{pattern}){{{count}}}"


def _exactly(pattern: str, count: int) -> str:
    """A pattern for a text in which ``pattern`` occurs ``count`` times and no more."""
    return rf"(?ms)(?={_times(pattern, count)})(?!{_times(pattern, count + 1)})\A"


def _frequency(pattern: str, values: Arguments, number: str, relation: str) -> dict[str, Any]:
    name = "patterns" if _at_least(values[relation]) else "without_patterns"
    return {name: [_times(pattern, int(values[number]))]}


def _quoted_pattern(text: Any) -> str:
    return regex.escape(folded(str(text).strip()))


def _capital_words(values: Arguments) -> dict[str, Any]:
    pattern = rf"(?s:\A(?>.*?\b\p{{Lu}}[\p{{Lu}}\p{{N}}]*\b){{{int(values['capital_frequency'])}}})"
    return {_RAW: pattern if _at_least(values["capital_relation"]) else rf"\A(?!{pattern})"}


def _postscript(values: Arguments) -> dict[str, Any]:
    """The marker anywhere, as the paper's own code looks for it: with points, and perhaps spaces after them."""
    marker = str(values["postscript_marker"]).strip()
    markers = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}
    return {_RAW: rf"(?i){markers.get(marker) or regex.escape(marker)}"}


def _highlights(values: Arguments) -> dict[str, Any]:
    """So many texts between single asterisks and between double ones, each kind counted by itself.

    What stands between two highlights is none, nor is an asterisk that nothing closes.
    """
    count = int(values["num_highlights"])
    ways = (f"(?={_highlighted('', n)})(?={_highlighted(ONE_MORE, count - n)})" for n in range(count + 1))
    return {_RAW: rf"\A(?:{'|'.join(ways)})"}


def _highlighted(more: str, count: int) -> str:
    """A pattern for ``count`` texts between asterisks, of which there are two on each side with ``ONE_MORE``."""
    mark = rf"\*{more}"
    others = rf"[^*]|{mark}[^\S\n]*{mark}|\*(?!{more}[^\n*]*{mark})"
    return rf"(?>(?:{others})*+{mark}[^\n*]*{mark}){{{count}}}"


def _divided(stars: int, count: int, *, differing: bool = False) -> str:
    """A pattern for ``count`` texts between runs of ``stars`` asterisks, which may also stand at either end.

    ``differing``: none is the same as the first. It never goes back within a text, so it is fast.
    """
    mark = rf"\*{{{stars}}}"
    word = rf"(?:(?!{mark})\S)+"
    part, end = rf"(?>{word}(?:\s++{word})*)", rf"\s*(?:{mark}\s*)?\Z"
    first, other = (rf"(?P<first>{part})", rf"(?!(?P=first){end}){part}") if differing else (part, part)
    return rf"(?s:\A\s*(?:{mark}\s*)?{first}(?:\s*{mark}\s*{other}){{{count - 1}}}{end})"


def _nth_paragraph(values: Arguments) -> dict[str, Any]:
    before = rf"(?>(?:(?!\n\s*\n).)+\n\s*\n){{{int(values['nth_paragraph']) - 1}}}"
    return {
        "paragraphs": int(values["num_paragraphs"]),
        "patterns": [rf"\A\s*{before}\W*{_quoted_pattern(values['first_word'])}\b"],
    }


_INSTRUCTIONS: Mapping[str, Callable[[Arguments], dict[str, Any]]] = {
    "keywords:existence": lambda v: {"patterns": [_quoted_pattern(word) for word in v["keywords"]]},
    "keywords:frequency": lambda v: _frequency(_quoted_pattern(v["keyword"]), v, "frequency", "relation"),
    "keywords:forbidden_words": lambda v: {"excludes": [str(word) for word in v["forbidden_words"]]},
    "keywords:letter_frequency": lambda v: _frequency(_quoted_pattern(v["letter"]), v, "let_frequency", "let_relation"),
    "language:response_language": lambda v: {"language": str(v["language"])},
    "length_constraints:number_sentences": _count("sentences", "num_sentences", "relation"),
    "length_constraints:number_paragraphs": lambda v: {_RAW: _divided(3, int(v["num_paragraphs"]))},
    "length_constraints:number_words": _count("words", "num_words", "relation"),
    "length_constraints:nth_paragraph_first_word": _nth_paragraph,
    "detectable_content:number_placeholders": lambda v: {
        "patterns": [_times(r"\[[^\]\n]*\]", int(v["num_placeholders"]))]
    },
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": lambda v: {
        _RAW: _exactly(r"^[^\S\n]*(?:\*[^*]|-)", int(v["num_bullets"]))
    },
    "detectable_format:constrained_response": lambda _: {"patterns": [r"my answer is (?:yes|no|maybe)\."]},
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": lambda v: {
        "patterns": [_times(rf"{_quoted_pattern(v['section_spliter'])}\s?\d+", int(v["num_sections"]))]
    },
    "detectable_format:json_format": lambda _: {"json": True},
    "detectable_format:title": lambda _: {"patterns": [r"<<[^\n]*[^\s<>][^\n]*>>"]},
    "combination:two_responses": lambda _: {_RAW: _divided(6, 2, differing=True)},
    "combination:repeat_prompt": lambda v: {"patterns": [rf"\A\s*{_quoted_pattern(v['prompt_to_repeat'])}"]},
    "startend:end_checker": lambda v: {"patterns": [rf"{_quoted_pattern(v['end_phrase'])}[\"'\s]*\Z"]},
    "startend:quotation": lambda _: {_RAW: r'(?s)\A\s*".*"\s*\Z'},
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": lambda _: {"case": "upper"},
    "change_case:english_lowercase": lambda _: {"case": "lower"},
    "punctuation:no_comma": lambda _: {_RAW: r"\A(?=\s*\S)[^,]*\Z"},
}
"""What each instruction asks for, from its keyword arguments."""
