"""A step as one forward pass: one row for each decoding request, next to all the rows of the prompt pieces."""

from collections.abc import Sequence

from sim.batch import Pass, Piece, prefill_cells


def one_pass(decodes: int, cells: int, pieces: Sequence[Piece]) -> Pass:
    """The pass of `decodes` rows that read `cells` KV cells, and of the pieces."""
    prompt = sum([piece.tokens for piece in pieces])
    attended = sum([prefill_cells(piece.tokens, piece.context) for piece in pieces])
    ended = sum([piece.ends for piece in pieces])
    return Pass(decodes, cells, decodes, prompt, attended, decodes + ended, decodes + prompt)
