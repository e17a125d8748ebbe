"""Reports as one HTML page: pictures inside, no scripts, nothing loaded from elsewhere, every text escaped."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from shared.imaging.charts import Chart, to_svg

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: 0.2rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; }
.subtitle { color: #555; margin-top: 0; overflow-wrap: anywhere; }
dl.figures { display: flex; flex-wrap: wrap; gap: 0.8rem; margin: 1.5rem 0; }
dl.figures div { background: #f3f6fa; border-radius: 6px; padding: 0.6rem 1rem; min-width: 9rem; }
dl.figures dt { color: #555; font-size: 0.85rem; } dl.figures dd { margin: 0; font-size: 1.35rem; font-weight: 600; }
dl.figures small { display: block; color: #555; font-size: 0.8rem; font-weight: normal; }
figure { margin: 1rem 0; } svg { max-width: 100%; height: auto; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 0.88rem;
  font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 0.25rem 0.5rem; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { font-weight: 600; background: #f3f6fa; }
.name { text-align: left; white-space: normal; min-width: 9rem; overflow-wrap: break-word; }
img { image-rendering: pixelated; max-width: 100%; } .pictures { display: flex; flex-wrap: wrap; gap: 1rem; }
.pictures figure { margin: 0; width: 14rem; } .pictures img { width: 100%; } figcaption { font-size: 0.85rem; }
ul { padding-left: 1.2rem; } footer { margin-top: 2.5rem; color: #555; font-size: 0.85rem; overflow-wrap: anywhere; }
"""

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def make_page(title: str, body: str) -> bytes:
    """The page, UTF-8.

    Args:
        title: of the window.
        body: HTML whose texts are escaped.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    ).encode()


def make_figures(figures: Iterable[tuple[str, str, str]]) -> str:
    """The few numbers that matter: what each is, its value, a line below."""
    items = (
        f"<div><dt>{escape(label)}</dt><dd>{escape(value)}<small>{escape(below)}</small></dd></div>"
        for label, value, below in figures
    )
    return f'<dl class="figures">{"".join(items)}</dl>'


def make_chart(chart: Chart) -> str:
    """A chart as SVG."""
    return f"<figure>{to_svg(chart).decode()}</figure>"


def make_pictures(pictures: Iterable[tuple[bytes, str]]) -> str:
    """PNGs side by side, each with a line below."""
    shown = (
        f'<figure><img src="data:image/png;base64,{b64encode(png).decode()}" alt="{escape(text)}">'
        f"<figcaption>{escape(text)}</figcaption></figure>"
        for png, text in pictures
    )
    return f'<div class="pictures">{"".join(shown)}</div>'


def make_list(lines: Iterable[str]) -> str:
    """Lines, each with a dot."""
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def make_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, names: Sequence[int] = ()) -> str:
    """A table of numbers.

    Args:
        head: of its columns.
        rows: as many cells as there are columns.
        names: columns of text, which begin at the left and may be broken.
    """

    def cells(tag: str, row: Sequence[str]) -> str:
        classes = (' class="name"' if index in names else "" for index in range(len(row)))
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(classes, row, strict=True))

    lines = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="wide"><table>\n<tr>{cells("th", head)}</tr>\n{lines}\n</table></div>'
