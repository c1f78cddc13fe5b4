"""llama.cpp's prompt cache in host RAM: what slots held, saved when a slot changes hands.

Saving and restoring copy keys and values over PCIe while every slot waits.
"""

from collections import deque
from dataclasses import dataclass

from policies.caches.slots import Content, common_tokens

KEPT_AT_LEAST = 0.25  # share of a saved prompt that has to be of use


@dataclass(slots=True)
class Saved:
    """A slot's tokens in host RAM."""

    content: Content
    tokens: int


class PromptCache:
    """Saved prompts, oldest first; beyond the limit the oldest go, though the newest always stays."""

    def __init__(self, limit_tokens: int) -> None:
        self.limit_tokens = limit_tokens
        self.tokens = 0
        self._entries: deque[Saved] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def save(self, content: Content, tokens: int) -> int:
        """Take in what a slot holds; the tokens that have to be copied, none for what is here already."""
        entries = self._entries
        if content:
            if self._holds(content, tokens):
                return 0
            self._drop_contained(content, tokens)
        entries.append(Saved(content, tokens))
        held = self.tokens + tokens
        while held > self.limit_tokens and len(entries) > 1:
            held -= entries.popleft().tokens
        self.tokens = held
        return tokens

    def take(self, content: Content, prompt_tokens: int, held: int, in_common: int) -> Saved | None:
        """Give out the entry that serves a prompt better than the slot, which holds `held` tokens,

        `in_common` of them with the prompt: better both in the share of itself that is kept and in what it gives.
        """
        best: Saved | None = None
        kept_share = in_common / held if held else -1.0
        given = in_common
        for entry in self._entries if content else ():
            common = _shared(entry, content, prompt_tokens)
            share = common / entry.tokens
            if share >= KEPT_AT_LEAST and share > kept_share and common > given:
                best, kept_share, given = entry, share, common
        if best is not None:
            self._remove(best)
        return best

    def _holds(self, content: Content, tokens: int) -> bool:
        return any(_shared(entry, content, tokens) == tokens for entry in self._entries)

    def _drop_contained(self, content: Content, tokens: int) -> None:
        for entry in [entry for entry in self._entries if _shared(entry, content, tokens) == entry.tokens]:
            self._remove(entry)

    def _remove(self, entry: Saved) -> None:
        for place, other in enumerate(self._entries):
            if other is entry:
                del self._entries[place]
                self.tokens -= entry.tokens
                return


def _shared(entry: Saved, content: Content, tokens: int) -> int:
    """Leading tokens that a saved prompt has in common with the first `tokens` of a content."""
    return min(common_tokens(entry.content, content), entry.tokens, tokens)
