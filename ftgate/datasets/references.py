"""Choices, reference answer and check of a row: what decides whether an answer to it is right."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ftgate.datasets.problems import BadRowError, is_plain, kind_of, one_line, quoted, text_of
from ftgate.scoring.checks import check_problem, meets
from ftgate.scoring.choice import LETTERS
from ftgate.scoring.numbers import last_number, read_two_ways
from ftgate.scoring.text import UnscorableError
from ftgate.scoring.trace import final_answer

_TIME_OR_RATIO = re.compile(r"\d:\d+\D*\Z")
CAPITALS = 26
MOST_DIGITS = 9
"""Digits of a cell that may be a place."""
MAX_SHOWN = 200
"""Characters of a check that a hint shows whole."""
RARELY = 0.01
"""How rarely places drawn evenly must miss the first for a file without it to be asked about."""
_WHOLE = re.compile(rf"\d{{1,{MOST_DIGITS}}}\.0")
_PLACES = "a whole number is the place of the right choice, counted from 0"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a measurement requires of every item of its suite, besides a prompt."""

    choices: bool = False
    answer: bool = False
    number: bool = False
    """Whether the answer must contain a number."""
    check: bool = False
    letters: bool = False
    """Whether rows with choices and no check are asked for the letter of an option."""


class RightAnswer(NamedTuple):
    """A reference answer, and its place among the choices if the row gives that instead; ``place`` counts from 0."""

    text: str | None = None
    place: int | None = None


class ChoicePlace(int):
    """The place of the right choice where a row names it by a label, so that no text can be meant."""


class Places:
    """The places of right choices over a whole file."""

    def __init__(self) -> None:
        self._places, self._most, self._chance = set[int](), 0, 1.0

    def add(self, place: int | None, choices: int) -> None:
        """Add a row that gives its answer as a place, or (None) does not."""
        if place is not None:
            self._places.add(place)
            self._most = max(self._most, choices)
            self._chance *= 1 - 1 / choices if choices else 1

    def warnings(self) -> tuple[str, ...]:
        """A question, if the answers look as if they were counted from 1."""
        if not self._places or 0 in self._places:
            return ()
        if self._places == set(range(1, self._most)):
            seen = f"every other place up to {self._most - 1} occurs"
        elif self._chance < RARELY:
            seen = f"by chance that happens once in {1 / self._chance:,.0f} files"
        else:
            return ()
        return (
            f"no answer is place 0, and {seen}: are they counted from 1? "
            "Places are counted from 0; if the file counts from 1, subtract 1 from each answer",
        )


def choices_of(value: Any) -> tuple[str, ...]:
    """The options of a multiple-choice row. Raises BadRowError."""
    if value is None:
        return ()
    hint = "give at least two different texts"
    if isinstance(value, Mapping):
        texts = value["text"] if isinstance(value.get("text"), list) else value.values()
        options = [text for text in texts if isinstance(text, str)] or ["a", "b"]
        hint = f"write the texts of the options as a list: {json.dumps(options)[:MAX_SHOWN]}"
    if not isinstance(value, list):
        raise BadRowError(f"choices must be a list, found {kind_of(value)}: {quoted(value)}", hint)
    if len(value) < 2:
        mark = next((mark for mark in ";,/\n" if mark in str(value[:1])), "") if value and is_plain(value[0]) else ""
        hint = "in a cell separate them by bars: a | b | c" if mark else hint
        raise BadRowError(f"choices must be at least two, found {len(value)}: {quoted(value)}", hint)
    texts = tuple(
        [
            entry if is_plain(entry) and entry.strip() else text_of(f"choice {number}", entry, hint, numbers=True)
            for number, entry in enumerate(value, 1)
        ]
    )
    if len(set(map(str.strip, texts))) < len(texts):
        raise BadRowError(_repeated(texts), hint)
    return texts


def _repeated(texts: Sequence[str]) -> str:
    """Which two of ``texts``, of which some are the same, are so first."""
    seen: dict[str, int] = {}
    number, text = next((n, t) for n, t in enumerate(texts, 1) if seen.setdefault(t.strip(), n) != n)
    return f"choices {seen[text.strip()]} and {number} are the same: {quoted(text)}"


