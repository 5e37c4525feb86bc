"""Every kind of page as a reader sees it: on a screen and on a phone, in light and in dark."""

import shutil
from pathlib import Path

import pytest
from report import chromium
from report.conftest import write_run

from avi.report.compare_page import write_comparison
from avi.report.figures.style import _THEMED, SERIES
from avi.report.run_page import report
from avi.results.run import read

TOPICS = Path(__file__).parents[1] / "data" / "runs" / "lda"
CSS = Path(__file__).parents[2] / "avi" / "report" / "templates" / "page.css"
PAGES = ("run", "unmeasured", "topics", "modes", "widths")
SMALLEST, IN_FIGURES = 12.0, 8.5  # CSS pixels

# What is wrong with the page, a line each: [what, words, number].
AUDIT = """(() => {
  const wrong = [], root = document.documentElement;
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  if (root.scrollWidth > root.clientWidth)
    wrong.push(["wider than the window", "", root.scrollWidth]);
  const parts = (colour) => {
    const found = colour.match(/[\\d.]+/g).map(Number);
    return found.length > 3 ? found : [...found, 1];
  };
  const over = (above, below) =>
    [0, 1, 2].map((k) => above[3] * above[k] + (1 - above[3]) * below[k]).concat(1);
  const ground = (element) => {
    const behind = [];
    for (let at = element; at; at = at.parentElement)
      behind.unshift(parts(getComputedStyle(at).backgroundColor));
    return behind.reduce((below, above) => over(above, below), [255, 255, 255, 1]);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => v / 255)
      .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (element, colour) => {
    const below = ground(element);
    const [a, b] = [light(over(parts(colour), below)), light(below)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const check = (element, words, colour, size, least) => {
    if (contrast(element, colour) < 4.5)
      wrong.push(["too faint", words, contrast(element, colour)]);
    if (size < least) wrong.push(["too small", words, size]);
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const element = node.parentElement, words = node.textContent.trim();
    if (!words || element.closest("svg") || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const least = element.closest("sub, sup") ? 0 : SMALLEST;
    check(element, words.slice(0, 60), style.color, parseFloat(style.fontSize), least);
    // Nothing is cut but what can be moved sideways.
    const box = element.getBoundingClientRect();
    if (!element.closest("figure, pre, .wide") && box.right > root.clientWidth + 1)
      wrong.push(["cut", words.slice(0, 60), box.right]);
  }
  // Figures have their letters as paths, a hundredth of the font's size for each unit.
  document.querySelectorAll("figure svg g[id^=text_]").forEach((one) => {
    const glyphs = one.querySelector("g[transform*=scale]");
    if (!glyphs) return;
    const points = 100 * parseFloat(glyphs.getAttribute("transform").match(/scale\\(([\\d.]+)/)[1]);
    const svg = one.closest("svg");
    const size = points * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    check(svg, svg.getAttribute("aria-label"), getComputedStyle(glyphs).fill, size, IN_FIGURES);
  });
  if (root.clientWidth < 600)
    document.querySelectorAll(".wide").forEach((one) => {
      if (one.scrollWidth > one.clientWidth + 1)
        wrong.push(["a table is not whole", one.textContent.trim().slice(0, 60), one.scrollWidth]);
    });
  return wrong;
})()""".replace("SMALLEST", str(SMALLEST)).replace("IN_FIGURES", str(IN_FIGURES))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """One page of each kind, with all sections that it can have."""
    root = tmp_path_factory.mktemp("pages")
    modes = [write_run(root / mode, inference=mode) for mode in ("amortized", "free_form", "svi")]
    widths = [
        write_run(
            root / f"w{width}", width=width, gap=8 / width + 0.2, overrides=[],
            config={"train.freeze": "theta", "train.start": "base"},
        )
        for width in (8, 64)
    ]  # fmt: skip
    empty = write_run(root / "empty", seed=3)
    for name in ("gap", "snapshot.npz", "calibration.json"):
        shutil.rmtree(empty / name) if (empty / name).is_dir() else (empty / name).unlink()
    for name, folder in {"run": modes[0], "unmeasured": empty, "topics": TOPICS}.items():
        (root / f"{name}.html").write_text(report(read(folder)), "utf-8")
    for name, runs in {"modes": modes, "widths": widths}.items():
        write_comparison(runs, root / name)
        shutil.copy(root / name / "comparison.html", root / f"{name}.html")
    return root


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if chromium.path() is None:
        pytest.skip("no Chromium here")
    with chromium.tab(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_a_page_can_be_read(width, scheme, page, pages, tab):
    tab.open(pages / f"{page}.html", width, scheme)
    wrong = {f"{what}: {words!r} {number:.2f}" for what, words, number in tab.evaluate(AUDIT)}
    assert not wrong, "\n".join(sorted(wrong))


def _luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1])
def test_every_line_and_class_of_a_figure_stands_out_from_the_paper(scheme):
    """At least 3 to 1, in either scheme: WCAG 2.1, 1.4.11."""
    blocks = CSS.read_text().split("@media (prefers-color-scheme: dark)")
    pairs = (
        word.split(": ") for word in blocks[scheme].replace("}", ";").split(";") if "--" in word
    )
    colours = {name.strip().split()[-1].lstrip("-"): value.strip() for name, value in pairs}
    paper = _luminance(colours["paper"])
    for colour in SERIES:
        bright, dark = sorted([paper, _luminance(colours[_THEMED[colour]])], reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 3, _THEMED[colour]
