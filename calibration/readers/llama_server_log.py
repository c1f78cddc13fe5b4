"""llama-server's log, and Ollama's where llama-server runs inside it: the timings that each request's slot printed."""

import re
from collections import Counter
from pathlib import Path

from calibration.parsing.answers import Answer, answer, points
from calibration.parsing.jsonrows import parsed
from calibration.parsing.rows import BadField, Row
from calibration.parsing.server_header import Header, header_of
from calibration.parsing.slot_log import Served, served
from calibration.points import Point, Reading, Rejected

FORMAT = "llama-server log"
PITFALLS = (
    "times begin when a slot takes the request: waiting for a slot is in none of them",
    "eval time spans one token fewer than it counts, for the first comes of the prompt; it is divided by n-1 here",
    "prompt tokens are those evaluated; what a slot had kept of an earlier prompt stands as depth_tokens",
    "a closed load is the number of slots that were busy on average while a request ran, rounded",
    "the first request after a start warms the server up and is left out where there are others",
)

SPECULATES = re.compile(r"draft acceptance|--spec-|--model-draft", re.IGNORECASE)


def recognises(head: str) -> bool:
    """By the lines of a slot that takes a request or prints its timings."""
    return ("print_timing" in head and "eval time" in head) or ("slot" in head and "| processing task" in head)


def read(text: str, source: str, path: Path) -> Reading:
    """A point for each number of busy slots; requests alone are told apart by their lengths."""
    text = _spelt_out(text)
    header, requests = header_of(text), served(text)
    rejected, answered = list[Rejected](), list[tuple[Served, Answer]]()
    first_of = {request.run: request for request in reversed(requests)}
    for request in requests:
        try:
            warms_up = request is first_of[request.run] and len(requests) > 1
            answered.append((request, _answer(request, header, warms_up)))
        except BadField as bad:
            rejected.append(Rejected(str(path), request.line, bad.field, bad.reason))
    held = Counter(one.users for _, one in answered)
    for request, one in answered:
        if held[one.users] < one.users:
            reason = f"ran beside {one.users - 1} others on average, as too few did to call it a load that was held"
            rejected.append(Rejected(str(path), request.line, "task", reason))
    found = points(
        (one for _, one in answered if held[one.users] >= one.users),
        _server(header, source, bool(SPECULATES.search(text))),
    )
    facts = {**header.facts, "requests": float(len(requests))}
    return Reading(FORMAT, tuple(found), tuple(rejected), facts, (*PITFALLS, *_doubts(header)))


def _spelt_out(text: str) -> str:
    """The log with its lines of JSON, which releases of early 2024 printed, as the releases after them print them."""
    return "\n".join(map(_line, text.split("\n"))) if '"function":"' in text else text


def _line(line: str) -> str:
    start = line.find('{"')
    if start < 0 or '"function":"' not in line:
        return line
    try:
        said = parsed(line[start:])
    except ValueError:
        return line
    owner = {f"id_{name}": said.get(f"{name}_id") for name in ("slot", "task") if f"{name}_id" in said}
    figures = " ".join(f"{name}={value}" for name, value in {**owner, **said}.items() if name != "msg")
    return f"{line[:start]}{said.get('function')} {said.get('msg')} | {figures}"


def _answer(request: Served, header: Header, warms_up: bool) -> Answer:
    row = request.row
    if not {"prompt_ms", "eval_ms"} & set(request.values):
        raise row.refuse("eval time", "no timing was printed: the request was cut off, or the log was")
    if warms_up:
        raise row.refuse("task", "is the first after a start and warms the server up")
    if request.busy is None and header.slots != 1:
        raise row.refuse("task", "the log does not say when it held its slot, so its load is not known")
    users = max(1, round(request.busy or 1.0))
    full = header.slots is not None and users >= header.slots > 1
    times = ("prompt_ms", "prompt_tokens", "eval_ms", "eval_tokens")
    return answer(row, *times, kept_tokens=_kept(row), users=users, may_have_waited=full)


def _kept(row: Row) -> float | None:
    """Of what the slot held in the end, what neither the evaluated prompt nor the answer put there."""
    held, prompt, tokens = (row.amount(name) for name in ("held", "prompt_tokens", "eval_tokens"))
    if held is None or prompt is None or tokens is None:
        return None
    return max(0.0, held - prompt - max(0.0, tokens - 1))


def _server(header: Header, source: str, speculates: bool) -> Point:
    return Point(
        source_id=source,
        engine=header.engine,
        engine_version=header.version,
        engine_options=";".join(filter(None, (header.options, "speculative" * speculates))),
        gpu=header.gpu or "unstated",
        model=header.model or "unstated",
        weights=header.weights,
        load="single",
        load_value=1.0,
        slots=header.slots,
        context=header.context,
        kv_tokens=header.kv_tokens,
        notes="as the server timed it",
    )


def _doubts(header: Header) -> tuple[str, ...]:
    if not header.changed:
        return ()
    return (f"the server was started with different {', '.join(header.changed)}: left blank",)
