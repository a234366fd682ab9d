"""Two fields of a row that each say which answer is right, and do not say the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ftgate.datasets.problems import BadRowError, quoted
from ftgate.datasets.references import lettered
from ftgate.datasets.shapes.shape import absent

REFERENCE = re.compile(
    r"(?i)(?:ground_?truth|reference|reference_answer|gold|gold_answer|expected|expected_(?:answer|output)|"
    r"correct_(?:answer|option))s?"
)
"""Names of what can only be the right answer, where ``response`` and ``answer`` may be a model's."""
PLACE = re.compile(r"(?i)answer|label|cop|answer_ind?e?x|correct(?:_.*)?|gold(?:_.*)?|target|ground_truth")
"""Names of what tells the right option."""


def rival_fault(
    fields: Mapping[str, Any], shaped: Mapping[str, Any], names: Collection[str], mapping: Callable[[str, str], str]
) -> BadRowError | None:
    """Why the ``answer`` of ``shaped`` may be the wrong one, as ``fields`` called ``names`` say; None if all agree.

    ``mapping`` gives an example of `columns` for a field with the options and an answer.
    """
    answer, choices = shaped.get("answer"), shaped.get("choices")
    if absent(answer):
        return None
    filled = [name for name in names if not absent(fields[name]) and not isinstance(fields[name], bool)]
    if isinstance(choices, list) and choices:
        return _other_choice(fields, answer, choices, filled, mapping)
    several = fields.get("answers")
    for name in filled:
        if isinstance(several, list) and len(several) > 1 and _is_place(fields[name], several):
            return BadRowError(
                f"`answers` holds {len(several)} texts, and `{name}` is {quoted(fields[name])}: are they options, of "
                "which one is right, or are all of them right?",
                f"name the fields, for options {mapping('answers', name)}; for right answers leave out `{name}`",
            )
        if REFERENCE.fullmatch(name) and not _agrees(fields[name], answer, shaped.get("check")):
            written = f'"{{{{ {name} | first }}}}"' if isinstance(fields[name], list) else name
            return BadRowError(
                f"the row has `{name}` besides the answer {quoted(answer)}, and they differ: one may be a model's",
                f"name the right one: {mapping('', written)}",
            )
    return None


def _other_choice(
    fields: Mapping[str, Any],
    answer: Any,
    choices: Sequence[Any],
    names: Sequence[str],
    mapping: Callable[[str, str], str],
) -> BadRowError | None:
    right = _choice(answer, choices)
    for name in names if right is not None else ():
        other = _choice(fields[name], choices)
        if other is not None and other != right:
            return BadRowError(
                f"the row is read with the right choice {quoted(right)}, and its `{name}` is {quoted(fields[name])}, "
                f"which is {quoted(other)}",
                f"remove the wrong one, or name the right one: {mapping('', name)}",
            )
    return None


def _choice(value: Any, choices: Sequence[Any]) -> Any:
    """The choice that a value names for certain; None if it may be none, or one of two."""
    if isinstance(value, str) and value in choices:
        return value
    place = lettered(value, choices)
    return choices[place] if isinstance(place, int) and 0 <= place < len(choices) else None


def _is_place(value: Any, options: Sequence[Any]) -> bool:
    return isinstance(value, int) and 0 <= value <= len(options)


def _agrees(value: Any, answer: Any, check: Any) -> bool:
    """Whether a value says the same as the answer, or is part of it; an object says nothing."""
    values = value if isinstance(value, list) else [value]
    texts = [_plain(entry) for entry in values if isinstance(entry, str | int | float)]
    contained = check.get("contains") if isinstance(check, Mapping) else None
    right = [_plain(text) for text in (answer, *(contained if isinstance(contained, list) else ()))]
    return not texts or any(text in other or other in text for text in texts for other in right)


def _plain(value: Any) -> str:
    return " ".join(str(value).casefold().split()).rstrip(".")
