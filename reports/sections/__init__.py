"""The page's sections, one a file: each a pure function from a document to markup."""
