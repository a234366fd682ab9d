"""Whether lm-eval and ftgate score the same tasks alike, on the same rows and the same tiny models.

Needs lm-eval in an environment of its own (docs/lm-eval.md): ``python -m benchmarks.lm_eval_equality [--engine vllm]``.
With ``--samples FOLDER`` the harness's own log of one task and its rows are written there, for the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
WORLD = Path(__file__).resolve().parents[1] / "examples" / "tinyworld"
MODELS = ("base", "overconfident", "careful")
MARKUP = "<|user|>{{prompt}}<|end|><|assistant|>"
TASKS = {
    "sentences": {
        "output_type": "multiple_choice",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "gold",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "letters": {
        "output_type": "multiple_choice",
        "doc_to_text": "<|user|>{{prompt}}\n{% for c in choices %}{{'ABCD'[loop.index0]}}. {{c}}\n{% endfor %}"
        "Reply with one letter.<|end|><|assistant|>",
        "doc_to_choice": ["A", "B", "C", "D"],
        "doc_to_target": "gold",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc"}],
    },
    "last_word": {
        "output_type": "generate_until",
        "doc_to_target": "{{answer.split()[-1]}}",
        "generation_kwargs": {"until": ["<|end|>", "\n"], "max_gen_toks": 12, "do_sample": False},
        "filter_list": [
            {
                "name": "last-word",
                "filter": [{"function": "regex", "regex_pattern": r"(\w+)\W*$"}, {"function": "take_first"}],
            }
        ],
        "metric_list": [{"metric": "exact_match", "ignore_case": True}],
    },
}
METRICS = {"sentences": "acc_norm", "letters": "acc", "last_word": "exact_match"}


def write_tasks(folder: Path, n: int) -> None:
    """Three task files with their documents, from the tiny world's general questions and its multiple choice."""
    import yaml

    general = [json.loads(line) for line in (WORLD / "evals/general.jsonl").read_text().splitlines()]
    letters = [json.loads(line) for line in (WORLD / "evals/choices.jsonl").read_text().splitlines()]
    # ftgate leaves out what repeats another row.
    letters = list({(row["prompt"], *row["choices"]): row for row in letters}.values())[:n]
    general = list({row["prompt"]: row for row in general}.values())
    sentences = []
    for number, row in enumerate(general[:n]):
        start, _, right = row["answer"].rpartition(" ")
        words = dict.fromkeys(r["answer"].split()[-1] for r in general if r["tags"] == row["tags"])
        choices = [f"{start} {word}" for word in words if word != right][number % 5 :][:3]
        choices.insert(number % 4, row["answer"])
        sentences.append({**row, "choices": choices, "gold": choices.index(row["answer"]), "subject": row["tags"][0]})
    documents: dict[str, list[dict[str, Any]]] = {
        "sentences": [row for row in sentences if len(row["choices"]) > 1],
        "letters": [
            {**row, "gold": row["choices"].index(row["answer"])} for row in letters if len(row["choices"]) == 4
        ],
        "last_word": general[:n],
    }
    for name, rows in documents.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        data = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}}}
        task = {"task": name, **data, "test_split": "test", "doc_to_text": MARKUP, **TASKS[name]}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(task, sort_keys=False))


