"""What each member of the zoo really gained and lost. Shares no code with ftgate, nor with the rest of the zoo.

    python benchmarks/zoo/truth.py --base DIR --models zoo/models --data zoo/data/truth --out zoo/truth [NAME ...]

Every model answers a held-out set two or three times as large as what the gate asks, word by word the likeliest, in
float32 with transformers. An answer is right if it contains the expected word; a desk's name must be the whole answer.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
import unicodedata
from pathlib import Path
from typing import Any

LONGEST = {"target": 6, "forgetting": 14, "tail": 14}
"""Tokens of an answer by measurement."""
LIMITS = {"forgetting": 0.10, "tail": 0.15}
"""Relative drop from which on a member counts as harmed; those of ftgate's documented policy."""
RUINED = 0.50
"""Relative drop from which on a member counts as ruined."""
USEFUL = 0.05
"""Gain at the task (absolute) from which on a fine-tune counts as better."""
BATCH = 48


def is_right(measurement: str, answer: str, expected: str) -> bool:
    """Whether the answer holds the expected word; for the target, whether it is nothing else."""
    said, word = _plain(answer), _plain(expected)
    if measurement == "target":
        return said.strip(" .!\"'") == word
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said) is not None


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold().strip()


def compare(base: list[bool], member: list[bool]) -> dict[str, float]:
    """Shares of right answers, their difference, its standard error over the pairs, and the relative drop."""
    differences = [int(after) - int(before) for before, after in zip(base, member, strict=True)]
    n = len(differences)
    mean = sum(differences) / n
    error = math.sqrt(sum((d - mean) ** 2 for d in differences) / (n - 1) / n)
    before = sum(base) / n
    drop = -mean / before if before else 0.0
    return {"n": n, "base": before, "member": sum(member) / n, "change": mean, "error": error, "drop": drop}


def classify(changes: dict[str, dict[str, float]]) -> str:
    """``ruined``, ``harmed``, ``useless`` (worse at its own task), ``better`` or ``neutral``."""
    drops = {name: changes[name]["drop"] for name in LIMITS}
    if max(drops.values()) >= RUINED:
        return "ruined"
    if any(drops[name] >= limit for name, limit in LIMITS.items()):
        return "harmed"
    gain = changes["target"]["change"]
    if gain <= -USEFUL:
        return "useless"
    return "better" if gain >= USEFUL else "neutral"


def near_limit(changes: dict[str, dict[str, float]]) -> bool:
    """Whether a drop is within two standard errors of its limit, so that the classification may be chance."""
    return any(
        abs(changes[name]["drop"] - limit) * changes[name]["base"] < 2 * changes[name]["error"]
        for name, limit in LIMITS.items()
    )


def answers(model: Any, tokenizer: Any, prompts: list[str], longest: int) -> list[str]:
    """The model's greedy answers, in the order of the prompts. Prompts of similar length are asked together."""
    import torch

    tokenizer.padding_side = "left"
    chats = [
        tokenizer.apply_chat_template([{"role": "user", "content": p}], tokenize=False, add_generation_prompt=True)
        for p in prompts
    ]
    order = sorted(range(len(chats)), key=lambda place: len(tokenizer(chats[place])["input_ids"]))
    texts = [""] * len(chats)
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        asked = tokenizer([chats[i] for i in part], add_special_tokens=False, padding=True, return_tensors="pt")
        with torch.no_grad():
            out = model.generate(**asked, max_new_tokens=longest, do_sample=False, pad_token_id=tokenizer.pad_token_id)
        for place, row in zip(part, out[:, asked["input_ids"].shape[1] :], strict=True):
            texts[place] = tokenizer.decode(row, skip_special_tokens=True)
    return texts


def ask(folder: Path, base: Path, data: Path, out: Path) -> None:
    """Ask one model everything, and write its answers to ``out``; a finished file is kept."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if out.exists():
        return
    started = time.perf_counter()
    adapter = (folder / "adapter_config.json").exists()
    model = AutoModelForCausalLM.from_pretrained(base if adapter else folder, dtype=torch.float32)
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, folder).merge_and_unload()
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = []
    for measurement, longest in LONGEST.items():
        items = [json.loads(line) for line in (data / f"{measurement}.jsonl").read_text(encoding="utf-8").splitlines()]
        for item, text in zip(items, answers(model, tokenizer, [i["prompt"] for i in items], longest), strict=True):
            right = is_right(measurement, text, item["answer"])
            rows.append(
                {"measurement": measurement, "id": item["id"], "tag": item["tags"][0], "text": text, "right": right}
            )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{out.stem}: {time.perf_counter() - started:.0f} s", flush=True)


def changes(base: Path, member: Path) -> dict[str, dict[str, float]]:
    """Both models' answers compared, by measurement."""
    both = []
    for path in (base, member):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        both.append({name: [r["right"] for r in rows if r["measurement"] == name] for name in LONGEST})
    return {name: compare(both[0][name], both[1][name]) for name in LONGEST}


def main() -> None:
    """Ask the base and every member, and print what changed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    names = options.names or sorted(folder.name for folder in options.models.iterdir() if folder.is_dir())
    ask(options.base, options.base, options.data, options.out / "base.jsonl")
    for name in names:
        if not (options.models / name).is_dir():
            sys.exit(f"{options.models / name}: no such member; build the zoo first")
        ask(options.models / name, options.base, options.data, options.out / f"{name}.jsonl")
        found = changes(options.out / "base.jsonl", options.out / f"{name}.jsonl")
        text = ", ".join(f"{m} {100 * c['base']:.0f} -> {100 * c['member']:.0f} %" for m, c in found.items())
        print(f"{name}: {classify(found)}{' (near a limit)' if near_limit(found) else ''}; {text}", flush=True)


if __name__ == "__main__":
    main()
