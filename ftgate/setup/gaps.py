"""What a drafted policy does not measure: the reason, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ftgate.setup.data_files import DataFile, Use

USE_OF: Mapping[str, Use] = {"target": "target", "forgetting": "general", "tail": "queries", "calibration": "choices"}
"""What the data of a measurement are to `ftgate init`, by its name."""
_LACKING: Mapping[str, tuple[str, str]] = {
    "target": (
        "no questions about its task with answers",
        "write about 200 that it was not trained on into evals/target.jsonl, each a line "
        '{"prompt": "…", "answer": "…"}',
    ),
    "forgetting": (
        "general prompts need a judge, a third model that grades the answers",
        "name one as judge in the policy, and remove the marks in front of measurements.forgetting",
    ),
    "tail": (
        "no real queries",
        'write about 300 that users sent into evals/queries.jsonl, each a line {"prompt": "…"}',
    ),
    "calibration": (
        "no multiple-choice questions",
        "write at least 500 into evals/choices.jsonl, each a line "
        '{"prompt": "…", "choices": ["…", "…"], "answer": "…"}',
    ),
}
"""Why there is no suite of one's own, and what to do, by measurement."""
_NO_TRAINING = (
    "no training data, from which the unusual queries are told; name them as training_data in the manifest, and remove "
    "the marks in front of measurements.tail"
)
NAMED = 3
"""Files that are named; the rest are counted."""


def unmeasured(
    sections: Collection[str], answers: Mapping[str, str], data: Sequence[DataFile], declined: Mapping[str, str]
) -> dict[str, str]:
    """Reason and remedy of each measurement that has no section in ``sections``, or whose data are ``declined``.

    ``answers`` are what was named, by use, and ``data`` the files that could have been.
    """
    reasons: dict[str, str] = {}
    for name, use in USE_OF.items():
        if name in declined:
            reasons[name] = declined[name]
        elif name not in sections:
            spare = [] if answers.get(use) else [file for file in data if _spare(file, use, answers)]
            reasons[name] = _NO_TRAINING if name == "tail" and answers.get(use) else _reason(name, spare)
    return reasons | {name: reason for name, reason in declined.items() if name not in USE_OF}


def _spare(file: DataFile, use: Use, answers: Mapping[str, str]) -> bool:
    """Whether a file suits ``use`` and is named for nothing. For general prompts and queries its name must say so."""
    suits = use in file.uses and str(file.path) not in answers.values()
    return suits and (use in ("target", "choices") or file.named == use)


def _reason(name: str, spare: Sequence[DataFile]) -> str:
    if not spare:
        what, remedy = _LACKING[name]
        ending = "" if name == "forgetting" else f", and name the file in measurements.{name} of the policy"
        return f"{what}; {remedy}{ending}"
    paths = [str(file.path) for file in spare]
    *most, last = paths if len(paths) <= NAMED else [*paths[:NAMED], f"{len(paths) - NAMED} more"]
    listed = f"{', '.join(most)} and {last}" if most else last
    join = "join them into one file, or " if len(paths) > 1 else ""
    return f"no file was named for it, and {listed} would suit; {join}name one in measurements.{name} of the policy"