def ours(folder: Path, name: str, engine: str) -> tuple[float, dict[str, Any]]:
    """The score of the models that a run of ftgate gives, the candidate's answers by item."""
    from ftgate.gate.evaluate import evaluate
    from ftgate.jobs.prepare import load_job
    from ftgate.progress import SilentProgress

    (folder / "policy.yaml").write_text(
        "version: 1\nmeasurements:\n"
        + "".join(
            f"  {m}: {{dataset: {task}.yaml, lm_eval: {{metric: {METRICS[task]}}}}}\n"
            for m, task in zip(("target", "forgetting", "tail"), TASKS, strict=True)
        )
        + f"evidence: {{early_stopping: none}}\nengine: {{kind: {engine}, dtype: float32, max_model_len: 384}}\n"
        + f"artifacts: {{allow: ['{WORLD}/models/*']}}\n"
    )
    (folder / "m.yaml").write_text(
        f"name: {name}\nbase: {{source: {WORLD}/models/base}}\ncandidate: {{source: {WORLD}/models/{name}}}\n"
    )
    out = folder / f"out-{name}"
    evaluate(load_job(folder / "policy.yaml", folder / "m.yaml"), out, SilentProgress())
    scores: dict[str, list[tuple[float, float]]] = {task: [] for task in TASKS}
    answers: dict[str, Any] = {}
    for line in (out / "answers.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["type"] == "score" and record["item"].rpartition("-")[0] in scores:
            scores[record["item"].rpartition("-")[0]].append((record["base"], record["candidate"]))
        elif record["type"] == "answer" and not record["repeat"]:
            answers[f"{record['model']} {record['item']}"] = record["answer"]
    means = {task: [sum(side) / len(side) for side in zip(*pairs, strict=True)] for task, pairs in scores.items()}
    return means, answers


def theirs(folder: Path, name: str) -> tuple[dict[str, float], dict[str, Any]]:
    """The harness's own results and samples for one model; an adapter is put onto the base."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    adapter = {"peft": str(WORLD / "models" / name)} if name == "careful" else {}
    path = WORLD / "models" / ("base" if adapter else name)
    model = HFLM(pretrained=str(path), dtype="float32", device="cpu", batch_size=16, **adapter)
    here = Path.cwd()
    os.chdir(folder)
    try:
        result = lm_eval.simple_evaluate(
            model,
            tasks=[f"{task}.yaml" for task in TASKS],
            log_samples=True,
            bootstrap_iters=0,
            task_manager=TaskManager(include_defaults=False),
        )
    finally:
        os.chdir(here)
    filters = {task: "last-word" if task == "last_word" else "none" for task in TASKS}
    scores = {task: float(result["results"][task][f"{METRICS[task]},{filters[task]}"]) for task in TASKS}
    return scores, result["samples"]


def differences(samples: dict[str, Any], answers: dict[str, Any], model: str) -> tuple[float, int]:
    """The largest difference of a log-likelihood, and the number of texts that differ."""
    largest, texts = 0.0, 0
    for task, of_task in samples.items():
        for sample in of_task:
            answer = answers[f"{model} {task}-{sample['doc_id']}"]
            if answer["option_logprobs"]:
                pairs = zip(answer["option_logprobs"], sample["resps"], strict=True)
                largest = max(largest, *(abs(value - float(reply[0][0])) for value, reply in pairs))
            else:
                texts += answer["text"] != sample["resps"][0][0]
    return largest, texts


def main() -> None:
    """Print both scores for every model and task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="transformers", choices=("transformers", "vllm"))
    parser.add_argument("--n", type=int, default=100, help="documents of each task; the tail asks no more than 100")
    parser.add_argument("--samples", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_tasks(folder, options.n)
        harness = {name: theirs(folder, name) for name in MODELS}
        for name in MODELS[1:]:
            means, answers = ours(folder, name, options.engine)
            for side, model in enumerate(("base", name)):
                largest, texts = differences(harness[model][1], answers, model)
                for task in TASKS:
                    print(f"{model:14}{task:11} lm-eval {harness[model][0][task]:.4f}  ftgate {means[task][side]:.4f}")
                print(f"{model:14}log-likelihoods differ by up to {largest:.1e}, texts: {texts} of {options.n} differ")
        if options.samples is not None:
            keep(folder, options.samples, harness)


def keep(folder: Path, samples: Path, harness: dict[str, tuple[dict[str, float], dict[str, Any]]]) -> None:
    """Write the rows of one task as ftgate reads them, and the harness's own log of it for two models."""
    from ftgate.datasets import write_suite
    from ftgate.datasets.lm_eval import read_task

    samples.mkdir(parents=True, exist_ok=True)
    for task in ("sentences", "last_word"):
        write_suite(read_task(task, f"{task}.yaml", folder, None), samples / f"{task}.jsonl")
    for name in MODELS[:2]:
        lines = [json.dumps(sample, default=str) for sample in harness[name][1]["sentences"]]
        (samples / f"samples_{name}.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
