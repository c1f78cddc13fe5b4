"""Every question in docs/questions.md has a command that answers it with what is promised there."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from sim.cli.main import cli

PAGE = Path(__file__).resolve().parents[1] / "docs" / "questions.md"
QUICK = ["--requests", "60", "--seeds", "1", "--jobs", "1", "--quiet"]
LEAST_QUESTIONS = 13


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, what answers it, and what the answer has to hold."""

    title: str
    command: str
    promised: str


def questions() -> list[Question]:
    found = []
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        command = re.search(r"```sh\nsimctl (.*)\n```", part)
        promised = re.search(r"<!-- promised: (.*) -->", part)
        assert command, part
        assert promised, part
        found.append(Question(part.splitlines()[0], command[1], promised[1]))
    return found


def test_no_question_has_gone() -> None:
    assert len(questions()) >= LEAST_QUESTIONS


@pytest.mark.parametrize("question", questions(), ids=lambda question: question.title)
def test_the_command_answers_the_question(question: Question) -> None:
    words = shlex.split(question.command)
    done = CliRunner().invoke(cli, words if "--dry-run" in words else [*words, *QUICK], prog_name="simctl")
    assert done.exit_code == 0, done.stderr
    on_one_line = re.sub(r"\n +", " ", done.stdout)
    assert re.search(question.promised, on_one_line), done.stdout
