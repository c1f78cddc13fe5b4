"""Which idle slot of llama.cpp a request gets, and what is saved to or fetched from host RAM for that."""

from policies.caches.slots import Content, SlotCache, content_of
from policies.schedulers.prompt_cache import PromptCache
from sim.request import Request


class SlotChoice:
    """The idle slots, least recently used first; at the start the highest number counts as that."""

    def __init__(self, cache: SlotCache, similarity: float, ram_tokens: int, clears_idle: bool) -> None:
        self.idle = list(reversed(range(cache.slots)))
        self.copied_tokens = 0  # to and from host RAM since somebody last asked
        self._cache = cache
        self._similarity = similarity
        self._saved = PromptCache(ram_tokens) if ram_tokens else None
        self._clears_idle = clears_idle

    def take(self, request: Request) -> int:
        """The slot that holds most of the prompt if that is worth it, else the least recently used."""
        slot, common = self.idle[0], 0
        content = request.prefix if request.own is None else content_of(request)
        if content:
            slot, common = self._most_similar(content, request.prompt_tokens) or (slot, 0)
        saved, cache = self._saved, self._cache
        if saved is not None and (not common or 2 * common < cache.context(slot)):
            held = cache.context(slot)
            if held:
                self.copied_tokens += saved.save(cache.content(slot), held)
            if content:  # a unique prompt has nothing in common with any other
                self._fetch(slot, held, content, request.prompt_tokens, saved)
        self.idle.remove(slot)
        if saved is not None and self._clears_idle:
            self._save_idle(saved)
        return slot

    def take_copied(self) -> int:
        """Tokens copied since the last call."""
        copied, self.copied_tokens = self.copied_tokens, 0
        return copied

    def _most_similar(self, content: Content, prompt_tokens: int) -> tuple[int, int] | None:
        """The idle slot with most of the prompt and how much that is; of equals the lowest number."""
        kept = [(slot, min(self._cache.kept(slot, content), prompt_tokens)) for slot in sorted(self.idle)]
        best = max(kept, key=lambda one: one[1])
        return best if best[1] > self._similarity * prompt_tokens else None

    def _fetch(self, slot: int, held: int, content: Content, prompt_tokens: int, saved: PromptCache) -> None:
        """Put what serves the prompt better in the place of what the slot holds."""
        common = min(self._cache.kept(slot, content), prompt_tokens)
        better = saved.take(content, prompt_tokens, held, common)
        if better is not None:
            self._cache.restore(slot, better.content, better.tokens)
            self.copied_tokens += better.tokens

    def _save_idle(self, saved: PromptCache) -> None:
        """With every start the other idle slots' tokens go to host RAM, which empties them."""
        for slot in self.idle:
            held = self._cache.context(slot)
            if held:
                self.copied_tokens += saved.save(self._cache.content(slot), held)
                self._cache.clear(slot)
