"""vLLM against the reference, and one test for each of its known traps."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engines.tiny import TinyModels, choices, make_llama, make_tokenizer, model_at, question
from ftgate.config.engine import EngineSettings
from ftgate.domain import Answer, Message, Model
from ftgate.engines.base import Ask, Engine
from ftgate.errors import ArtifactError, EngineError

if TYPE_CHECKING:
    from ftgate.engines.transformers import TransformersEngine
    from ftgate.engines.vllm.engine import VllmEngine

pytestmark = pytest.mark.engine
TOLERANCE = 1e-3


def answers(engine: Engine, asks: list[Ask]) -> list[Answer]:
    return [answer for _, answer in sorted(engine.ask(asks), key=lambda pair: pair[0])]


def largest_gap(one: list[Answer], two: list[Answer]) -> float:
    """The largest difference between two lists of option log-probabilities."""
    pairs = [
        (a, b) for x, y in zip(one, two, strict=True) for a, b in zip(x.option_logprobs, y.option_logprobs, strict=True)
    ]
    assert pairs
    return max(abs(a - b) for a, b in pairs)


def test_option_logprobs_equal_the_reference(
    vllm_engine: VllmEngine, transformers_engine: TransformersEngine, tiny: TinyModels
) -> None:
    asks = [Ask(model, q) for q in choices(12) for model in tiny.runnable]
    assert largest_gap(answers(vllm_engine, asks), answers(transformers_engine, asks)) < TOLERANCE


def test_greedy_text_equals_the_reference(
    vllm_engine: VllmEngine, transformers_engine: TransformersEngine, tiny: TinyModels
) -> None:
    asks = [
        Ask(m, question(f"{t} is", max_tokens=n)) for t in ("red", "a cave") for n in (3, 12) for m in tiny.runnable
    ]
    ours, reference = answers(vllm_engine, asks), answers(transformers_engine, asks)
    assert ours == reference
    assert len({answer.text for answer in ours}) > len(tiny.runnable), "greedy text must depend on prompt and model"


def test_probe_equals_the_reference(
    vllm_engine: VllmEngine, transformers_engine: TransformersEngine, tiny: TinyModels
) -> None:
    prompts = [(Message("user", text),) for text in ("which home", "what colour is the river")]
    for model in tiny.runnable:
        ours, reference = (engine.probe(model, prompts, top=10) for engine in (vllm_engine, transformers_engine))
        for mine, theirs in zip(ours, reference, strict=True):
            assert mine.keys() == theirs.keys()
            assert all(mine[token] == pytest.approx(theirs[token], abs=TOLERANCE) for token in mine)


def test_trap_1_rows_of_base_and_adapters_do_not_touch_in_one_call(vllm_engine: VllmEngine, tiny: TinyModels) -> None:
    models = (tiny.base, tiny.real, tiny.other)
    questions = choices(10)
    apart = {m.name: answers(vllm_engine, [Ask(m, q) for q in questions]) for m in models}
    mixed = [Ask(m, q) for q in questions for m in models]
    together = answers(vllm_engine, mixed)
    for number, model in enumerate(models):
        assert largest_gap(together[number :: len(models)], apart[model.name]) < 1e-4
    assert largest_gap(apart["base"], apart["real"]) > 0.1
    assert largest_gap(apart["base"], apart["other"]) > 0.01


def test_trap_2_an_adapter_without_effect_shows_in_the_probe(vllm_engine: VllmEngine, tiny: TinyModels) -> None:
    prompts = [(Message("user", text),) for text in ("which home", "what colour", "a cave in the forest")]
    base, idle, real = (vllm_engine.probe(model, prompts) for model in (tiny.base, tiny.idle, tiny.real))
    for one, two in zip(base, idle, strict=True):
        assert one == pytest.approx(two, abs=1e-5)
    for one, two in zip(base, real, strict=True):
        assert max(abs(one[token] - two.get(token, -99.0)) for token in one) > 0.05


def test_trap_3_an_adapter_that_does_not_fit_is_named(
    tiny: TinyModels, settings: EngineSettings, tmp_path: Path
) -> None:
    from ftgate.engines.vllm.engine import VllmEngine

    bad = tmp_path / "misfit"
    shutil.copytree(tiny.real.path, bad)
    config = json.loads((bad / "adapter_config.json").read_text())
    (bad / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True}))
    engine = VllmEngine(settings, log_path=tmp_path / "engine.log")
    try:
        with pytest.raises(ArtifactError, match=r"misfit.*does not load onto base.*DoRA"):
            engine.require([model_at(bad, tiny.base, 8)])
    finally:
        engine.close()


def test_trap_3_weights_that_cannot_be_read_are_named(
    tiny: TinyModels, settings: EngineSettings, tmp_path: Path
) -> None:
    from ftgate.engines.vllm.engine import VllmEngine

    broken = tmp_path / "broken"
    shutil.copytree(tiny.base.path, broken)
    (broken / "model.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00not a header....")
    engine = VllmEngine(settings, log_path=tmp_path / "engine.log")
    with pytest.raises(EngineError, match=r"could not start broken .*Error") as caught:
        engine.require([model_at(broken)])
    assert "engine.log" in caught.value.hint
    assert engine.starts == 0
    engine.close()


def test_trap_4_scores_are_normalised_over_the_whole_vocabulary(vllm_engine: VllmEngine, tiny: TinyModels) -> None:
    """Two options of the same prompt score the same whichever others are asked about."""
    few, many = answers(
        vllm_engine, [Ask(tiny.base, question("which?", options)) for options in (("A", "B"), tuple("ABCDEF"))]
    )
    assert few.option_logprobs == pytest.approx(many.option_logprobs[:2], abs=1e-5)
    assert sum(map(math.exp, many.option_logprobs)) < 0.99


def test_trap_4_the_probe_agrees_with_option_reads(vllm_engine: VllmEngine, tiny: TinyModels) -> None:
    """The option's log-probability is the logarithm of the summed probability of "A" and " A"."""
    prompt = question("which?", ("A", "B"))
    renderer = vllm_engine._running[tiny.base.path].renderers.of(tiny.base)
    prepared = renderer.prepare(prompt)
    assert not isinstance(prepared, Answer)
    table = vllm_engine.probe(tiny.base, [prompt.messages], top=100)[0]
    (read,) = answers(vllm_engine, [Ask(tiny.base, prompt)])
    for variants, value in zip(prepared.options, read.option_logprobs, strict=True):
        if all(token in table for token in variants):
            assert math.exp(value) == pytest.approx(sum(math.exp(table[token]) for token in variants), rel=1e-4)


