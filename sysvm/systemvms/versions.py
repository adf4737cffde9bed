"""Versions of system VM templates, compared. Pure."""

from functools import lru_cache


@lru_cache(maxsize=1024)
def is_older(version: str, minimum: str) -> bool:
    """Whether 4.9.1 comes before 4.10.0. Words in a version count as 0; a word alone is no version, and not older."""
    if not minimum or not any(letter.isdigit() for letter in version):
        return False
    one, other = _numbers(version), _numbers(minimum)
    width = max(len(one), len(other))
    return one + (0,) * (width - len(one)) < other + (0,) * (width - len(other))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.replace("-", ".").split("."))
