"""Shared by all pictures: size, colours, labels, and reproducible drawing.

Colours are those of Okabe and Ito (2008), distinguishable with any colour vision; models and statuses also differ in
shape. Figures are made without pyplot, to avoid global state; matplotlib is imported when the first one is drawn.
"""

from __future__ import annotations

import io
import math
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftgate.report.escape import clean
from ftgate.stats.interval import Interval, wilson_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILION, ORANGE, GREEN, PURPLE, SKY = "#0072b2", "#d55e00", "#e69f00", "#009e73", "#cc79a7", "#56b4e9"
INK, FAINT, EDGE, GROUND = "#1f2328", "#59636e", "#d1d9e0", "#ffffff"
MODELS: Mapping[str, tuple[str, str]] = {"base": (BLUE, "o"), "candidate": (VERMILION, "s")}
"""Colour and marker of each model, in every picture."""
WIDTH = 8.0
"""Inches: 800 pixels, the width of a comment, at 100 pixels an inch."""
PANEL_PAD = 0.12
"""Inches above and below each panel: a title must not touch the axis of the panel above it."""
PNG_DPI = 150
"""Sharp on fine screens at 100 pixels an inch; more takes long to draw and to load."""
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_ELEMENTS = frozenset({"svg", "g", "path", "rect", "use", "defs", "text", "tspan", "clipPath", "title"})
_ATTRIBUTES = frozenset(
    {"width", "height", "viewBox", "version", "id", "d", "style", "x", "y", "transform", "clip-path", "role"}
    | {"aria-label", "stroke-linejoin", "href"}
)
_PRESENTATION = frozenset(
    {"fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray"}
    | {"stroke-dashoffset", "stroke-linecap", "stroke-linejoin", "stroke-miterlimit", "opacity", "text-anchor"}
    | {"font-family", "font-size", "font-weight", "font-style"}
)
"""What the style of a drawn element may say."""
_SETTINGS: Mapping[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "figure.facecolor": GROUND,
    "grid.color": EDGE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "path.sketch": None,
    "svg.fonttype": "none",
    "svg.hashsalt": "ftgate",
    "text.color": INK,
    "text.parse_math": False,
    "text.usetex": False,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """One figure as SVG and PNG. ``alt`` describes it for readers who cannot see it."""

    name: str
    alt: str
    svg: str
    png: bytes

    def content(self, suffix: str) -> bytes:
        """The file that ends in ``suffix``: ``.svg`` or ``.png``."""
        return self.png if suffix == ".png" else self.svg.encode("utf-8")


def picture(name: str, alt: str, height: float, draw: Callable[[Figure], None]) -> Picture:
    """Draw a figure of the common width and of ``height`` inches. The same data give the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with _settings(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph", category=UserWarning)  # a name in another script
        figure = Figure(figsize=(WIDTH, height), dpi=PNG_DPI)
        draw(figure)
        vector, pixels = io.StringIO(), io.BytesIO()
        # Laid out once, then printed by each canvas: savefig would draw everything again for each file.
        layout: Any = ConstrainedLayoutEngine(h_pad=PANEL_PAD)
        layout.execute(figure)
        quick = {"compress_level": 1}  # a few kilobytes larger, in a third of the time
        canvases: tuple[Any, Any] = (FigureCanvasAgg(figure), FigureCanvasSVG(figure))
        canvases[0].print_png(pixels, metadata={"Software": None}, pil_kwargs=quick)
        canvases[1].print_svg(vector, metadata={"Date": None, "Creator": None})
    return Picture(name, label(alt, 1000), _inline(vector.getvalue(), name, label(alt, 1000)), pixels.getvalue())


def label(text: str, limit: int = 40) -> str:
    """Untrusted text for a picture: one line without control characters, at most ``limit`` characters."""
    line = " ".join(clean(text[: 4 * limit + 200]).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def heading(axes: Axes, text: str) -> None:
    """The title, at the left."""
    # A fixed position saves the search for one above all tick labels at every draw.
    axes.set_title(text, loc="left", fontsize=11, fontweight="bold", y=1.0, pad=8)


def footnote(axes: Axes, text: str) -> None:
    """A note in small print in the lower right corner."""
    axes.annotate(text, (0.99, 0.03), xycoords="axes fraction", ha="right", fontsize=8.5, color=FAINT)


def interval(mean: float, n: int, level: float) -> Interval:
    """The Wilson interval of a mean score at the report's two-sided ``level``, limited to what it supports."""
    alpha = (1 - level) / 2
    return wilson_interval(mean, n, min(max(alpha, 1e-6), 0.4) if math.isfinite(alpha) else 0.05)


def percent_axis(axis: Any) -> None:
    """Shares as whole percent."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))


def _settings() -> AbstractContextManager[None]:
    from matplotlib import rc_context

    settings: Any = dict(_SETTINGS)
    return rc_context(rc=settings)


def _presentation(style: str) -> dict[str, str]:
    """A ``style`` attribute as attributes of their own.

    The page's policy allows no inline styles, and its style sheet can replace the colours of attributes in dark mode.
    """
    declarations = (part.partition(":")[::2] for part in style.split(";"))
    named = {name.strip(): value.strip() for name, value in declarations if name.strip() in _PRESENTATION}
    if "font-family" in named:  # fallback fonts of about the same width
        named["font-family"] = "'DejaVu Sans', Verdana, sans-serif"
    return named


def _inline(source: str, name: str, alt: str) -> str:
    """The SVG for a web page: only known elements and attributes, and only links within the picture.

    Ids get the picture's name as a prefix, so that several pictures fit into one page. Style sheets are removed,
    because they would apply to the whole page.
    """
    root = ET.fromstring(source)  # noqa: S314 - written by matplotlib a moment ago
    ET.register_namespace("", _SVG.strip("{}"))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.removeprefix(_SVG) not in _ELEMENTS:
                parent.remove(child)
    for element in root.iter():
        link = element.attrib.pop(_LINK, "")
        attributes = {key: value for key, value in element.attrib.items() if key in _ATTRIBUTES and key != "href"}
        if link.startswith("#"):
            attributes["href"] = f"#{name}-{link[1:]}"
        if "id" in attributes:
            attributes["id"] = f"{name}-{attributes['id']}"
        attributes |= _presentation(attributes.pop("style", ""))
        if "clip-path" in attributes:
            attributes["clip-path"] = attributes["clip-path"].replace("url(#", f"url(#{name}-")
        element.attrib.clear()
        element.attrib.update(attributes)
    root.attrib.update({"role": "img", "aria-label": alt, "stroke-linejoin": "round"})
    return ET.tostring(root, encoding="unicode") + "\n"
