"""The project's documents. `python -m docs` writes those that are made of the code: api.md and settings.md."""
