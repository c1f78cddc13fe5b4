"""Drawings of results: one figure a file, each a pure function from a document to what plotly draws."""
