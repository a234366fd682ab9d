"""Where a reader of a comment can go from it: the run, the page, the policy, the documentation. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

DOCS_OF: dict[str, str] = {
    "allow": "reading-a-report.md#may-merge",
    "warn": "reading-a-report.md#may-merge",
    "block": "reading-a-report.md#do-not-merge",
    "hold": "reading-a-report.md#more-evidence-needed",
    "error": "reading-a-report.md#not-tested",
}
"""The page of the documentation on each outcome."""
_SAFE = "/:@!$&'*+,;=~-._?#%"


@dataclass(frozen=True, slots=True)
class CommentLinks:
    """Addresses, each empty where there is none: a comment shows only links that lead somewhere."""

    run: str = ""
    """The run that judged."""
    page: str = ""
    """The full page (report.html), or the artifact that holds it."""
    policy: str = ""
    """The policy at the commit that it was read from."""
    docs: str = ""
    """The folder of the documentation, ending in a slash."""
    waive: str = ""
    """How to let a commit pass all the same."""

    def row(self, outcome: str) -> str:
        """The links as one line of Markdown, for the outcome of a report; empty without any."""
        about = f"{self.docs}{DOCS_OF[outcome]}" if self.docs and outcome in DOCS_OF else ""
        named = {
            "This run": self.run,
            "Full report": self.page,
            "Policy": self.policy,
            "What this verdict means": about,
            "How to waive this verdict": self.waive if outcome in ("block", "hold") else "",
        }
        return " · ".join(_link(name, url) for name, url in named.items() if url.startswith("https://"))

    def to_run(self, words: str) -> str:
        """``words`` as a link to the run in Markdown; without its address the words alone."""
        return _link(words, self.run) if self.run.startswith("https://") else words


def _link(name: str, url: str) -> str:
    return f"[{name}]({_address(url)})"


def _address(url: str) -> str:
    """``url`` with everything quoted that could end a Markdown link."""
    return quote(url, safe=_SAFE, errors="replace")
