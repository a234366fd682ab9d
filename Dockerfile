# The gate in a container: any image with Python 3.11 or newer and pip, and ftgate in it.
#   for GPUs:                docker build -t ftgate .
#   for plan and report:     the same with --build-arg BASE_IMAGE=, and what CPU_BASE_IMAGE says
# Both bases stand here alone. `make pin` adds the digests that the registry has now, and Renovate, which reads these
# lines, keeps them up to date; release.yml publishes nothing on a base without one.
ARG BASE_IMAGE=vllm/vllm-openai:v0.32.0
ARG CPU_BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS wheel
WORKDIR /source
ARG PIP_ROOT_USER_ACTION=ignore
COPY requirements/build.lock requirements/
RUN python3 -m pip install --no-cache-dir --no-deps --require-hashes --target /tools -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY ftgate ftgate
COPY examples/tinyworld examples/tinyworld
COPY .github/workflows/ftgate*.yml .github/workflows/
RUN PYTHONPATH=/tools python3 -m hatchling build -t wheel -d /wheels

FROM ${BASE_IMAGE}
ARG PIP_ROOT_USER_ACTION=ignore
ARG PIP_BREAK_SYSTEM_PACKAGES=1
# What the base has in the locked version is kept; PyTorch, transformers and vLLM are the base's own.
RUN --mount=type=bind,source=requirements,target=/tmp/requirements \
    --mount=type=bind,from=wheel,source=/wheels,target=/tmp/wheels \
    python3 -m pip install --no-cache-dir --no-deps \
        --require-hashes -r /tmp/requirements/image.lock \
    && python3 -m pip install --no-cache-dir --no-deps --no-index /tmp/wheels/*.whl
COPY entrypoint/*.py /opt/ftgate/entrypoint/
COPY --chmod=755 entrypoint/ftgate-action /usr/local/bin/

# Compiled at build time, because a container that lives for one job would compile everything anew.
# The NVIDIA runtime reads these where it is the default one: a container action has no other way to ask for a GPU.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONDONTWRITEBYTECODE=1
LABEL org.opencontainers.image.title="ftgate" \
      org.opencontainers.image.description="A merge gate for fine-tuned language models" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="The ftgate authors"
HEALTHCHECK NONE
# Neither USER nor WORKDIR: the runner sets both.
ENTRYPOINT ["/usr/local/bin/ftgate-action"]
CMD []
