#!/usr/bin/env bash
# Build the real image without Docker, on a small Debian instead of vLLM's image, and test it as a runner starts it:
#   bash scripts/container.sh [options for pytest]
# Needs root, buildah, podman, runc, catatonit and debootstrap; on Debian and Ubuntu it installs them. If that is not
# possible, it says why and succeeds without testing anything.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
  echo "make container: SKIPPED, nothing was tested: $1"
  exit 0
}

tools=(buildah podman runc catatonit debootstrap)
missing=()
for tool in "${tools[@]}"; do command -v "$tool" >/dev/null || missing+=("$tool"); done
[[ $(id -u) -eq 0 ]] || skip "it must run as root"
if ((${#missing[@]})); then
  command -v apt-get >/dev/null || skip "${missing[*]} not found, and there is no apt-get"
  # Another process may be installing something; it is waited for.
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${missing[@]}" debian-archive-keyring; } </dev/null >/dev/null || skip "${missing[*]} could not be installed"
fi

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
# Containers share the machine's network, where the fake GitHub listens; the limits are ones that a container may set.
export CONTAINERS_CONF=$work/containers.conf BUILDAH_ISOLATION=chroot
cat >"$CONTAINERS_CONF" <<'CONF'
[containers]
netns = "host"
init_path = "/usr/bin/catatonit"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
CONF
# This machine's package index and certificates, for networks with their own.
certificates=/etc/ssl/certs/ca-certificates.crt
printf '[global]\ncert = %s\n' "${PIP_CERT:-$certificates}" >"$work/pip.conf"
[[ -z ${PIP_INDEX_URL:-} ]] || printf 'index-url = %s\n' "$PIP_INDEX_URL" >>"$work/pip.conf"

base=localhost/ftgate-test-base:bookworm image=localhost/ftgate-test
if ! podman image exists "$base"; then
  echo "--> a small Debian with Python, for BASE_IMAGE"
  debootstrap --variant=minbase --include=python3,python3-pip,ca-certificates bookworm "$work/root" >"$work/log" 2>&1 ||
    { tail -5 "$work/log"; skip "debootstrap could not fetch Debian"; }
  tar -C "$work/root" -c . | podman import --quiet - "$base"
fi
echo "--> the image, from the Dockerfile"
podman rmi --force "$image" >/dev/null 2>&1 || true # an earlier one
# Without the layer cache: buildah does not notice changes in files that a RUN mounts.
buildah bud --quiet --format docker --layers=false --volume "$certificates:$certificates:ro" \
  --volume "$work/pip.conf:/etc/pip.conf:ro" --build-arg "BASE_IMAGE=$base" --tag "$image" . || exit 1
echo "--> the image, as a runner starts it"
FTGATE_TEST_IMAGE=$image "${PYTHON:-.venv/bin/python}" -m pytest -m container tests/container "$@"
