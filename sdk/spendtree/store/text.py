"""Texts as every engine can keep them."""


def storable(text: str) -> str:
    """Return a text that UTF-8 can say: lone surrogates, from broken input, become "?"."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