def test_trap_4_a_prefix_cache_hit_changes_nothing(vllm_engine: VllmEngine, tiny: TinyModels) -> None:
    long = " ".join(["the red cave in a forest"] * 30)
    asks = [Ask(model, question(f"{long} {i}", ("A", "B"))) for i in range(2) for model in (tiny.base, tiny.real)]
    llm = vllm_engine._running[tiny.base.path].llm
    assert llm.reset_prefix_cache()
    cold = answers(vllm_engine, asks)
    warm = answers(vllm_engine, asks)
    assert all(answer.finish == "stop" for answer in cold)
    assert largest_gap(cold, warm) < 1e-4
    ids = vllm_engine._running[tiny.base.path].renderers.of(tiny.base).prompt(asks[0].question.messages)
    (output,) = llm.generate([{"prompt_token_ids": ids}], use_tqdm=False)
    assert output.num_cached_tokens > 0, "the second reading must have come from the cache"


def test_prompts_share_what_they_begin_with_in_pieces_of_32_tokens(vllm_engine: VllmEngine, tiny: TinyModels) -> None:
    llm, renderer = (
        vllm_engine._running[tiny.base.path].llm,
        vllm_engine._running[tiny.base.path].renderers.of(tiny.base),
    )
    assert llm.reset_prefix_cache()
    shared = " ".join(["the red cave in a forest"] * 6)
    prompts = [renderer.prompt([Message("user", f"{shared} {end}")]) for end in ("red", "cave")]
    assert 32 < len(prompts[0]) < 128, "shorter than a block of vLLM's own size"
    outputs = [llm.generate([{"prompt_token_ids": ids}], use_tqdm=False)[0] for ids in prompts]
    assert outputs[0].num_cached_tokens == 0
    assert outputs[1].num_cached_tokens >= 32


