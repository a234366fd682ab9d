#!/usr/bin/env bash
# Prove that ftgate works on this machine's GPU, without a network:  bash scripts/gpu_proof.sh WHEELS [OUT]
# WHEELS: a folder with the wheels of vLLM, of what it needs and of requirements/image.lock; torch may be installed already.
# Parts of a wheel that was split (NAME.whl.part-aa, …) are joined. Without a folder (-), the Python in PYTHON is used as
# it is.
# Leaves OUT/gpu-proof.json and OUT/gpu-proof.log; exits with 1 if a check failed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
wheels=${1:?usage: gpu_proof.sh WHEELS|- [OUT]}
out=$(mkdir -p "${2:-gpu-proof}" && cd "${2:-gpu-proof}" && pwd)
python=${PYTHON:-python3}

if [[ $wheels != - ]]; then
  for first in "$wheels"/*.whl.part-aa; do
    [[ -e $first ]] && cat "${first%aa}"* >"${first%.part-aa}"
  done
  # Beside the torch of the machine, which fits its driver.
  "$python" -m venv --system-site-packages "$out/venv"
  python=$out/venv/bin/python
  "$python" -m pip install --quiet --no-index --find-links "$wheels" --no-deps "$wheels"/*.whl
fi

cd "$root"
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} "$python" -m benchmarks.gpu_proof --out "$out" "${@:3}" 2>&1 | tee "$out/gpu-proof.log"
