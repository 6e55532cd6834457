"""Elements escape what they are given."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given

from snapkit.cli.format import printable_lines
from snapkit.cli.html_page import element, joined, page, scrolling
from tests.unit.builders import texts


def test_elements_nest_and_escape() -> None:
    inner = element("td", "<b>", class_="x", aria_hidden='"true"')
    assert inner == '<td class="x" aria-hidden="&quot;true&quot;">&lt;b&gt;</td>'
    assert element("tr", inner, "&") == f"<tr>{inner}&amp;</tr>"
    assert joined("a\nb\x1b", inner) == f"a\nb\\x1b{inner}"
    assert 'tabindex="0"' in scrolling("Rows", inner)


@given(texts)
def test_a_text_comes_out_as_it_went_in(text: str) -> None:
    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.title, self.text, self.tags = "", "", list[str]()

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags.append(tag)

        def handle_data(self, data: str) -> None:
            if self.tags[-1:] == ["p"]:
                self.text += data

    reader = Reader()
    reader.feed(page(text, element("p", text)))
    reader.close()
    assert reader.tags == ["html", "head", "meta", "meta", "meta", "title", "style", "body", "p"]
    assert reader.text.rstrip("\n") == printable_lines(text).rstrip("\n")
