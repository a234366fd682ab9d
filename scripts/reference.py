"""Write what the repository says about itself: pages on policy, errors and shapes, a tree, gate.yml.

make reference
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from ftgate.cli import docs
from ftgate.datasets.shapes import OWN, SHAPES
from scripts import policy_page
from scripts.gate_workflow import WORKFLOWS, gate_workflow

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- tree: begin (make reference) -->\n", "<!-- tree: end -->"
COLUMN = 28
SUITES = ROOT / "docs" / "suites.md"
ERRORS = ROOT / "docs" / "errors.md"
MOST_FIELDS = 6
SHAPES_BEGIN, SHAPES_END = "<!-- shapes: begin (make reference) -->\n", "<!-- shapes: end -->"


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


def shapes() -> str:
    """Every shape of rows that is read, with the fields that tell it."""
    lines = ["| read as | fields | become |", "|---|---|---|"]
    for shape in {shape.name: shape for shape in SHAPES if shape.name != OWN.name}.values():
        fields = ", ".join(f"`{name}`" for name in shape.needs)
        more = [name for name in shape.uses if name not in shape.needs]
        others = ", ".join(f"`{name}`" for name in more[:MOST_FIELDS])
        optional = f"{'; also ' * bool(fields)}{others}{', …' * (len(more) > MOST_FIELDS)}" if others else ""
        lines.append(f"| {shape.name} | {fields}{optional} | {shape.becomes} |")
    return "\n".join(lines) + "\n"


def suites_page() -> str:
    """docs/suites.md with the table of shapes as it is."""
    text = SUITES.read_text(encoding="utf-8")
    before, rest = text.split(SHAPES_BEGIN, 1)
    return before + SHAPES_BEGIN + "\n" + shapes() + "\n" + SHAPES_END + rest.split(SHAPES_END, 1)[1]


if __name__ == "__main__":
    policy_page.PAGE.write_text(policy_page.page(), encoding="utf-8")
    ERRORS.write_text(docs.page(), encoding="utf-8")
    GUIDE.write_text(guide(), encoding="utf-8")
    SUITES.write_text(suites_page(), encoding="utf-8")
    (WORKFLOWS / "gate.yml").write_text(gate_workflow(), encoding="utf-8")
    written = (policy_page.PAGE, ERRORS, GUIDE, SUITES, WORKFLOWS / "gate.yml")
    print(f"wrote {', '.join(str(path.relative_to(ROOT)) for path in written)}")
