"""Escaping of untrusted text (from models, data files, strangers) for GitHub, web pages and terminals.

GitHub renders a comment in several passes: Markdown first, then filters that turn names, issue numbers, commit hashes
and addresses into links. Escaping only stops the first pass, so whatever a filter would recognise is also broken up by
a zero-width space.
"""

from __future__ import annotations

import html
import re

from rich.markup import escape

BREAK = "\u200b"
"""The zero-width space: invisible, and no filter matches across it."""
BAD = "\ufffd"
"""Replaces characters that must not reach the screen."""
QUOTE = "\u02cb"
"""Looks like a backtick inside a name that stands between backticks."""
MAX_BLOCK_LINES = 24

_ANSI = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)|[ -/]*[0-~])|\x9b[0-?]*[ -/]*[@-~]"
)
_LINE = re.compile("\r\n|[\n\r\v\f\x85\u2028\u2029]")
_BREAKS = ("\r\n", "\n", "\u2028", "\u2029", "\x85")
_UNSAFE = re.compile(
    "["
    "\x00-\x08\x0e-\x1f\x7f-\x9f"  # controls
    "\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"  # invisible, bidirectional overrides
    "\u115f\u1160\u17b4\u17b5\u3164\uffa0\u2800"  # letters and symbols without ink
    "\ufff9-\ufffc\ufffe\uffff"  # annotations, noncharacters
    "\ud800-\udfff"  # halves of characters
    "\U000e0000-\U000e0fff"  # tags and variation selectors that can carry hidden text
    "]"
)
_JOINERS = re.compile("[\u200c\u200d]")
_MARK = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_STACKED = re.compile(f"({_MARK}{{3}}){_MARK}+")

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "\\": "&#92;", "`": "&#96;"}
_MARKUP = re.compile(r"[&<>|\\`*_\[\]~#]")
_AT_START = re.compile(r"^(?:([-+](?!\d)|[=:^])|(\d{1,9})([.)])(?=\s|$))")
_LINKED = re.compile(
    r"(?P<at>@)"
    r"|(?P<hash>\#(?=\w))"
    r"|(?P<gh>(?i:\bgh)(?=-\d))"
    r"|(?P<slash>/(?=/))"
    r"|(?P<www>(?i:\bwww)(?=\.))"
    r"|(?P<dot>(?<=\S)\.(?=[^\W\d]{2}))"
    r"|(?P<colon>:(?=[\w+-]+:))"
    r"|(?P<scheme>(?i:\b(?:mailto|xmpp|tel|javascript|data|vbscript)):)"
)

_CODE = re.compile("`([^`]+)`")
_COMMIT = re.compile(r"(?i)\b[0-9a-f]{7,}\b")

_LONE_BRACKET = re.compile(r"\\+\[(?![a-z#/@][^\[]*?\])")


def inline(text: str, limit: int = 200) -> str:
    """``text`` as one line of GitHub Markdown, for table cells, sentences and list items.

    At most ``limit`` characters of it are shown. Nothing in it acts as markup or becomes a link.
    """
    return _AT_START.sub(_escape_start, _harmless(_one_line(text, limit)))


def prose(text: str, limit: int = 200) -> str:
    """Like :func:`inline`, for sentences in which single backticks stand around names: these become code spans.

    A stray backtick in a name can move where code begins; whatever is code or not, nothing in it acts.
    """
    parts = _CODE.split(_one_line(text, limit))
    shown = [code(part, limit) if i % 2 else _harmless(part) for i, part in enumerate(parts)]
    return "".join([_AT_START.sub(_escape_start, shown[0]), *shown[1:]])


def prose_html(text: str, limit: int = 1000) -> str:
    """The same for a web page: HTML whose only elements are ``code``."""
    parts = _CODE.split(clip(text, limit))
    return "".join(f"<code>{html.escape(part)}</code>" if i % 2 else html.escape(part) for i, part in enumerate(parts))


def as_code(name: str) -> str:
    """``name`` as code inside a sentence for :func:`prose`; a terminal shows the backticks."""
    return f"`{name.replace('`', QUOTE)}`" if name.strip() else name


def without_code(text: str) -> str:
    """A sentence without the marks of :func:`as_code`, where there is neither markup nor a terminal."""
    return text.replace("`", "")


def _harmless(line: str) -> str:
    """One line in which nothing but its beginning acts as markup or becomes a link."""
    # GitHub parses formulas between dollar signs before escapes, so a look-alike replaces the dollar sign.
    line = line.replace("$", "\uff04")
    line = _LINKED.sub(lambda match: match.group() + BREAK, line)
    # Seven hexadecimal digits in a row may name a commit; six do not.
    line = _COMMIT.sub(lambda match: BREAK.join(re.findall(".{1,6}", match.group())), line)
    return _MARKUP.sub(lambda match: _ENTITIES.get(match.group(), "\\" + match.group()), line)


