"""The pages of a run as a site for GitHub Pages: one tar file, as its deployment takes it.

A deployment replaces the whole site, so each holds the pages of one run, and says where those of earlier ones are.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ftgate.errors import ConfigurationError
from ftgate.files import write_whole
from ftgate.github.match_reports import JudgedModel
from ftgate.report.items import read_items
from ftgate.report.plots import pictures
from ftgate.report.render import render_html, render_index

ARTIFACT = "artifact.tar"
"""The name that GitHub's deployment looks for."""
_REPLACED = "A newer run has replaced this page. That of an earlier run is in its artifacts, as report.html: follow "
_REPLACED += "“This run” in the comment of the pull request."


@dataclass(frozen=True, slots=True)
class Pages:
    """Where a site is: its ``address``, and the ``folder`` in which it is left for the step that uploads it."""

    address: str
    folder: Path = Path("ftgate-pages")

    def page(self, sha: str) -> str:
        """The address of the pages of the run that judged ``sha``."""
        return f"{self.address.rstrip('/')}/{sha}/"


def read_pages(address: str) -> Pages | None:
    """The site at ``address``; None if it is empty. Raises ConfigurationError if it is no https address."""
    parts = urlsplit(address)
    if not address:
        return None
    if parts.scheme != "https" or not parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(
            f"pages: {address!r} is not the address of a site",
            hint="give https://OWNER.github.io/NAME, or the address that Settings, Pages shows",
        )
    return Pages(address)


def write_site(pages: Pages, judged: Sequence[JudgedModel], sha: str) -> bool:
    """Write the pages of the verified reports of ``judged`` into a tar file. Returns whether there are any.

    They are rendered here: what the evaluation rendered is not published. Raises FtgateError for items that cannot be
    read or a file that cannot be written.
    """
    rendered = {
        j.title: render_html(j.report, pictures(j.report), read_items(j.untrusted.folder))
        for j in judged
        if j.verdict != "error" and j.report is not None and j.untrusted is not None
    }
    if not rendered:
        return False
    names = dict(zip(rendered, ["index.html"] if len(rendered) == 1 else _numbered(len(rendered)), strict=True))
    files = {f"{sha}/{names[title]}": text for title, text in rendered.items()}
    links = {title: name for title, name in names.items() if len(names) > 1}
    if links:
        files[f"{sha}/index.html"] = render_index(f"Reports of {sha[:7]}", links=links)
    files["index.html"] = render_index("Reports", links={f"Reports of {sha[:7]}": f"{sha}/"})
    files["404.html"] = render_index("Replaced by a newer run", text=_REPLACED)
    pages.folder.mkdir(parents=True, exist_ok=True)
    write_whole(pages.folder / ARTIFACT, _packed(files))
    return True


def _numbered(count: int) -> list[str]:
    return [f"{number}.html" for number in range(1, count + 1)]


def _packed(files: Mapping[str, str]) -> bytes:
    """The files as one tar file, readable for everybody, as the deployment asks for."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, text in files.items():
            data = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()
