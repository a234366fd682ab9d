"""Pin the Dockerfile's base images by the digests that their tags have now. Asks the images' registries.

make pin
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from ftgate.artifacts.sources.oci import image_digest
from ftgate.errors import FtgateError

DOCKERFILE = Path(__file__).resolve().parent.parent / "Dockerfile"
BASE = re.compile(r"^(ARG \w*BASE_IMAGE=)([^@\s]+)(@sha256:[0-9a-f]{64})?$", re.MULTILINE)


def pinned(text: str, digest_of: Callable[[str], str] = image_digest) -> str:
    """The Dockerfile ``text`` with each base image at the digest that ``digest_of`` gives for its name and tag."""
    return BASE.sub(lambda match: f"{match[1]}{match[2]}@{digest_of(match[2])}", text)


def main() -> int:
    """Write the Dockerfile. Returns the exit code."""
    try:
        DOCKERFILE.write_text(pinned(DOCKERFILE.read_text(encoding="utf-8")), encoding="utf-8")
    except FtgateError as error:
        print(f"make pin: nothing was changed: {error}", file=sys.stderr)
        return 1
    print("\n".join(match[0] for match in BASE.finditer(DOCKERFILE.read_text(encoding="utf-8"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
