"""The points as a Parquet file: a row a load, a column a figure, as in the CSV."""

from io import BytesIO

from reports.document import Document, to_json
from reports.tables import flat


def parquet(document: Document) -> bytes:
    """The bytes of the file."""
    import pandas as pd  # noqa: PLC0415 (an extra, and slow to load)

    rows = [flat(point) for point in to_json(document)["points"]]
    buffer = BytesIO()
    pd.DataFrame(rows).to_parquet(buffer, index=False)
    return buffer.getvalue()
