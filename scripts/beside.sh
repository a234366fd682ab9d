#!/bin/sh
# Run tests that need more than .venv holds, in an environment on top of it:
#   sh scripts/beside.sh lm-eval tests/integration/test_lm_eval.py [pytest options]
# NAME is that of requirements/NAME.lock. Apart from .venv, so that every other test runs as for a user without it.
set -eu
cd "$(dirname "$0")/.."
name=$1
shift
venv=.venv-$name
lock=requirements/$name.lock

# A copy of the lock is the stamp; .pth: what is not in this environment is found in .venv, whose tools install it.
if ! cmp -s "$lock" "$venv/installed.lock"; then
  rm -rf "$venv"
  .venv/bin/python -m venv --without-pip "$venv"
  packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  .venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$packages/ftgate.pth"
  .venv/bin/python -m pip --python "$venv/bin/python" install --quiet --no-compile --disable-pip-version-check \
    --no-deps --require-hashes -r "$lock"
  cp "$lock" "$venv/installed.lock"
fi

# Libraries keep prepared data; here and not in the user's home.
HF_HOME="$PWD/$venv/cache" exec "$venv/bin/python" -m pytest "$@"