def lettered(answer: Any, choices: Any) -> Any:
    """The place of the choice whose letter ``answer`` is, a fault if it is also another choice; else ``answer`` itself.

    Up to 26 choices the letter may be of either case; with more, ``a`` is the 27th.
    """
    if not isinstance(choices, list) or not isinstance(answer, str):
        return answer
    letter = answer.strip() if len(choices) > CAPITALS else answer.strip().upper()
    place = LETTERS.find(letter) if len(letter) == 1 else -1
    return named(answer, place, choices) if 0 <= place < len(choices) else answer


def named(answer: str, place: int, choices: Sequence[Any]) -> ChoicePlace | BadRowError:
    """The ``place`` of the choice that ``answer`` names by its label, or why it may be meant as the text of another."""
    written = answer.strip()
    texts = [str(choice).strip() for choice in choices]
    if written not in texts or texts[place] == written:
        return ChoicePlace(place)
    return BadRowError(
        f"the answer {quoted(written)} is ambiguous: it names the choice {quoted(texts[place])}, and a choice reads "
        f"{quoted(written)}",
        "give the place of the right choice, counted from 0, in the file or in "
        "columns: {prompt: FIELD, choices: [FIELD, FIELD], answer: \"{{ 'ABCD'.index(FIELD) }}\"}",
    )


def reference_of(value: Any, options: Any, choices: Sequence[str], *, cell: bool) -> RightAnswer:
    """The reference answer of a row with the ``choices`` that ``options``, as the file has them, were read as.

    A whole number is the place of the right choice, always. In a cell of a table (``cell``), which does not tell
    numbers from texts, it is the text of a choice if it cannot be a place. Raises BadRowError where both readings are
    possible and name different choices. A :class:`ChoicePlace` is certain.
    """
    if value is None:
        return RightAnswer()
    value = _whole(value, choices, cell=cell)
    if isinstance(value, ChoicePlace) and value < len(choices):
        return RightAnswer(choices[value])
    if isinstance(value, list):
        raise BadRowError(f"answer must be one text, found a list: {quoted(value)}", _several(value))
    text = _after_trace(text_of("answer", value, "write it as text", numbers=True))
    written = text.strip()
    is_place = type(value) is int or (cell and written.isdecimal() and len(written) <= MOST_DIGITS)
    if not choices or not is_place or (cell and int(written) >= len(choices)):
        return RightAnswer(text)
    place = int(written)
    if not 0 <= place < len(choices):
        raise BadRowError(
            f"the answer {place} is no place among the choices {quoted(list(choices))}",
            f"{_PLACES}: if the file counts from 1, subtract 1, also in "
            f'columns: {{answer: "{{{{ FIELD | int - 1 }}}}"}}; if the text of a choice is meant, write '
            f'"answer": "{written}"',
        )
    as_text = next((choice for choice in choices if choice.strip() == written), choices[place])
    if as_text != choices[place] and (cell or any(type(option) is int for option in options)):
        raise _ambiguous(place, as_text, choices, cell=cell)
    return RightAnswer(choices[place], place)


def _several(value: list[Any]) -> str:
    """What to write for an answer that is a list: a check of its texts, also those of lists within it, as JSON."""
    texts = [text for entry in value for text in (entry if isinstance(entry, list) else [entry])]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        return "give the right answer as one text, or name its field: columns: {prompt: FIELD, answer: FIELD}"
    check = json.dumps({"exact": list(dict.fromkeys(texts))})
    shown = check if check.isascii() and len(check) <= MAX_SHOWN else '{"exact": ["...", "..."]}'
    return f'for several right answers write "check": {shown}, or contains'


def _whole(value: Any, choices: Sequence[str], *, cell: bool) -> Any:
    """``value`` without the ``.0`` that whole numbers get in a column where some rows have none."""
    if not choices or str(value).strip() in choices:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    return value.strip()[:-2] if cell and isinstance(value, str) and _WHOLE.fullmatch(value.strip()) else value


def _after_trace(text: str) -> str:
    """A reference without the reasoning trace before it."""
    answer = final_answer(text)
    if answer.trace and not answer.text.strip():
        raise BadRowError(f"the answer {quoted(text)} is reasoning alone", "put the right reply after its closing mark")
    return answer.text


