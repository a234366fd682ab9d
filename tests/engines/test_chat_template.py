"""Questions to token ids."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.tiny import END, SPECIALS, TEMPLATE, TinyModels, make_tokenizer, model_at, question
from ftgate.domain import Answer, Message
from ftgate.engines.chat_template import (
    Renderer,
    TokenizedQuestion,
    context_of,
    control_tokens,
    stop_tokens,
)
from ftgate.engines.template_limits import memory_limit, time_limit
from ftgate.errors import ArtifactError
from ftgate.scoring.choice import LETTERS

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def renderer(tiny: TinyModels) -> Renderer:
    return Renderer(tiny.real, 4096)


def with_template(folder: Path, template: str) -> Renderer:
    make_tokenizer(folder, template)
    return Renderer(model_at(folder), 256)


def reason(renderer: Renderer, text: str, options: tuple[str, ...] = (), max_tokens: int = 1) -> str:
    answer = renderer.prepare(question(text, options, max_tokens))
    assert isinstance(answer, Answer)
    assert answer.finish == "error"
    return str(answer.error)


def test_an_adapter_uses_the_tokenizer_of_its_base(renderer: Renderer, tiny: TinyModels) -> None:
    assert renderer.model == tiny.base
    assert renderer.context == 256, "config.json promises less than the settings allow"


def test_options_are_read_with_and_without_a_space(renderer: Renderer) -> None:
    prepared = renderer.prepare(question("which?", ("A", "B")))
    assert isinstance(prepared, TokenizedQuestion)
    assert [len(tokens) for tokens in prepared.options] == [2, 2]
    spelled = {renderer._tokenizer.decode([token]) for token in prepared.options[0]}
    assert spelled == {"A", " A"}


def test_an_option_of_two_tokens_is_named(renderer: Renderer) -> None:
    assert "'Aq7'" in reason(renderer, "which?", ("B", "Aq7"))
    assert "''" in reason(renderer, "which?", ("B", ""))


def test_options_with_a_common_token_are_named(renderer: Renderer) -> None:
    assert reason(renderer, "which?", ("A", "B", "A")) == "options 'A' and 'A' begin with the same token"


def test_a_prompt_that_is_too_long_is_named_with_both_numbers(renderer: Renderer) -> None:
    message = reason(renderer, "red " * 400, max_tokens=20)
    assert "a context of 256 leaves 236 with 20 for the answer" in message
    assert message.startswith("the prompt has 4")


def test_text_that_is_no_unicode_is_an_error_row(renderer: Renderer) -> None:
    assert "Unicode" in reason(renderer, "a\ud800b", ("A", "B"))


def test_the_longest_prompt_that_fits_is_asked(renderer: Renderer) -> None:
    text = ""
    while isinstance(found := renderer.prepare(question(text + "#")), TokenizedQuestion) and len(found.ids) < 255:
        text += "#"
    assert isinstance(renderer.prepare(question(text + "#")), TokenizedQuestion)
    assert isinstance(renderer.prepare(question(text + "##")), Answer)


def test_special_tokens_and_the_stop_token_are_not_text(renderer: Renderer) -> None:
    red = renderer._tokenizer("red", add_special_tokens=False)["input_ids"]
    assert renderer.text([*red, 2]) == "red"
    assert renderer.text([5, *red]) == "red"
    assert renderer.text([]) == ""


def test_marks_of_a_reasoning_trace_stay_in_the_text_and_those_in_the_prompt_precede_it(tmp_path: Path) -> None:
    from tokenizers import AddedToken, Tokenizer

    make_tokenizer(tmp_path)
    core = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    core.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in ("[THINK]", "[/THINK]")])
    core.save(str(tmp_path / "tokenizer.json"))
    renderer = Renderer(model_at(tmp_path), 256)
    ids = renderer._tokenizer("[THINK]red[/THINK]red", add_special_tokens=False)["input_ids"]
    assert renderer.text([5, *ids, 2]) == "[THINK]red[/THINK]red"
    assert renderer.text(ids[1:], ids[:1]) == "[THINK]red[/THINK]red"
    assert renderer.text(ids[1:], ids) == "red[/THINK]red", "the prompt ends with no mark"


@pytest.mark.parametrize(
    ("opening", "closed"),
    [
        ("<think>\\n", "<think>\\n\\n</think>\\n\\n"),
        ("<think>", "<think></think>"),
        ("[THINK]", "[THINK][/THINK]"),
        ("<|start|>assistant", "<|start|>assistant<|channel|>final<|message|>"),
        ("<thought>\\n", "<thought>\\n\\n</thought>\\n\\n"),
    ],
)
def test_options_are_read_after_a_trace_that_the_template_opens(tmp_path: Path, opening: str, closed: str) -> None:
    opens = with_template(tmp_path / "opens", TEMPLATE + "{{ '" + opening + "' }}")
    ends = with_template(tmp_path / "ends", TEMPLATE + "{{ '" + closed + "' }}")
    asked, answered = question("the sky", ("a", "b")), opens.prepare(question("the sky"))
    prepared, expected = opens.prepare(asked), ends.prepare(asked)
    assert isinstance(prepared, TokenizedQuestion)
    assert isinstance(expected, TokenizedQuestion)
    assert isinstance(answered, TokenizedQuestion)
    assert prepared == expected
    assert answered.ids == prepared.ids, "a text does not begin within the trace either, where thinking is off"


def test_options_are_never_read_inside_a_trace(tmp_path: Path) -> None:
    opens = with_template(tmp_path, TEMPLATE + "{{ '<|my:think|>' }}")
    assert "nothing is read inside one" in reason(opens, "the sky", ("a", "b"))


def test_a_template_error_is_an_error_row(tmp_path: Path) -> None:
    picky = TEMPLATE + "{% if messages | length == 2 %}{{ raise_exception('not two turns') }}{% endif %}"
    renderer = with_template(tmp_path, picky)
    turns = (Message("user", "x"), Message("user", "y"))
    answer = renderer.prepare(question("x").__class__("m", "i", turns))
    assert isinstance(answer, Answer)
    assert "not two turns" in str(answer.error)
    with pytest.raises(ArtifactError, match="not two turns"):
        renderer.prompt(turns)


def test_a_template_that_writes_the_time_does_not_think(tmp_path: Path) -> None:
    make_tokenizer(tmp_path, TEMPLATE + "{{ strftime_now('%H%M%S%f') }}")
    assert not Renderer(model_at(tmp_path), 256, "template", 64).thinks


def test_a_template_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftgate.engines.chat_template.TEMPLATE_SECONDS", 0.2)
    loop = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}"
    renderer = with_template(tmp_path, loop + "{% endfor %}{% endfor %}" + TEMPLATE)
    before = time.process_time()
    for _ in range(20):
        assert "longer than 0.2 s" in reason(renderer, "which?")
    assert time.process_time() - before < 0.2, "it is not tried again"


def test_the_time_limit_leaves_no_timer_behind() -> None:
    with time_limit(5):
        pass
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
    with pytest.raises(TimeoutError):
        _work_under_a_limit()


def _work_under_a_limit() -> None:
    end = time.process_time() + 5
    with time_limit(0.05):
        while time.process_time() < end:
            pass


def test_the_memory_limit_is_lifted_again() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(MemoryError), memory_limit(1 << 20):
        bytearray(1 << 30)
    with memory_limit(1 << 20):
        pass
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert len(bytearray(1 << 24)) == 1 << 24


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}[INST]{{ m['content'] }}[/INST]{% endfor %}",
        "{% for m in messages %}{{ m['content'] | upper }}{% endfor %} =",
        "{{ messages[-1]['content'] }}",
    ],
    ids=["no generation prompt", "changes the text", "nothing but the text"],
)
def test_options_are_found_after_unusual_templates(tmp_path: Path, template: str) -> None:
    prepared = with_template(tmp_path, template).prepare(question("which one is it?", ("A", "B")))
    assert isinstance(prepared, TokenizedQuestion)
    assert all(tokens for tokens in prepared.options)


def test_a_word_start_mark_is_part_of_the_option(tmp_path: Path) -> None:
    """Tokenizers in the manner of SentencePiece write the first word after a special token as "▁A"."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    vocabulary = {"<unk>": 0, "<|assistant|>": 1, "▁A": 2, "▁B": 3, "A": 4, "B": 5, "▁": 6, "▁hi": 7}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    core.add_special_tokens([AddedToken("<|assistant|>", special=True, normalized=False)])
    core.save(str(tmp_path / "tokenizer.json"))
    template = "{{ messages[0]['content'] }}<|assistant|>"
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<unk>", "chat_template": template}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    prepared = Renderer(model_at(tmp_path), 64).prepare(question("hi", ("A", "B")))
    assert isinstance(prepared, TokenizedQuestion)
    assert prepared.options == ((2,), (3,))


