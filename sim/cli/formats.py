"""The renderings of results by name; what takes long to load is loaded when it is asked for."""

from collections.abc import Callable

from reports import comparison_tables, tables
from reports.document import Document, to_text


def _table(document: Document) -> str:
    return comparison_tables.plain(document) if document.comparison else tables.plain(document)


def _markdown(document: Document) -> str:
    return comparison_tables.markdown(document) if document.comparison else tables.markdown(document)


def _page(document: Document) -> str:
    from reports.page import page

    return page(document)


def _parquet(document: Document) -> bytes:
    from reports.parquet import parquet

    return parquet(document)


FORMATS: dict[str, Callable[[Document], str | bytes]] = {
    "table": _table,
    "json": to_text,
    "jsonl": tables.json_lines,
    "csv": tables.comma_separated,
    "md": _markdown,
    "html": _page,
    "parquet": _parquet,
}