def _ambiguous(place: int, as_text: str, choices: Sequence[str], *, cell: bool) -> BadRowError:
    if cell:
        remedy = "a table cannot tell them apart: use JSON lines, where an integer is a place and a string a text"
    else:
        remedy = (
            f'write choices and answer as JSON strings to mean the text ("answer": "{as_text.strip()}"), or as a JSON '
            "integer beside choices that are strings to mean the place"
        )
    return BadRowError(
        f"the answer {place} is ambiguous: the choice at place {place}, counted from 0, is {quoted(choices[place])}, "
        f"and a choice reads {quoted(as_text)}",
        remedy,
    )


def require_usable(
    choices: Sequence[str], reference: RightAnswer, needs: Needs, *, checked: bool, written: bool
) -> None:
    """Raise BadRowError if a row lacks what its measurement needs, or its answer is no choice of it.

    ``checked``: the row has a check; ``written``: its answer is a text in the file.
    """
    if needs.choices and not choices:
        raise BadRowError(
            "no choices, but this measurement needs them",
            'add "choices": [...], name their fields in the policy (columns), or choose another scorer',
        )
    if needs.letters and not checked and len(choices) > len(LETTERS):
        raise BadRowError(
            f"{len(choices)} choices, and there are {len(LETTERS)} option letters",
            "use scorer exact or contains, or fewer choices",
        )
    answer = reference.text
    if needs.answer and answer is None:
        raise BadRowError(
            "no answer, but this measurement needs one",
            'add "answer": the right reply, or name its field in the policy (columns: {answer: FIELD})',
        )
    if needs.number:
        _require_one_number(answer or "", written=written)
    if not choices or answer is None or answer in choices:
        return
    near_match = next((text for text in choices if text.strip().casefold() == answer.strip().casefold()), None)
    if near_match is not None:
        hint = f"write each as its choice is written, with the same capitals and spaces: {quoted(near_match)}"
    elif answer.strip().isdigit() or (len(answer.strip()) == 1 and answer.strip().isalpha()):
        hint = (
            "write the text of the right choice, or its place counted from 0 (in JSON without quotes); if the file "
            "counts from 1, subtract 1, also in columns: "
            '{prompt: FIELD, choices: FIELD, answer: "{{ FIELD | int - 1 }}"}'
        )
    else:
        hint = "write the right choice word for word"
    raise BadRowError(f"the answer {quoted(answer)} is not among the choices {quoted(list(choices))}", hint)


def _require_one_number(answer: str, *, written: bool) -> None:
    if written and _TIME_OR_RATIO.search(answer):
        raise BadRowError(
            f"the answer {quoted(answer)} is a time or a ratio, which is no single number",
            "write one number, or choose scorer exact or contains",
        )
    if last_number(answer) is None:
        raise BadRowError(
            f"no number in the answer {quoted(answer)}", 'add one, or choose another scorer than "numeric"'
        )
    if written and (ways := read_two_ways(answer)) is not None:
        raise BadRowError(
            f"the number in the answer {quoted(answer)} can be read as {ways[0]:g} or {ways[1]:g}",
            f'write "{ways[0]:.4f}" or "{ways[1]:.0f}"',
        )


def check_of(value: Any, answer: str | None, needs: Needs) -> Mapping[str, Any] | None:
    """The row's check. Its own reference answer must pass it, otherwise one of the two is wrong."""
    if value is None:
        if needs.check:
            raise BadRowError(
                "no check, but this measurement needs one", 'add "check": {"numeric": 42} or another rule'
            )
        return None
    if isinstance(value, Mapping):  # in a column of objects every row has all keys that any row has
        value = {kind: argument for kind, argument in value.items() if argument is not None}
    problem = check_problem(value)
    if problem is not None:
        raise BadRowError(f"check: {one_line(problem)}", 'write for instance {"numeric": 42} or {"contains": "Paris"}')
    try:
        if answer is not None and not meets(value, answer):
            raise BadRowError(f"the answer {quoted(answer)} does not pass the row's own check", "fix one of the two")
    except UnscorableError as error:
        raise BadRowError(f"check: {error}", "write a simpler pattern") from None
    return dict(value)
