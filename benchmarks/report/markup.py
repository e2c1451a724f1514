"""HTML and SVG from values: what is not markup already is escaped, so that no file name can become any."""

from __future__ import annotations

from html import escape


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


VOID = {"meta", "img", "br", "col"}
"""Elements that have no end."""


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """An element; ``class_`` is its class, ``text_anchor`` its text-anchor; an attribute that is None is left out.

    Children that are not Markup are escaped, and so is every attribute.
    """
    told = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in VOID:
        return Markup(f"<{tag}{told}>")
    return Markup(f"<{tag}{told}>{joined(*children)}</{tag}>")


def joined(*children: object) -> Markup:
    """Children one after another, escaped where they are not Markup."""
    return Markup("".join(child if isinstance(child, Markup) else escape(str(child)) for child in children))


def table(head: Markup, rows: list[Markup], caption: object = None, class_: str | None = None) -> Markup:
    """A table that scrolls by itself where it is too wide."""
    told = element("caption", caption) if caption is not None else Markup()
    body = element("tbody", *rows)
    return element(
        "div", element("table", told, element("thead", head), body, class_=class_), class_="scroll", tabindex="0"
    )


def row(*cells: Markup, class_: str | None = None) -> Markup:
    """A row of a table."""
    return element("tr", *cells, class_=class_)


def header(*children: object, scope: str = "col", **attributes: object) -> Markup:
    """A cell that names its column or row."""
    return element("th", *children, scope=scope, **attributes)
