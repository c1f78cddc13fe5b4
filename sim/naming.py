"""When two spellings are one name."""

IGNORED = str.maketrans("", "", ".-_ ")


def fold(name: str) -> str:
    """A name as it is compared: case, dots, dashes, underscores and spaces do not count."""
    return name.lower().translate(IGNORED)
