"""Options of every command: one that has one value is given once."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from ftgate.cli.common import Command
from ftgate.cli.main import cli, main
from ftgate.errors import ExitCode


def every_command(of: click.Group) -> Iterator[click.Command]:
    for command in of.commands.values():
        yield from every_command(command) if isinstance(command, click.Group) else (command,)


def test_no_command_takes_the_last_of_two_values_in_silence() -> None:
    commands = list(every_command(cli))
    assert len(commands) > 20
    assert [command.name for command in commands if not isinstance(command, Command)] == []


@pytest.mark.parametrize("arguments", [["run", "--policy", "a", "--policy", "b"], ["report", "x", "--help"]])
def test_an_option_that_is_given_twice_is_named(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    twice = "--policy" in arguments
    assert stop.value.code == (ExitCode.USAGE if twice else 0)
    assert ("--policy is given 2 times" in capsys.readouterr().err) == twice


def test_what_can_be_repeated_still_can() -> None:
    run = cli.commands["run"]
    with run.make_context("run", ["--candidate", "a", "--candidate", "b", "--offline", "--offline"]) as context:
        assert context.params["candidate"] == ("a", "b")
