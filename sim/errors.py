"""Every error a user can cause, each with the exit code the command line gives it."""

INTERRUPTED = 130  # the exit code of what was stopped with Ctrl-C


class SimctlError(Exception):
    """Something the user can mend; the message says what, where and what to do."""

    exit_code = 1


class UsageError(SimctlError):
    """A flag or option has a value that means nothing here."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that no catalogue holds; the nearest names are offered."""

    def __init__(self, kind: str, name: str, known: list[str], said: str | None = None) -> None:
        # difflib is imported here because only this error needs it
        from difflib import get_close_matches

        near = get_close_matches(name.lower(), known, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(known)}"
        super().__init__((said or f"unknown {kind} '{name}'") + f": {hint}")
        self.near = near


class BadScenario(SimctlError):
    """A scenario, trace or profile that cannot be read or contradicts itself."""

    exit_code = 3


class DoesNotFit(SimctlError):
    """The deployment needs more memory than there is; `missing_bytes` says how much more."""

    exit_code = 4

    def __init__(self, message: str, missing_bytes: int) -> None:
        super().__init__(message)
        self.missing_bytes = missing_bytes


class NotSupported(SimctlError):
    """A real option of a real engine that is not modelled."""

    exit_code = 2


class PolicyError(SimctlError):
    """A policy made a decision that the cache or the batch cannot honour."""