def test_all_52_option_letters_are_tokens_of_their_own(renderer: Renderer) -> None:
    prepared = renderer.prepare(question("which?", tuple(LETTERS)))
    assert isinstance(prepared, TokenizedQuestion)
    assert len({token for tokens in prepared.options for token in tokens}) >= len(prepared.options) == 52


def test_every_declared_end_stops_an_answer(tiny: TinyModels, tmp_path: Path) -> None:
    shutil.copytree(tiny.base.path, tmp_path / "m")
    (tmp_path / "m" / "generation_config.json").write_text('{"eos_token_id": [7, 9]}')
    tokenizer = Renderer(tiny.base, 256)._tokenizer
    assert tokenizer.eos_token == END
    assert stop_tokens(tmp_path / "m", tokenizer) == {2, 7, 9}


def test_the_context_of_a_model_with_a_text_part(tmp_path: Path) -> None:
    assert context_of(tmp_path) is None
    (tmp_path / "config.json").write_text('{"text_config": {"max_position_embeddings": 77}}')
    assert context_of(tmp_path) == 77


def test_a_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="the tokenizer cannot be read"):
        Renderer(model_at(tmp_path), 64)


# What no rule about the look of a token would find, and one that begins inside another.
ODD = ("~~EOT~~", "sop", ">>QUESTION<<", "~~EOT~~sop>>")
ADDED = ("<think>", "[[turn]]")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    """A tokenizer with odd control tokens, added markup, and added words that are text like any other."""
    from tokenizers import AddedToken, Tokenizer

    folder = tmp_path_factory.mktemp("odd")
    make_tokenizer(folder)
    core = Tokenizer.from_file(str(folder / "tokenizer.json"))
    core.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in ODD])
    core.add_tokens([AddedToken(text, special=False, normalized=False) for text in (*ADDED, "    ", "ö", "red river")])
    core.save(str(folder / "tokenizer.json"))
    return Renderer(model_at(folder), 4096)


