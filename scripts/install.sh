#!/bin/sh
# Install ftgate into .venv:  sh scripts/install.sh run | dev
# Finds a Python and runs scripts/install.py, which returns at once if nothing has changed.
set -eu
cd "$(dirname "$0")/.."

fits() { "$1" -I -S -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1; }

# .venv first, so that it survives a change of the default Python; PYTHON=… chooses the Python for a new one.
for python in .venv/bin/python "${PYTHON:-python3}" python3.13 python3.12 python3.11 python3.14 python; do
  if fits "$python"; then exec "$python" -I -S scripts/install.py "$@"; fi
done

cat >&2 <<'EOF'
ftgate needs Python 3.11 to 3.14, and none was found (tried python3, python3.11 … python3.14).
  Debian, Ubuntu    sudo apt-get install python3 python3-venv
  Fedora            sudo dnf install python3
  macOS             brew install python
  anywhere          install uv, then: uv python install 3.12 && PYTHON="$(uv python find 3.12)" make demo
EOF
exit 3
