"""Requests that are ready, put to ``vllm.LLM.generate`` at once: as little as any program can do for them.

A program of its own: ``python -m benchmarks.peers.bare REQUESTS.json``. The file holds a list of engines, each with
``arguments`` of ``vllm.LLM``, an ``adapter`` or null, and ``requests``: token ids, whether the adapter answers, and the
sampling parameters.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(path: Path) -> None:
    """Start each engine, one call for each family of sampling, as fast as it goes."""
    from vllm import SamplingParams
    from vllm.lora.request import LoRARequest

    from ftgate.engines.vllm.startup import start  # vLLM.LLM, with the kernels that ftgate brings for adapters

    for engine in json.loads(path.read_text(encoding="utf-8")):
        llm = start(engine["arguments"])
        adapter = LoRARequest("candidate", 1, engine["adapter"]) if engine["adapter"] else None
        for reads in (True, False):  # vLLM mixes no option reads with generation on a CPU
            family = [r for r in engine["requests"] if ("logprob_token_ids" in r["sampling"]) is reads]
            if not family:
                continue
            llm.generate(
                [{"prompt_token_ids": request["ids"]} for request in family],
                [SamplingParams(**request["sampling"]) for request in family],
                lora_request=[adapter if request["adapted"] else None for request in family] if adapter else None,
                use_tqdm=False,
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
