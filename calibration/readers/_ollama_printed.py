"""The blocks of figures that `ollama run --verbose` prints, each with what a terminal shows above it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

PRINTED = (  # in this order
    *("total duration", "load duration"),
    *("prompt eval count", "prompt eval duration", "prompt eval rate"),
    *("eval count", "eval duration", "eval rate"),
)
FIGURE = re.compile(rf"\W*({'|'.join(PRINTED)}):\s+(\S.*)")  # a spinner may be left before it
ESCAPES = re.compile(r"\x1b(?:\[[0-?]{0,32}[ -/]{0,4}[@-~]|\][^\x07\x1b\n]{0,200}(?:\x07|\x1b\\)|[^\[\]\n])")
COMMAND = re.compile(r"(?:.{0,200}[$#>%❯] ?)?ollama run (?=.*--verbose)(?:-\S+ +)*([^-\s]\S*).*")
ASKED, FORGETS = ">>> ", (">>> /clear", ">>> /load")


@dataclass(slots=True)
class Block:
    """The figures below one answer."""

    line: int
    model: str  # blank where no command stands above it
    continues: bool  # a conversation, whose beginning the server has kept
    figures: dict[str, str] = field(default_factory=dict)

    def is_past(self, name: str) -> bool:
        """Whether a figure of this name can only belong to the next block."""
        return any(PRINTED.index(name) <= PRINTED.index(known) for known in self.figures)


@dataclass(slots=True)
class _Conversation:
    """What was typed so far."""

    model: str = ""
    asked: bool = False
    answered: bool = False

    def see(self, line: str) -> None:
        if command := COMMAND.fullmatch(line):
            self.model, self.asked, self.answered = command[1], False, False
        elif line.startswith(FORGETS):
            self.answered = False
        elif line.startswith(ASKED):
            self.asked = True

    def answer(self, line: int) -> Block:
        """An empty block for the answer that ends on this line."""
        block = Block(line, self.model, self.asked and self.answered)
        self.asked, self.answered = False, True
        return block


def blocks(text: str) -> Iterator[Block]:
    """The figures of each answer; a block that was cut ends where the next begins."""
    typed, block = _Conversation(), None
    for number, line in enumerate(ESCAPES.sub("", text).split("\n"), 1):
        figure = FIGURE.fullmatch(line.strip())
        if not figure:
            typed.see(line.strip())
            continue
        if block is None or block.is_past(figure[1]):
            if block:
                yield block
            block = typed.answer(number)
        block.figures[figure[1]] = figure[2]
    if block:
        yield block
