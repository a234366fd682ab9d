"""What each member of the zoo really gained and lost. Shares no code with ftgate, nor with the rest of the zoo.

    python benchmarks/zoo/truth.py --base DIR --models zoo/models --data zoo/data/truth --out zoo/truth [NAME ...]

Every model answers a held-out set that the gate does not ask, word by word the likeliest, in
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


def ask(folder: Path, base: Path, data: Path, out: Path, share: float) -> None:
    """Ask one model the first ``share`` of every file. Answers that ``out`` holds are kept, the others are added."""
    rows = _read(out) if out.exists() else []
    known = {row["id"] for row in rows}
    missing = {m: [item for item in _first(data / f"{m}.jsonl", share) if item["id"] not in known] for m in LONGEST}
    if not any(missing.values()):
        return
    started = time.perf_counter()
    model, tokenizer = _load(folder, base)
    for measurement, items in missing.items():
        texts = answers(model, tokenizer, [item["prompt"] for item in items], LONGEST[measurement])
        for item, text in zip(items, texts, strict=True):
            right = is_right(measurement, text, item["answer"])
            row = {"measurement": measurement, "id": item["id"], "tag": item["tags"][0], "text": text, "right": right}
            rows.append(row)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{out.stem}: {time.perf_counter() - started:.0f} s", flush=True)


def _load(folder: Path, base: Path) -> tuple[Any, Any]:
    """The model, with an adapter merged, and the base's tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    adapter = (folder / "adapter_config.json").exists()
    model = AutoModelForCausalLM.from_pretrained(base if adapter else folder, dtype=torch.float32)
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, folder).merge_and_unload()
    return model, AutoTokenizer.from_pretrained(base)


def _first(path: Path, share: float) -> list[dict[str, Any]]:
    rows = _read(path)
    return rows[: math.ceil(share * len(rows))]


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def changes(base: Path, member: Path) -> dict[str, dict[str, float]]:
    """Both models' answers to the questions that both were asked, compared by measurement."""
    before = {row["id"]: row["right"] for row in _read(base)}
    rows = [row for row in _read(member) if row["id"] in before]
    found = {}
    for name in LONGEST:
        asked = [row for row in rows if row["measurement"] == name]
        found[name] = compare([before[row["id"]] for row in asked], [row["right"] for row in asked])
    return found


def main() -> None:
    """Ask the base and every member, and print what changed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=1.0, help="ask only this share of the questions")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    names = options.names or sorted(folder.name for folder in options.models.iterdir() if folder.is_dir())
    ask(options.base, options.base, options.data, options.out / "base.jsonl", options.share)
    for name in names:
        if not (options.models / name).is_dir():
            sys.exit(f"{options.models / name}: no such member; build the zoo first")
        ask(options.models / name, options.base, options.data, options.out / f"{name}.jsonl", options.share)
        found = changes(options.out / "base.jsonl", options.out / f"{name}.jsonl")
        text = ", ".join(f"{m} {100 * c['base']:.0f} -> {100 * c['member']:.0f} %" for m, c in found.items())
        print(f"{name}: {classify(found)}{' (near a limit)' if near_limit(found) else ''}; {text}", flush=True)


if __name__ == "__main__":
    main()
