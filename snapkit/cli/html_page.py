"""A page that stands by itself: HTML made of elements, which escape all text that they are given."""

from __future__ import annotations

from html import escape

from snapkit.cli.format import printable, printable_lines

_STYLE = """
:root { color-scheme: light dark;
  --text: #1c2024; --dim: #5b646e; --line: #d9dde2; --back: #ffffff; --soft: #f5f7f9;
  --added: #116329; --added-back: #dafbe1; --removed: #a40e26; --removed-back: #ffebe9; --changed: #7d4e00; }
@media (prefers-color-scheme: dark) { :root {
  --text: #e4e8ec; --dim: #9aa4af; --line: #363d45; --back: #14181c; --soft: #1d2329;
  --added: #56d364; --added-back: #12381f; --removed: #ff8d85; --removed-back: #4a1d20; --changed: #e3b341; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 70rem; background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; line-height: 1.3; margin: 0 0 .75rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; overflow-wrap: anywhere; }
p { margin: .25rem 0; overflow-wrap: anywhere; }
footer, .dim { color: var(--dim); }
footer { margin-top: 3rem; font-size: .85rem; border-top: 1px solid var(--line); padding-top: .5rem; }
pre, code, td, .value { font-family: ui-monospace, monospace; font-size: .85rem; }
pre { background: var(--soft); padding: .5rem .75rem; margin: .25rem 0 .75rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
ul.definitions { list-style: none; padding: 0; margin: 0; }
ul.definitions ul.definitions { padding-left: 1.25rem; border-left: 2px solid var(--line); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .25rem 0; }
caption { text-align: left; color: var(--dim); padding-bottom: .25rem; }
th, td { text-align: left; vertical-align: top; padding: .2rem .75rem .2rem 0; border-bottom: 1px solid var(--line); }
thead th { font-size: .85rem; }
td { white-space: pre-wrap; overflow-wrap: break-word; max-width: 24rem; }
th { white-space: nowrap; }
details { min-width: 14rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.added { color: var(--added); } .removed { color: var(--removed); } .changed { color: var(--changed); }
ins { color: var(--added); background: var(--added-back); }
del { color: var(--removed); background: var(--removed-back); }
.bar { display: flex; width: 12rem; height: .7rem; margin-top: .45rem; }
.bar span { height: 100%; border: 1px solid; min-width: 3px; }
.bar .added { background: var(--added); } .bar .removed { background: var(--removed); }
.bar .changed { background: repeating-linear-gradient(45deg, var(--changed) 0 3px, transparent 3px 6px); }
summary { cursor: pointer; }
@media (max-width: 40rem) { th, td { padding-right: .5rem; } .bar { width: 5rem; }
  tbody th { white-space: normal; overflow-wrap: anywhere; min-width: 6rem; } }
@media print { body { max-width: none; padding: 0; } h2, h3, tr { break-inside: avoid; break-after: avoid; }
  .bar span { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  details::details-content { content-visibility: visible; block-size: auto; } }
"""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, *content: str, **attributes: str) -> Html:
    """Return an element. Whatever is not ``Html`` is escaped, control characters too; ``class_`` stands for class."""
    named = ((key.rstrip("_").replace("_", "-"), escape(printable(value))) for key, value in attributes.items())
    written = "".join(f' {key}="{value}"' for key, value in named)
    return Html(f"<{name}{written}>{joined(*content)}</{name}>")


def joined(*content: str) -> Html:
    """Return pieces one after the other."""
    return Html("".join(each if isinstance(each, Html) else escape(printable_lines(each)) for each in content))


def scrolling(title: str, *content: str) -> Html:
    """Return what may be wider than the page, so that it can be scrolled, with the keyboard too."""
    return element("div", *content, class_="scroll", role="region", tabindex="0", aria_label=title)


def page(title: str, *content: str) -> str:
    """Return a whole page. It loads nothing and runs nothing: a browser is told to refuse both."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = (
        f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{element('title', title)}\n<style>{_STYLE}</style>"
    )
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{joined(*content)}\n</body>\n</html>\n'
