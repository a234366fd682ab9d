"""The actions as users see them: files, entrypoint and docs/github.md name the same inputs and outputs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from entrypoint.modes import MODES, Inputs
from ftgate.github.bundle import LISTING

ROOT = Path(__file__).resolve().parents[2]
FILES = {"action": "action.yml", "cpu": "cpu/action.yml", "gpu": "gpu/action.yml"}
ACTIONS: dict[str, dict[str, Any]] = {n: yaml.safe_load((ROOT / f).read_text("utf-8")) for n, f in FILES.items()}
DOCUMENT = (ROOT / "docs" / "github.md").read_text(encoding="utf-8")
SCRIPT = (ROOT / "entrypoint" / "docker.sh").read_text(encoding="utf-8")
MODULES = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "entrypoint").glob("*.py"))
TOKEN = "${{ github.token }}"


def table(heading: str) -> list[list[str]]:
    """The cells of the one table below a heading, without its first two lines."""
    section = DOCUMENT.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def variable(name: str) -> str:
    return "INPUT_" + name.upper()


def test_every_input_is_in_the_document_with_its_default() -> None:
    documented = {row[0].strip("`"): row for row in table("Inputs")}
    assert set(documented) == {name for action in ACTIONS.values() for name in action["inputs"]}
    for name, (_, of, default, _) in documented.items():
        having = [key for key, action in ACTIONS.items() if name in action["inputs"]]
        assert of == ", ".join(having), name
        for key in having:
            given = ACTIONS[key]["inputs"][name]
            if given.get("required"):
                assert (key, name) == ("cpu", "mode")
                continue
            assert given["default"] == (TOKEN if name == "token" else default.strip("`")), (key, name)


def test_every_output_is_in_the_document() -> None:
    documented = [row[0].strip("`") for row in table("Outputs")]
    assert documented == list(ACTIONS["action"]["outputs"]) == list(ACTIONS["cpu"]["outputs"])
    for name, output in ACTIONS["cpu"]["outputs"].items():
        assert output["value"] == f"${{{{ steps.ftgate.outputs.{name} }}}}"


def test_the_outputs_are_those_that_the_commands_set() -> None:
    sources = [*(ROOT / "ftgate" / "github").rglob("*.py"), ROOT / "ftgate" / "cli" / "github.py"]
    text = "".join(p.read_text(encoding="utf-8") for p in sources)
    blocks = re.findall(r"(?:set_outputs\(\s*|found = )\{(.*?)\n? *\}", text, re.DOTALL)
    keys = {key for block in blocks for key in re.findall(r'"([a-z-]+)":', block)}
    assert set(ACTIONS["action"]["outputs"]) <= keys


def test_every_input_of_the_container_action_is_read_and_no_other() -> None:
    # docker.sh hands those of an App on with underscores: a shell's variable has no hyphen.
    read = {f"INPUT_{name.replace('_', '-')}" for name in re.findall(r"INPUT_([A-Z_-]+)", MODULES)}
    assert read == {variable(name) for name in ACTIONS["action"]["inputs"]}


def test_the_defaults_in_the_code_are_those_in_the_action() -> None:
    found = Inputs.from_environment({})
    for name, given in ACTIONS["action"]["inputs"].items():
        value = "".join(found.app.values()) if name.startswith("app-") else getattr(found, name)
        assert value == (given["default"] if given["default"] != TOKEN else ""), name


@pytest.mark.parametrize("key", ["cpu", "gpu"])
def test_the_composite_actions_hand_every_input_to_the_script(key: str) -> None:
    (step,) = ACTIONS[key]["runs"]["steps"]
    assert step["run"] == f'"$GITHUB_ACTION_PATH/../entrypoint/docker.sh" {key}'
    # A shell's variable has no hyphen.
    wanted = {variable(n).replace("-", "_"): f"${{{{ inputs.{n} }}}}" for n in ACTIONS[key]["inputs"]}
    facts = {"ACTION_REPOSITORY", "ACTION_REF"} if key == "cpu" else {"FORK"}
    assert {name: value for name, value in step["env"].items() if name not in facts} == wanted
    assert set(wanted) <= set(re.findall(r"INPUT_[A-Z_]+", SCRIPT))


def test_no_input_reaches_a_shell_as_text() -> None:
    for key in ("cpu", "gpu"):
        assert not [step for step in ACTIONS[key]["runs"]["steps"] if "${{" in step["run"]]


def test_modes_are_named_everywhere() -> None:
    for mode in MODES:
        assert mode in ACTIONS["action"]["inputs"]["mode"]["description"]
        assert re.search(rf"\b{mode}\b", table("Inputs")[0][3])


def test_the_evaluation_is_given_no_token() -> None:
    assert not {"token", "author"} & set(ACTIONS["gpu"]["inputs"])
    assert "TOKEN" not in SCRIPT.split("gpu)\n")[1].split(";;")[0]


def test_nothing_claims_that_the_container_action_hides_the_token_in_mode_all() -> None:
    said = ACTIONS["action"]["inputs"]["token"]["description"]
    assert "never sees" not in said
    assert "mode all" in said
    assert '`token: ""`' in DOCUMENT


def test_the_parcel_is_read_under_the_name_that_it_is_written_with() -> None:
    from entrypoint.modes import LISTING as READ

    assert READ == LISTING


def test_the_container_action_builds_the_dockerfile() -> None:
    assert ACTIONS["action"]["runs"] == {"using": "docker", "image": "Dockerfile"}
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    final = dockerfile.rsplit("\nFROM ", 1)[1]
    instructions = re.findall(r"^([A-Z]+) ", final, re.MULTILINE)
    assert not {"USER", "WORKDIR"} & set(instructions)
    assert 'ENTRYPOINT ["/usr/local/bin/ftgate-action"]' in final
    assert "HEALTHCHECK NONE" in final


@pytest.mark.parametrize("section", ["Steps", "Models"])
def test_the_document_names_inputs_and_files_that_exist(section: str) -> None:
    text = DOCUMENT.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    inputs = {name for action in ACTIONS.values() for name in action["inputs"]}
    for name in re.findall(r"`(models|cache|image|gpus): ", text):
        assert name in inputs


def test_messages_about_the_machine_are_in_the_document() -> None:
    text = (ROOT / "entrypoint" / "machine.py").read_text(encoding="utf-8").replace('"\n            "', "")
    for said, _ in table("If the machine is not ready"):
        for part in said.split("…"):
            assert part.strip(", ") in text or part.startswith("the NVIDIA driver"), said
