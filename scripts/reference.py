"""Write what the repository says about itself: docs/policy.md (policy_page.py) and the tree in CONTRIBUTING.md.

make reference
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from scripts import policy_page

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- tree: begin (make reference) -->\n", "<!-- tree: end -->"
COLUMN = 28


def tree() -> str:
    """Every module of the package, by folder."""
    folders = [ROOT / "ftgate", *sorted(path for path in (ROOT / "ftgate").rglob("*") if path.is_dir())]
    lines = []
    for folder in folders:
        modules = [path.stem for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]
        if modules:
            name = f"{folder.relative_to(ROOT).as_posix()}/"
            room = {"initial_indent": f"{name:<{COLUMN}}", "subsequent_indent": " " * COLUMN}
            lines += textwrap.wrap(" ".join(modules), 118, break_on_hyphens=False, **room)
    return "```\n" + "\n".join(lines) + "\n```\n"


def guide() -> str:
    """CONTRIBUTING.md with the tree as it is."""
    text = GUIDE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    return before + BEGIN + tree() + END + rest.split(END, 1)[1]


if __name__ == "__main__":
    policy_page.PAGE.write_text(policy_page.page(), encoding="utf-8")
    GUIDE.write_text(guide(), encoding="utf-8")
    print(f"wrote {policy_page.PAGE.relative_to(ROOT)} and {GUIDE.relative_to(ROOT)}")
