"""``ftgate-action``: what the container starts."""

import os
import sys

from entrypoint.modes import run_mode

sys.exit(run_mode(os.environ))
