"""The CloudStack-compatible API: from a request to rows, and from rows to an answer. It speaks with nobody but the database."""