def code(text: str, limit: int = 200) -> str:
    """``text`` as a code span, for names and digests. A look-alike replaces the pipe, so that it fits into tables."""
    line = _no_comment(_one_line(text, limit)).replace("|", "\u2223")
    if not line:
        return ""
    ticks = "`" * (1 + _longest_run(line))
    pad = " " if line[0] in "` " or line[-1] in "` " else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def block(text: str, limit: int = 600, *, lines: int = MAX_BLOCK_LINES, language: str = "text") -> str:
    """``text`` as a fenced code block with its line breaks: at most ``limit`` characters and ``lines`` lines of it.

    The fence is longer than any run of backticks inside. The block must start on a new line, after a blank one.
    """
    text = text.rstrip()
    head = _head(text, limit)
    cleaned = clean(head)
    kept_lines = cleaned[:limit].split("\n")[:lines]
    hidden = len(cleaned) - len("\n".join(kept_lines)) + len(text) - len(head)
    body = _no_comment("\n".join(line.rstrip() for line in kept_lines)) + (f"\n{_more(hidden)}" if hidden > 0 else "")
    fence = "`" * max(3, 1 + _longest_run(body))
    return f"{fence}{language}\n{body}\n{fence}"


def terminal(text: str, limit: int = 200) -> str:
    """``text`` as one line for rich: no control codes, no rich markup, no workflow commands of a CI runner."""
    line = plain_line(text, limit)
    # A trailing backslash would escape the markup that follows.
    line = escape(f"{line} " if line.endswith("\\") else line)
    # rich also drops a backslash before a bracket that opens no tag; its own `escape` misses that.
    return _LONE_BRACKET.sub(r"\\\g<0>", line)


def plain_line(text: str, limit: int = 200) -> str:
    """``text`` as one printable line. ``::`` and ``##[``, which are commands to CI runners, are broken up."""
    return _one_line(text, limit).replace("::", ": :").replace("::", ": :").replace("##[", "# #[")


def plain_lines(text: str) -> str:
    """Like :func:`plain_line` but with line breaks, for error messages that quote untrusted text."""
    return clean(text).replace("::", ": :").replace("::", ": :").replace("##[", "# #[")


def clip(text: str, limit: int) -> str:
    """The first ``limit`` characters of ``text``, cleaned, and the number of those cut off."""
    return clean(text[:limit]) + _more(len(text) - limit)


def clean(text: str) -> str:
    """``text`` without control characters; line breaks become line feeds, tabs four spaces.

    Terminal codes and joiners are removed; other controls, direction overrides, invisible characters and lone
    surrogates become U+FFFD, so that the reader sees that something was there.
    """
    if _is_plain(text):
        return text
    text = _LINE.sub("\n", _ANSI.sub("", text)).replace("\t", "    ")
    return _STACKED.sub(r"\1", _JOINERS.sub("", _UNSAFE.sub(BAD, text)))


def visible(text: str, limit: int) -> str:
    """The first ``limit`` characters of ``text`` with every unsafe one as its code point, for text that is studied.

    Where :func:`clean` shows that something was there, this shows what: ``[U+202E]``. Line breaks, tabs and joiners
    stay, and characters with a stack of marks lose most of them.
    """
    shown = text[:limit]
    if not _is_plain(shown):
        shown = _LINE.sub(lambda match: "\n" if match.group() in _BREAKS else _code_point(match), shown)
        shown = _STACKED.sub(r"\1", _UNSAFE.sub(_code_point, shown))
    return shown + _more(len(text) - limit)


def _is_plain(text: str) -> bool:
    """Whether all of ``text`` is printable ASCII, as most texts of a page are: nothing in it is unsafe or a break."""
    return text.isascii() and text.isprintable()


def _code_point(match: re.Match[str]) -> str:
    return f"[U+{ord(match.group()):04X}]"


def _one_line(text: str, limit: int) -> str:
    head = _head(text, limit)
    line = " ".join(clean(head).split())
    return line[:limit].rstrip() + _more(max(0, len(line) - limit) + len(text) - len(head))


def _head(text: str, limit: int) -> str:
    """The part of ``text`` that can be shown, so that a megabyte is not cleaned to show one line."""
    return text[: 4 * limit + 200]


def _more(hidden: int) -> str:
    return f"… ({hidden:,} more characters)" if hidden > 0 else ""


def _no_comment(text: str) -> str:
    """Break up ``<!--``: it is harmless in code, but must not look like the marker of ftgate's own comment."""
    return text.replace("<!--", f"<!{BREAK}--")


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _escape_start(match: re.Match[str]) -> str:
    """Escape the start of a line so that it does not begin a list, a rule, a heading or a table."""
    sign, digits, dot = match.groups()
    return f"\\{sign}" if sign else f"{digits}\\{dot}"
