"""Rows become JSON objects, a module per noun. Nothing here changes anything."""
