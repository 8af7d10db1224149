"""XML out of names that people chose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element


def element(
    tag: str, attributes: Mapping[str, Any] | None = None, parent: Element | None = None, text: Any = None
) -> Element:
    """A new element, the last one of `parent` if there is one."""
    made = Element(tag, {name: _plain(value) for name, value in (attributes or {}).items()})
    made.text = None if text is None else _plain(text)
    if parent is not None:
        parent.append(made)
    return made


def document(root: Element) -> str:
    """The text of an XML file."""
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _plain(value: Any) -> str:
    # Control characters can't be in XML at all.
    return "".join(c if c.isprintable() or c == "\n" else " " for c in str(value))