def test_trap_4_no_second_beginning_mark(vllm_engine: VllmEngine, tiny: TinyModels) -> None:
    renderer = vllm_engine._running[tiny.base.path].renderers.of(tiny.base)
    ids = renderer.prompt([Message("user", "red")])
    assert ids.count(1) == 1, "the tokenizer would add a second <|begin|> by itself"
    assert ids[0] == 1


def test_trap_4_options_of_different_questions_share_a_batch(vllm_engine: VllmEngine, tiny: TinyModels) -> None:
    sets = (("A", "B"), ("C", "D", "E"), tuple("ABCDEFGH"), ("H",))
    asks = [Ask(tiny.real, question("which?", options)) for options in sets]
    together = answers(vllm_engine, asks)
    alone = [answers(vllm_engine, [ask])[0] for ask in asks]
    assert largest_gap(together, alone) < 1e-5


def test_the_first_start_can_be_replaced_by_one_with_more_adapters(
    tiny: TinyModels, settings: EngineSettings, tmp_path: Path, vllm_engine: VllmEngine
) -> None:
    """And closing an engine leaves the others in this process alive."""
    from ftgate.engines.vllm.engine import VllmEngine

    asks = [Ask(tiny.real, q) for q in choices(3)]
    engine = VllmEngine(settings, log_path=tmp_path / "engine.log")
    engine.require([tiny.real])
    before = answers(engine, asks)
    engine.require([tiny.other])
    assert engine.starts == 2
    assert largest_gap(answers(engine, asks), before) < 1e-5
    engine.close()
    engine.close()
    assert largest_gap(answers(vllm_engine, asks), before) < 1e-5


def test_a_base_starts_with_every_adapter_that_was_reserved(
    tiny: TinyModels, settings: EngineSettings, tmp_path: Path
) -> None:
    from ftgate.engines.vllm.engine import VllmEngine

    engine = VllmEngine(settings, log_path=tmp_path / "engine.log")
    engine.reserve([tiny.base, tiny.real, tiny.other])
    assert engine.starts == 0
    for model in (tiny.real, tiny.other):
        engine.require([tiny.base, model])
        assert answers(engine, [Ask(model, q) for q in choices(2)])[0].option_logprobs
    assert engine.starts == 1
    engine.close()


def test_a_folder_without_chat_template_is_refused(settings: EngineSettings, tmp_path: Path) -> None:
    from ftgate.engines.vllm.engine import VllmEngine

    make_tokenizer(tmp_path / "bare", template=None)
    engine = VllmEngine(settings)
    with pytest.raises(ArtifactError, match="no chat template"):
        engine.require([model_at(tmp_path / "bare")])
    engine.close()


