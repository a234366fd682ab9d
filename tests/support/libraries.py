"""Which inference libraries are installed, told without an import: that takes seconds, in each worker."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def needs(library: str) -> pytest.MarkDecorator:
    """Skips tests where ``library`` is not installed; the tests themselves import it, if they run."""
    return pytest.mark.skipif(find_spec(library) is None, reason=f"{library} is not installed")
