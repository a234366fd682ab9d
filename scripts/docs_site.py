"""MkDocs hook: what the documentation needs beyond its own pages, and the checks on what was built.

- README, CONTRIBUTING, CHANGELOG and the suites' data cards become pages; their links, and links to them, are adjusted.
- A Mermaid picture is shown as the SVG that was drawn from it, so that the site needs neither 3 MB of JavaScript nor a
  network. GitHub renders the Mermaid text itself. `python scripts/docs_site.py` draws again (needs node and Chromium).
- A list or table must come out as GitHub shows it: Python-Markdown wants blank lines where GitHub does not.
- Nothing may be loaded from another host: links of that kind end the build, and a Content-Security-Policy has the
  reader's browser refuse the rest.
"""

from __future__ import annotations

import hashlib
import json
import os.path
import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
OUTSIDE = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"} | {
    f"suites/{card.name}": card.relative_to(ROOT).as_posix() for card in (ROOT / "ftgate" / "suites").glob("*.md")
}
"""Pages that lie elsewhere in the repository: address in the site, path in the repository."""
MERMAID = re.compile(r"```mermaid\n(.*?)```", re.DOTALL)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s:]*)(#[^)\s]*)?\)")
BLOCKS = re.compile(r"<(ul|ol|li|table|tr|pre|h[1-6])\b")
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; worker-src 'self' blob:"
)
_ADDRESS = r"\s*=?\s*\(?\s*[\"']?\s*(?:https?:)?//[^\s\"')>]*"
LOADS = {
    ".html": re.compile(rf"<(?!a\b)\w+[^>]*?\s(?:src|srcset|href|data|poster){_ADDRESS}|url{_ADDRESS}"),
    ".css": re.compile(rf"@import{_ADDRESS}|url{_ADDRESS}"),
    ".svg": re.compile(rf"@import{_ADDRESS}|url{_ADDRESS}|\shref{_ADDRESS}"),
}


def on_config(config: Any) -> Any:
    """Add the decisions to the navigation."""
    found = sorted(path.relative_to(DOCS).as_posix() for path in (DOCS / "decisions").glob("*.md"))
    config.nav = [*config.nav, {"Decisions": found}]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie outside docs/."""
    from mkdocs.structure.files import File

    for uri, path in OUTSIDE.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with links that hold in the site, and drawn pictures."""
    return with_links(with_pictures(markdown, page.file.src_uri), page.file.src_uri)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Stop at a list, table or code block that GitHub would show and the site does not."""
    from markdown_it import MarkdownIt

    as_github = BLOCKS.findall(MarkdownIt("gfm-like", {"linkify": False}).render(page.markdown))
    ours = BLOCKS.findall(html)
    differ = Counter(as_github) - Counter(ours) or Counter(ours) - Counter(as_github)
    if differ:
        stop(
            f"{page.file.src_uri}: GitHub shows other blocks than the site ({dict(differ)}): put a blank line before "
            "lists, tables and code, and indent what is inside a list by 4"
        )
    return html


def on_post_page(output: str, **_: Any) -> str:
    """The page with a policy that has browsers load nothing from elsewhere."""
    return output.replace("<head>", f'<head><meta http-equiv="Content-Security-Policy" content="{POLICY}">', 1)


def on_post_build(config: Any) -> None:
    """Stop at anything in the site that is loaded from another host."""
    found = loads_from_elsewhere(Path(config.site_dir))
    if found:
        stop("loaded from elsewhere:\n  " + "\n  ".join(found))


def with_links(markdown: str, uri: str) -> str:
    """The links of a page as the site has them; one to a file that is no page becomes its text."""
    here = Path(OUTSIDE.get(uri, f"docs/{uri}")).parent
    pages = {path: page for page, path in OUTSIDE.items()}

    def changed(link: re.Match[str]) -> str:
        bang, text, path, anchor = link[1], link[2], link[3], link[4] or ""
        if not path:
            return link[0]
        target = os.path.normpath(here / path)
        if not (ROOT / target).exists():
            stop(f"{uri}: there is no {target}")
        place = pages.get(target, target.removeprefix("docs/") if target.startswith("docs/") else "")
        if not place or not (ROOT / target).is_file():
            return text
        return f"{bang}[{text}]({os.path.relpath(place, Path(uri).parent)}{anchor})"

    return LINK.sub(changed, markdown)


def with_pictures(markdown: str, uri: str) -> str:
    """The page with its Mermaid picture as an image. Each page has at most one, drawn in pictures/<page>.svg."""
    found = MERMAID.search(markdown)
    if found is None:
        return markdown
    picture = DOCS / "pictures" / f"{Path(uri).stem}.svg"
    if not picture.is_file() or digest(found[1]) not in picture.read_text(encoding="utf-8"):
        stop(f"{uri}: {picture.relative_to(ROOT)} is not drawn from its Mermaid text: python scripts/docs_site.py")
    title = markdown.lstrip("# ").partition("\n")[0]
    return f"{markdown[: found.start()]}![{title}](pictures/{picture.name}){markdown[found.end() :]}"


def loads_from_elsewhere(site: Path) -> list[str]:
    """What the files of a site load from other hosts: `file: address`. Links that a reader may follow are no loads."""
    return [
        f"{path.relative_to(site)}: {' '.join(found[0].split())[-100:]}"
        for path in sorted(site.rglob("*"))
        if path.suffix in LOADS
        for found in LOADS[path.suffix].finditer(path.read_text(encoding="utf-8"))
    ]


def digest(text: str) -> str:
    """What a drawn picture says about the text that it was drawn from."""
    return f"drawn from {hashlib.sha256(text.encode()).hexdigest()}"


def draw(page: Path) -> None:
    """Draw the Mermaid picture of a page, with npx and the browser that PUPPETEER_EXECUTABLE_PATH names, if any."""
    found = MERMAID.search(page.read_text(encoding="utf-8"))
    if found is None:
        return
    looks = {"theme": "neutral", "htmlLabels": False, "flowchart": {"htmlLabels": False, "wrappingWidth": 260}}
    target = DOCS / "pictures" / f"{page.stem}.svg"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "picture.mmd").write_text(found[1], encoding="utf-8")
        (place / "looks.json").write_text(json.dumps({**looks, "deterministicIds": True}), encoding="utf-8")
        (place / "browser.json").write_text(json.dumps({"args": ["--no-sandbox"]}), encoding="utf-8")
        command = ["npx", "--yes", "-p", "@mermaid-js/mermaid-cli@11", "mmdc", "-i", "picture.mmd", "-o", "picture.svg"]
        command += ["-c", "looks.json", "-p", "browser.json", "-b", "white"]
        subprocess.run(command, cwd=place, check=True)
        drawn = (place / "picture.svg").read_text(encoding="utf-8")
    target.write_text(f"{drawn.strip()}\n<!-- {digest(found[1])} -->\n", encoding="utf-8")
    print(f"wrote {target.relative_to(ROOT)}")


def stop(message: str) -> None:
    """End the build."""
    from mkdocs.exceptions import PluginError

    raise PluginError(message)


if __name__ == "__main__":
    for one in sorted(DOCS.glob("*.md")):
        draw(one)