def test_weights_that_are_no_numbers_give_errors_not_scores(settings: EngineSettings, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from ftgate.engines.transformers import TransformersEngine
    from ftgate.engines.vllm.engine import VllmEngine

    folder = tmp_path / "nan"
    make_llama(folder, 1, make_tokenizer(folder))
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = torch.full_like(weights["lm_head.weight"], math.nan)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    model = model_at(folder)
    for engine in (VllmEngine(settings, log_path=tmp_path / "engine.log"), TransformersEngine(settings)):
        engine.require([model])
        (answer,) = answers(engine, [Ask(model, question("which?", ("A", "B")))])
        assert answer.finish == "error"
        assert "not a number" in str(answer.error)
        engine.close()


def test_nothing_is_printed(vllm_engine: VllmEngine, tiny: TinyModels, capfd: pytest.CaptureFixture[str]) -> None:
    answers(vllm_engine, [Ask(tiny.base, q) for q in choices(2)])
    assert capfd.readouterr() == ("", "")


def test_an_engine_that_breaks_says_why(
    vllm_engine: VllmEngine, tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        os.write(2, b"(EngineCore pid=1) torch.OutOfMemoryError: CUDA out of memory\n")
        raise RuntimeError("EngineCore encountered an issue. See stack trace for the root cause.")

    monkeypatch.setattr(vllm_engine._running[tiny.base.path].llm.llm_engine, "step", broken)
    with pytest.raises(EngineError, match=r"stopped while answering: torch\.OutOfMemoryError: CUDA out of memory"):
        answers(vllm_engine, [Ask(tiny.base, q) for q in choices(2)])


def test_an_answer_is_handed_out_when_it_is_finished(vllm_engine: VllmEngine, tiny: TinyModels) -> None:
    queue = vllm_engine._running[tiny.base.path].llm.llm_engine
    lengths = [3, 60, 3, 60]
    asking = vllm_engine.ask([Ask(tiny.base, question(f"{n} is", max_tokens=m)) for n, m in enumerate(lengths)])
    first = [next(asking)[0], next(asking)[0]]
    assert sorted(first) == [0, 2], "the long ones are not waited for"
    assert queue.has_unfinished_requests()
    assert sorted(index for index, _ in asking) == [1, 3]
    assert not queue.has_unfinished_requests()


def test_questions_that_nobody_waits_for_do_not_reach_the_next_ones(vllm_engine: VllmEngine, tiny: TinyModels) -> None:
    queue = vllm_engine._running[tiny.base.path].llm.llm_engine
    asks = [Ask(tiny.base, question(f"{n} is", max_tokens=m)) for n, m in enumerate([3, 60, 60])]
    asking = vllm_engine.ask(asks)
    next(asking)
    assert queue.has_unfinished_requests()
    asking.close()  # type: ignore[attr-defined]
    assert not queue.has_unfinished_requests()
    assert answers(vllm_engine, asks) == [answers(vllm_engine, [ask])[0] for ask in asks]


def test_many_more_questions_than_run_at_once_come_in_the_order_of_their_looks(
    vllm_engine: VllmEngine, tiny: TinyModels
) -> None:
    """Options, texts and continuations of two engines: each answer is that of the question alone."""
    queue = vllm_engine._running[tiny.base.path].llm.llm_engine
    seqs = queue.vllm_config.scheduler_config.max_num_seqs
    texts = [question(f"{n} is", max_tokens=1 + n % 7) for n in range(2 * seqs)]
    continued = [replace(question(f"say {n}", (" red forest", " blue cave river")), continued=True) for n in range(8)]
    questions = [*choices(2 * seqs), *texts, *continued]
    asks = [Ask(m, q, n % 3) for n, q in enumerate(questions) for m in (tiny.base, tiny.real, tiny.full)]
    in_flight, arrived = 0, []
    for index, answer in vllm_engine.ask(asks):
        arrived.append((index, answer))
        in_flight = max(in_flight, queue.get_num_unfinished_requests())
    assert in_flight <= 2 * seqs
    assert sorted(index for index, _ in arrived) == list(range(len(asks)))
    for model in (tiny.base, tiny.real):
        looks = [asks[i].look for i, _ in arrived if asks[i].model == model]
        last_of_first = max(n for n, look in enumerate(looks) if look == 0)
        first_of_last = min(n for n, look in enumerate(looks) if look == 2)
        assert last_of_first < first_of_last, "a look is not waited for by the one after the next"
    by_index = dict(arrived)
    for index in range(0, len(asks), 37):
        (alone,) = answers(vllm_engine, [asks[index]])
        assert by_index[index].text == alone.text
        assert by_index[index].option_logprobs == pytest.approx(alone.option_logprobs, abs=1e-4)


def in_force(engine: VllmEngine, model: Model) -> str:
    """SHA-256 of the embeddings that the engine of ``model`` computes with; vLLM pads them with rows of its own."""
    rows = json.loads((model.path / "config.json").read_text())["vocab_size"]

    def digest(net: Any) -> str:
        held = dict(net.named_parameters())["model.embed_tokens.weight"]
        return hashlib.sha256(held.detach()[:rows].float().cpu().numpy().tobytes()).hexdigest()

    [found] = engine._running[model.path].llm.apply_model(digest)
    return str(found)


def on_disk(model: Model) -> str:
    """SHA-256 of the embeddings in the model's folder."""
    from safetensors.torch import load_file

    held = load_file(model.path / "model.safetensors")["model.embed_tokens.weight"]
    return hashlib.sha256(held.float().numpy().tobytes()).hexdigest()


def test_full_weights_that_take_turns_answer_as_side_by_side(
    vllm_engine: VllmEngine,
    tiny: TinyModels,
    settings: EngineSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One at a time, the one that runs first: a change of model is a start, and nothing else changes."""
    from ftgate.engines.vllm import memory
    from ftgate.engines.vllm.engine import VllmEngine

    monkeypatch.setattr(memory, "device_memory", lambda: 1 << 30)

    asks = [Ask(model, q) for q in choices(6) for model in (tiny.base, tiny.real, tiny.full)]
    engine = VllmEngine(settings, log_path=tmp_path / "engine.log")
    try:
        assert not engine.needs_swap([tiny.base, tiny.real])
        assert engine.needs_swap([tiny.base, tiny.full])
        engine.require([tiny.base, tiny.real, tiny.full])
        assert engine.starts == 1
        with monkeypatch.context() as roomy:
            roomy.setattr(memory, "device_memory", lambda: None)
            together = answers(vllm_engine, asks)
        assert largest_gap(answers(engine, asks), together) < 1e-5
        assert engine.starts == 2
        assert list(engine._running) == [tiny.full.path]
        assert in_force(engine, tiny.full) == on_disk(tiny.full) != on_disk(tiny.base)
        assert largest_gap(answers(engine, asks), together) < 1e-5
        assert engine.starts == 3, "the model that runs is asked first"
        engine.probe(tiny.base, [asks[0].question.messages])
        assert engine.starts == 3
        assert list(engine._running) == [tiny.base.path]
        assert in_force(engine, tiny.base) == on_disk(tiny.base), "nothing of the other is left"
    finally:
        engine.close()
    with pytest.raises(EngineError, match="not loaded"):
        answers(engine, asks)


def test_the_answers_to_an_item_share_the_reading_of_its_prompt(
    vllm_engine: VllmEngine, tiny: TinyModels, tmp_path: Path
) -> None:
    """vLLM's own ``n`` is as many requests with seeds of their own, and shares no more than these do."""
    from vllm import SamplingParams

    from ftgate.engines.vllm.stream import outputs_of

    running = vllm_engine._engine_of(tiny.base)
    prompt = running.renderers.of(running.base).prompt((Message("user", "red forest " * 90),))
    block = running.llm.llm_engine.vllm_config.cache_config.block_size
    assert len(prompt) > block, "only whole blocks are shared"
    sampling = [SamplingParams(max_tokens=2, temperature=1.0, seed=seed) for seed in range(4)]
    outputs = outputs_of(running, [prompt] * 4, sampling, tiny.base, tmp_path / "engine.log")
    shared = [output.num_cached_tokens for _, output in outputs]
    assert sorted(shared)[1:] == [len(prompt) // block * block] * 3