def controls_in(renderer: Renderer, text: str, *, untrusted: bool) -> int:
    prepared = renderer.prepare(replace(question(text), untrusted=untrusted))
    assert isinstance(prepared, TokenizedQuestion)
    return sum(number in control_tokens(renderer._tokenizer) for number in prepared.ids)


def test_control_tokens_are_the_special_ones_and_markup(odd: Renderer) -> None:
    assert set(control_tokens(odd._tokenizer).values()) == {*SPECIALS, *ODD, *ADDED}


@settings(deadline=None)
@given(st.lists(st.sampled_from([*SPECIALS, *ODD, *ADDED, "~", "<", ">", "|", "    ", "ö", "red river", "\n"])))
def test_untrusted_text_holds_no_control_token_of_the_model(odd: Renderer, parts: list[str]) -> None:
    text = "".join(parts)
    assert controls_in(odd, text, untrusted=True) == controls_in(odd, "plain", untrusted=True)


def test_only_text_that_is_declared_untrusted_is_touched(odd: Renderer) -> None:
    tokens = [*SPECIALS, *ODD, *ADDED]
    assert controls_in(odd, " ".join(tokens), untrusted=False) >= len(tokens)
    for text in ("which home?", "red river    ö <div> a < b |> c"):
        trusted, untrusted = (odd.prepare(replace(question(text), untrusted=flag)) for flag in (False, True))
        assert trusted == untrusted


def test_the_options_of_untrusted_text_are_read_as_ever(odd: Renderer) -> None:
    prepared = odd.prepare(replace(question("~~EOT~~", ("A", "B")), untrusted=True))
    assert isinstance(prepared, TokenizedQuestion)
    assert all(prepared.options)


def test_a_control_token_that_no_space_breaks_is_an_error_row(tmp_path: Path) -> None:
    """A tokenizer that drops spaces before it looks for its tokens would put the mark together again."""
    from tokenizers import AddedToken, Tokenizer, normalizers

    make_tokenizer(tmp_path)
    core = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    core.normalizer = normalizers.Replace(" ", "")
    core.add_special_tokens([AddedToken("~~EOT~~", special=True, normalized=True)])
    core.save(str(tmp_path / "tokenizer.json"))
    renderer = Renderer(model_at(tmp_path), 256)
    answer = renderer.prepare(replace(question("a ~~EOT~~"), untrusted=True))
    assert isinstance(answer, Answer)
    assert "control token" in str(answer.error)


def test_an_unknown_character_is_no_control_token(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    core = Tokenizer(models.WordLevel({"<unk>": 0, "hi": 1, "</s>": 2}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.save(str(tmp_path / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "eos_token": "</s>"}
    config["chat_template"] = "{{ messages[0]['content'] }}"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    prepared = Renderer(model_at(tmp_path), 64).prepare(replace(question("hi 你 </s>"), untrusted=True))
    assert isinstance(prepared, TokenizedQuestion)
    assert 2 not in prepared.ids
