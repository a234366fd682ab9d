"""Choices, reference answer and check of a row: what decides whether an answer to it is right."""

from __future__ import annotations

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
MOST_DIGITS = 9
"""Digits of a cell that may be a place."""
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
        self._places, self._most = set[int](), 0

    def add(self, place: int | None, choices: int) -> None:
        """Add a row that gives its answer as a place, or (None) does not."""
        if place is not None:
            self._places.add(place)
            self._most = max(self._most, choices)

    def warnings(self) -> tuple[str, ...]:
        """A question, if the answers look as if they were counted from 1."""
        if not self._places or self._places != set(range(1, self._most)):
            return ()
        return (
            f"no answer is place 0, and every other place up to {self._most - 1} occurs: are they counted from 1? "
            "Places are counted from 0; if the file counts from 1, subtract 1 from each answer",
        )


def choices_of(value: Any) -> tuple[str, ...]:
    """The options of a multiple-choice row. Raises BadRowError."""
    if value is None:
        return ()
    hint = "give at least two different texts"
    if isinstance(value, Mapping):
        options = [text for text in value.values() if isinstance(text, str)] or ["a", "b"]
        hint = f"write the texts of the options as a list: {quoted(options)}"
    if not isinstance(value, list):
        raise BadRowError(f"choices must be a list, found {kind_of(value)}: {quoted(value)}", hint)
    if len(value) < 2:
        raise BadRowError(f"choices must be at least two, found {len(value)}", hint)
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
    """The place of the choice whose letter, of either case, ``answer`` is; ``answer`` if it is none, or a choice."""
    if not isinstance(choices, list) or not isinstance(answer, str) or answer in choices:
        return answer
    letters = [chr(ord("A") + place) for place in range(len(choices))]
    letter = answer.strip().upper()
    return ChoicePlace(letters.index(letter)) if letter in letters else answer


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
        several = 'for several right answers write "check": {"exact": ' + quoted(value) + "}, or contains"
        raise BadRowError(f"answer must be one text, found a list: {quoted(value)}", several)
    text = _after_trace(text_of("answer", value, "write it as text", numbers=True))
    written = text.strip()
    is_place = type(value) is int or (cell and written.isdecimal() and len(written) <= MOST_DIGITS)
    if not choices or not is_place or (cell and int(written) >= len(choices)):
        return RightAnswer(text)
    place = int(written)
    if not 0 <= place < len(choices):
        raise BadRowError(
            f"the answer {place} is no place among the choices {quoted(list(choices))}",
            f"{_PLACES}: if the file counts from 1, subtract 1; if the text of a choice is meant, write "
            f'"answer": "{written}"',
        )
    as_text = next((choice for choice in choices if choice.strip() == written), choices[place])
    if as_text != choices[place] and (cell or any(type(option) is int for option in options)):
        raise _ambiguous(place, as_text, choices, cell=cell)
    return RightAnswer(choices[place], place)


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
        hint = f"write it as the choice is written: {quoted(near_match)}"
    elif answer.strip().isdigit() or (len(answer.strip()) == 1 and answer.strip().isalpha()):
        hint = "write the text of the right choice, or its index as a JSON integer from 0"
    else:
        hint = "write the right choice word for word"
    raise BadRowError(f"the answer {quoted(answer)} is not among the choices {quoted(list(choices))}", hint)


def _require_one_number(answer: str, *, written: bool) -> None:
    if last_number(answer) is None:
        raise BadRowError(
            f"no number in the answer {quoted(answer)}", 'add one, or choose another scorer than "numeric"'
        )
    if written and (ways := read_two_ways(answer)) is not None:
        raise BadRowError(
            f"the number in the answer {quoted(answer)} can be read as {ways[0]:g} or {ways[1]:g}",
            f'write "{ways[0]:.4f}" or "{ways[1]:.0f}"',
        )
    if written and _TIME_OR_RATIO.search(answer):
        raise BadRowError(
            f"the answer {quoted(answer)} is a time or a ratio, of which only the last number would count",
            "write one number, or choose scorer exact or contains",
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
