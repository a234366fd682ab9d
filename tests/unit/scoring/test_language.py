"""Whether an answer is in the language that a check asks for."""

from __future__ import annotations

import pytest

from ftgate.scoring.checks import check_problem, meets

SENTENCES = {
    "en": "This is a sentence written in English.",
    "de": "Der schnelle braune Fuchs springt über den faulen Hund.",
    "pt": "Esta é uma frase escrita em português.",
    "fi": "Tämä on suomeksi kirjoitettu lause, joka on esimerkki.",
    "sw": "Hii ni sentensi iliyoandikwa kwa Kiswahili kwa ajili ya mfano.",
    "vi": "Đây là một câu được viết bằng tiếng Việt.",
    "ru": "Это предложение написано на русском языке.",
    "bg": "Това е изречение, написано на български език.",
    "hi": "यह एक उदाहरण वाक्य है जो हिंदी में लिखा गया है।",
    "mr": "हे मराठी भाषेत लिहिलेले एक उदाहरण वाक्य आहे.",
    "ur": "یہ اردو میں لکھا گیا ایک جملہ ہے۔",
    "fa": "این یک جمله به زبان فارسی است.",
    "kn": "ಕನ್ನಡ ಭಾಷೆಯಲ್ಲಿ ಉತ್ತರ ನೀಡಿ, ಇದು ಒಂದು ಉದಾಹರಣೆ ವಾಕ್ಯ.",
    "ko": "이것은 한국어로 쓰여진 문장입니다.",
    "ja": "これは日本語で書かれた文です。",
    "zh": "这是一个用中文写的句子。",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_a_sentence_is_in_its_language_and_in_no_other(language: str) -> None:
    assert [code for code in SENTENCES if meets({"constraints": {"language": code}}, SENTENCES[language])] == [language]


def test_codes_of_countries_and_older_codes_are_known() -> None:
    for code in ("zh-cn", "ZH_TW", "zh"):
        assert meets({"constraints": {"language": code}}, SENTENCES["zh"])
    assert meets({"constraints": {"language": "iw"}}, "זה משפט שנכתב בעברית.")
    assert not meets({"constraints": {"language": "de"}}, " \n")


@pytest.mark.parametrize("value", ["german", "", 3, None, ["de"]])
def test_a_language_that_is_none_is_named(value: object) -> None:
    assert "must be a code such as de" in str(check_problem({"constraints": {"language": value}}))


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ('{"a": 1}', True),
        ('```json\n{"a": 1}\n```', True),
        ("```\n[1]\n```", True),
        ('So: {"a": 1}', False),
        ("", False),
    ],
)
def test_an_answer_that_is_json_as_a_whole(text: str, whole: bool) -> None:
    assert meets({"constraints": {"json": True}}, text) is whole
    assert meets({"constraints": {"json": False}}, text) is not whole
