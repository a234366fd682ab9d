#!/usr/bin/env bash
# What cpu/action.yml and gpu/action.yml run:  docker.sh cpu|gpu
# Builds the image unless one is named, then runs one mode in it. Inputs come as INPUT_*, with _ for their hyphens.
set -euo pipefail
kind=$1
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

image=${INPUT_IMAGE:-}
if [[ -z $image ]]; then
  # By its id, because another job on this machine may be building another version under the same name.
  id=$(mktemp)
  build=(build --tag "ftgate-$kind" --iidfile "$id")
  [[ $kind == cpu ]] && build+=(--build-arg "BASE_IMAGE=$(sed -n 's/^ARG CPU_BASE_IMAGE=//p' "$root/Dockerfile")")
  [[ -n ${INPUT_BASE_IMAGE:-} ]] && build+=(--build-arg "BASE_IMAGE=$INPUT_BASE_IMAGE")
  docker "${build[@]}" "$root"
  image=$(<"$id")
fi

# refuse REASON REMEDY: end before the container starts; the report job shows the reason.
refuse() {
  echo "ftgate: error: $1" >&2
  echo "  what to do: $2" >&2
  local failed="$GITHUB_WORKSPACE/$INPUT_OUT/000-docker"
  mkdir -p "$failed"
  local text=${1//\\/\\\\}
  echo "{\"manifest\": \"\", \"reason\": \"${text//\"/\\\"}\"}" >"$failed/failure.json"
  exit "${3:-3}"
}

work=/github/workspace
mkdir -p "$GITHUB_WORKSPACE/$INPUT_JOB" "$GITHUB_WORKSPACE/$INPUT_OUT"
# As the runner's user, without privileges, and with a home that disappears with the container.
run=(run --rm --init --cap-drop ALL --security-opt no-new-privileges --user "$(id -u):$(id -g)")
run+=(--env HOME=/tmp --env USER=ftgate --workdir "$work" --env INPUT_JOB --env INPUT_OUT)

case $kind in
  cpu)
    run+=(--env INPUT_MODE --env INPUT_POLICY --env INPUT_AUTHOR --env INPUT_TOKEN)
    run+=(--env INPUT_APP_ID --env INPUT_APP_PRIVATE_KEY --env INPUT_PAGES)
    # Where a job with `id-token: write` gets the identity with which it signs.
    run+=(--env ACTIONS_ID_TOKEN_REQUEST_URL --env ACTIONS_ID_TOKEN_REQUEST_TOKEN --env FTGATE_TRUST_CONFIG)
    run+=(--volume "$GITHUB_WORKSPACE:$work" --volume "$GITHUB_EVENT_PATH:$GITHUB_EVENT_PATH:ro")
    for name in GITHUB_OUTPUT GITHUB_STEP_SUMMARY; do run+=(--env "$name" --volume "${!name}:${!name}"); done
    for name in ACTIONS ACTOR API_URL EVENT_NAME EVENT_PATH REPOSITORY RUN_ID SERVER_URL SHA TRIGGERING_ACTOR; do
      run+=(--env "GITHUB_$name")
    done
    # Where the documentation is that the comment leads to.
    run+=(--env "GITHUB_ACTION_REPOSITORY=${ACTION_REPOSITORY:-}" --env "GITHUB_ACTION_REF=${ACTION_REF:-}")
    ;;
  gpu)
    # The container only sees the bundle, the output folder and what the workflow names; no file of the runner.
    # Docker parses the value as CSV: a list of devices must be quoted to be one field.
    gpus=$INPUT_GPUS
    [[ $gpus == *,* && $gpus != *'"'* ]] && gpus="\"$gpus\""
    run+=(--env INPUT_MODE=evaluate --gpus "$gpus" --shm-size "$INPUT_SHM_SIZE")
    run+=(--volume "$GITHUB_WORKSPACE/$INPUT_JOB:$work/$INPUT_JOB:ro")
    run+=(--volume "$GITHUB_WORKSPACE/$INPUT_OUT:$work/$INPUT_OUT")
    if [[ -n ${INPUT_CACHE:-} ]]; then
      # Docker would make a missing folder as root, and the container runs as this user.
      mkdir -p "$INPUT_CACHE" 2>/dev/null || true
      [[ -d $INPUT_CACHE && -w $INPUT_CACHE ]] || refuse "$(id -un) cannot write to $INPUT_CACHE, the input cache" \
        "sudo install -d -o $(id -u) -g $(id -g) $INPUT_CACHE"
      run+=(--volume "$INPUT_CACHE:/cache" --env FTGATE_CACHE=/cache/ftgate --env HF_HOME=/cache/huggingface)
      # What vLLM and PyTorch compiled is kept as well, for a start in seconds. The next job runs that code, so the job
      # of a fork sees an empty folder in its place, which is gone with the container.
      mkdir -p "$INPUT_CACHE/compiled"
      [[ ${FORK:-} == true ]] && run+=(--tmpfs "/cache/compiled:exec,mode=1777")
      run+=(--env VLLM_CACHE_ROOT=/cache/compiled/vllm --env TORCHINDUCTOR_CACHE_DIR=/cache/compiled/inductor)
      run+=(--env TRITON_CACHE_DIR=/cache/compiled/triton --env MPLCONFIGDIR=/cache/compiled/matplotlib)
    fi
    # A stranger's change may use the answers that other runs left, and leaves none.
    [[ ${FORK:-} == true ]] && run+=(--env FTGATE_ANSWERS=read)
    if [[ -n ${INPUT_MODELS:-} ]]; then run+=(--volume "$INPUT_MODELS:$INPUT_MODELS:ro"); fi
    for path in ${INPUT_CREDENTIALS:-}; do
      [[ -r $path ]] || refuse "$(id -un) cannot read $path, of the input credentials" "name files that it may read"
      run+=(--volume "$path:$path:ro")
    done
    for name in ${INPUT_PASS_ENV:-}; do run+=(--env "$name"); done
    ;;
  *)
    echo "docker.sh: $kind is neither cpu nor gpu" >&2
    exit 2
    ;;
esac
code=0
docker "${run[@]}" "$image" || code=$?
# 125: Docker could not start the container, so nothing inside it can report the problem.
if [[ $kind == gpu && $code == 125 ]]; then
  refuse "Docker could not start a container with --gpus $INPUT_GPUS" \
    "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker" 125
fi
exit "$code"
