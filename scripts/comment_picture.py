"""Draw docs/pictures/comment.png, the comment that the README shows, from a comment.md of the demo.

    make demo
    .venv/bin/python scripts/comment_picture.py out/brittle/comment.md

Two more arguments draw another picture, such as that of a phone: its file, and its size as WIDTHxHEIGHT.

The Markdown is rendered as GitHub renders it (GFM, details closed) with a style of our own, and photographed by
Chromium; CHROMIUM names the program if it is not `chromium`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from markdown_it import MarkdownIt

TARGET = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "comment.png"
SIZE = "980x735"
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #fff; color: #1f2328; font: 15px/1.5 "Liberation Sans", Helvetica, Arial, sans-serif;
  overflow-wrap: break-word }}
main {{ padding: 4px 24px 12px; border: 1px solid #d1d9e0; border-radius: 6px; margin: 10px }}
h2, h3 {{ margin: 18px 0 10px; line-height: 1.25 }}
h2 {{ font-size: 22px; padding-bottom: 6px; border-bottom: 1px solid #d1d9e0 }}
h3 {{ font-size: 17px }}
p, ul {{ margin: 0 0 12px }}
ul {{ padding-left: 26px }}
table {{ border-collapse: collapse; margin: 0 0 14px; font-size: 14px; display: block; overflow: auto }}
th, td {{ border: 1px solid #d1d9e0; padding: 5px 11px }}
tr:nth-child(2n) td {{ background: #f6f8fa }}
code {{ font: 85% "DejaVu Sans Mono", monospace; background: #eff1f3; padding: 2px 5px; border-radius: 5px }}
details {{ margin: 0 0 8px }}
</style><main>{body}</main>
"""


def main() -> None:
    """Render the comment that the argument names, and keep a picture of its upper part."""
    if len(sys.argv) not in (2, 4):
        sys.exit(__doc__)
    target, size = (Path(sys.argv[2]), sys.argv[3]) if len(sys.argv) == 4 else (TARGET, SIZE)
    body = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(
        Path(sys.argv[1]).read_text(encoding="utf-8")
    )
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "comment.html"
        page.write_text(PAGE.format(body=body), encoding="utf-8")
        width, height = size.split("x")
        command = [os.environ.get("CHROMIUM", "chromium"), "--headless", "--no-sandbox", "--hide-scrollbars"]
        command += [f"--window-size={width},{height}", f"--screenshot={target}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True)
    print(f"wrote {target.name}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
