import base64
import io
import json
import re
import shutil
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib.image import imread

from avi.errors import ConfigError, ResourceError
from avi.report.render import markup
from avi.report.run_page import headline, report, write_report
from avi.results.flags import WARNINGS, Validity
from avi.results.gap import GapMean
from avi.results.run import read as read_run

HOSTILE = "<script>alert('x')</script> $\\frac{$ \u4e00"


class Links(HTMLParser):
    """Collects what a browser would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                self.links.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)


def parse(page: str) -> Links:
    links = Links()
    links.feed(page)
    return links


def write_lines(path: Path, entries: list[dict]) -> None:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def change(path: Path, **entries) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, make_run) -> Path:
    folder = make_run(tmp_path_factory.mktemp("runs") / "a-run", final=-97.84, gap=1.3)
    write_report(folder)
    return folder


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Leave out the rendering of figures, which takes a second, where words are the question."""
    for module in ("avi.report.run_page", "avi.report.gap_page"):
        monkeypatch.setattr(f"{module}.svg", lambda figure, title: markup(f"<svg>{title}</svg>"))


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy of the finished run, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_the_headline_states_bound_and_gap_of_the_files(finished):
    gap = json.loads((finished / "gap" / "summary.json").read_text())["splits"]["test"]
    mean, error = gap["amortization_gap"]["mean"], gap["amortization_gap"]["se"]
    assert headline(read_run(finished)) == (
        f"Test ELBO −97.8 ± 0.3 nats per datapoint; the encoder loses {mean:.2f} ± {error:.2f} "
        "nats to the best member of its own family."
    )


def test_a_page_fetches_nothing_and_runs_nothing(finished):
    page = (finished / "report.html").read_text("utf-8")
    found = parse(page)
    assert found.links
    own = [link for link in found.links if not link.startswith(("data:image/png;base64,", "#"))]
    # The one page that the report leads to lies beside it: nothing is fetched without a click.
    assert own == ["gap/how-to-read-a-gap-report.md"]
    assert (finished / own[0]).read_text("utf-8").startswith("# How to read a gap report")
    assert not {"script", "link", "iframe", "object", "embed"} & set(found.tags)
    assert not found.handlers
    assert not re.search(r"@import|url\((?!#)", page)  # clip paths are url(#...)


def test_every_number_says_which_side_it_errs_on(finished):
    page = (finished / "report.html").read_text("utf-8")
    for words in (
        "An unbiased estimate of a lower bound",
        "A lower bound, whether or not λ* converged",
        "A stochastic lower bound",
        "no bound.",
        "λ* cancels out of the sum",
        "It sees the top it climbs",
    ):
        assert words in page
    assert "97 of 100 points" in page
    assert "0.97 to 1.52" in page
    assert "Other starts led higher for 1 of 12 points" in page
    assert "The sandwich of the evidence was left out" in page


def test_the_frontier_the_sandwich_and_the_audit_are_put_into_words(finished):
    page = (finished / "report.html").read_text("utf-8")
    assert "Test: 50 steps on each observation recover 96% of the gap, for 3.1 ms each." in page
    assert 'aria-label="Amortization frontier"' in page
    assert "until certified" in page
    assert "0.06 ± 0.02 nats apart (95 % interval 0.02 to 0.10)" in page
    assert "0.97 times that on simulated ones, and 99% of their bounds lie in the range" in page
    assert "so what holds there may be carried over" in page
    assert "25% from the Laplace start (1 higher, 2 lower)" in page
    assert "changed the bound of 12 points by 0.0012 ± 0.0004 nats" in page


@pytest.mark.usefixtures("undrawn")
def test_the_gap_in_the_trained_bound_has_a_row_of_its_own(run):
    path = run / "gap" / "summary.json"
    summary = json.loads(path.read_text())
    summary["splits"]["test"]["same_bound"] = {"name": "IWAE-5 gap", "mean": 0.7, "se": 0.1}
    path.write_text(json.dumps(summary))
    page = report(read_run(run))
    assert "IWAE-5 gap, in the bound that was trained" in page
    assert "not certified" in page


def test_what_a_run_remarked_and_how_to_repeat_it_stand_in_the_page(finished):
    page = (finished / "report.html").read_text("utf-8")
    assert "variance stands at its floor" in page
    assert "AVI_PLUGINS=mine avi train inference=amortized seed=0" in page
    assert "8,592" in page
    assert "batch_size: 128" in page


@pytest.mark.usefixtures("undrawn")
def test_the_worst_observations_are_shown_beside_what_the_model_makes_of_them(run):
    address = r'src="data:image/png;base64,([^"]+)">'
    tiles = re.compile(
        rf'<img alt="row (\d+)" {address}<img alt="its reconstruction" {address}</div>'
        r"<figcaption><strong>(\d)</strong>"
    )
    shown = {row: words for row, *words in tiles.findall(report(read_run(run)))}
    points = sorted(read_run(run).points, key=lambda row: -row.amortization_gap)
    kept = np.load(run / "snapshot.npz")
    assert list(shown) == [str(row.row) for row in points[:10]]
    labels = dict(zip(kept["rows"], kept["labels"], strict=True))
    for row, (seen, made, label) in shown.items():
        assert int(label) == labels[int(row)]
        for encoded, name in ((seen, "inputs"), (made, "reconstructions")):
            pixels = imread(io.BytesIO(base64.b64decode(encoded)))[::14, ::14, 0]
            expected = kept[name].reshape(-1, 8, 8)[kept["input_rows"] == int(row)][0]
            np.testing.assert_allclose(pixels, expected, atol=0.5 / 255 + 1e-6)  # PNG has 8 bits


@pytest.mark.usefixtures("undrawn")
def test_worst_observations_without_images_are_listed(run):
    (run / "snapshot.npz").unlink()
    page = report(read_run(run))
    assert "Worst-inferred observations" in page
    assert 'alt="row' not in page


@pytest.mark.usefixtures("undrawn")
def test_with_exact_evidence_the_sum_is_said_to_be_unbiased(run):
    path = run / "gap" / "summary.json"
    summary = json.loads(path.read_text())
    for split in summary["splits"].values():
        split["evidence"]["kind"] = "exact"
    path.write_text(json.dumps(summary))
    page = report(read_run(run))
    assert "Exact: no error but the sample" in page
    assert "Unbiased: λ* cancels" in page
    assert "stochastic lower bound" not in page


@pytest.mark.parametrize("place", ["name", "choices", "overrides", "config", "gap", "skipped"])
def test_hostile_words_are_shown_and_not_run(run, place):
    if place == "name":
        # A slash cannot stand in a file name, everything else can.
        run = run.rename(run.with_name(HOSTILE.replace("/", "")))
    elif place == "choices":
        names = ("model", "inference", "family", "dataset", "objective")
        change(run / "run.json", choices=dict.fromkeys(names, HOSTILE))
    elif place == "overrides":
        change(run / "run.json", overrides=[HOSTILE], machine=HOSTILE, status=HOSTILE)
    elif place == "config":
        (run / "config.yaml").write_text(yaml.safe_dump({"train": {"start": HOSTILE}}))
    elif place == "gap":
        summary = json.loads((run / "gap" / "summary.json").read_text())
        summary["splits"] = {HOSTILE: summary["splits"]["test"]}
        (run / "gap" / "summary.json").write_text(json.dumps(summary))
        points = run / "gap" / "points.csv"
        points.write_text(points.read_text().replace(",test,", f",{HOSTILE},"))
    else:
        change(run / "gap" / "summary.json", skipped=[HOSTILE])
    page = report(read_run(run))
    assert "script" not in parse(page).tags
    assert "&lt;script&gt;" in page


def test_a_run_without_gap_names_the_command_that_makes_one(run):
    shutil.rmtree(run / "gap")
    page = report(read_run(run))
    assert f"avi gap run={run}" in page
    assert "has not been measured" in page
    assert not (run / "gap").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_run_without_test_bound_says_which_bound_it_reports(run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    write_lines(run / "metrics.jsonl", [json.loads(line) for line in lines if "test" not in line])
    shutil.rmtree(run / "gap")
    words = headline(read_run(run))
    assert words.startswith("Validation ELBO")
    assert "No bound on test rows was measured" in report(read_run(run))


@pytest.mark.parametrize(
    "missing",
    ["run.json", "config.yaml", "metrics.jsonl", "timing.jsonl", "snapshot.npz", "gap/points.csv"],
)
@pytest.mark.usefixtures("undrawn")
def test_any_one_file_may_be_missing(run, missing):
    (run / missing).unlink()
    assert "nats per datapoint" in report(read_run(run))


@pytest.mark.parametrize(
    "torn", ["run.json", "config.yaml", "snapshot.npz", "gap/summary.json", "metrics.jsonl"]
)
@pytest.mark.parametrize("share", [0.0, 0.7])
@pytest.mark.usefixtures("undrawn")
def test_any_one_file_may_be_torn(run, torn, share):
    content = (run / torn).read_bytes()
    (run / torn).write_bytes(content[: int(share * len(content))])
    assert report(read_run(run)).endswith("</html>\n")


@pytest.mark.usefixtures("undrawn")
def test_a_torn_line_is_left_out_and_counted(run):
    metrics = run / "metrics.jsonl"
    whole = read_run(run).curves["batches"]
    metrics.write_text(metrics.read_text() + '{"step": 999, "epoch": 90.8, "split": "tra')
    torn = read_run(run)
    assert torn.curves["batches"] == whole
    assert any("1 torn" in sentence for sentence in torn.damage)
    assert "1 torn" in report(torn)


@pytest.mark.usefixtures("undrawn")
def test_numbers_that_are_no_numbers_are_unknown(run):
    change(run / "run.json", num_data=HOSTILE, latent_size=None, num_model_parameters=10**400)
    summary = run / "gap" / "summary.json"
    change(summary, splits={"test": {"n": "many", "bound": [], "amortization_gap": {"mean": "x"}}})
    page = report(read_run(run))
    assert "holds no gap" in page


def test_a_repeated_step_counts_once_and_the_last_one_wins(run):
    path = run / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    write_lines(path, [*lines, lines[-1] | {"value": -90.0}])
    curve = read_run(run).curves["test"]
    assert [point.bound.mean for point in curve.points] == [-90.0]


@pytest.mark.parametrize("mode", ["free_form", "svi"])
@pytest.mark.usefixtures("undrawn")
def test_a_mode_without_encoder_has_an_optimisation_gap(tmp_path, mode, make_run):
    page = report(read_run(make_run(tmp_path / "run", inference=mode, gap=0.2)))
    assert "Optimisation gap" in page
    assert "mortization gap" not in page
    assert "nats short of the best member" in page


@pytest.mark.usefixtures("undrawn")
def test_the_encoders_generalisation_gap_is_a_sentence(run):
    assert "generalisation gap" not in report(read_run(run))
    lost = {"mean": 0.0123, "se": 0.004, "n": {"train": 1000, "test": 180}}
    change(run / "gap" / "summary.json", generalisation_gap=lost)
    page = report(read_run(run))
    assert "generalisation gap is 0.012 ± 0.004 nats" in page
    assert "of 180 test rows than that of 1,000 training rows" in page


@pytest.mark.usefixtures("undrawn")
def test_the_report_says_how_points_were_added(run):
    change(run / "gap" / "summary.json", half_width=0.05, doublings=3)
    page = report(read_run(run))
    assert "interval was 0.05 nats" in page
    assert "3 doublings, 100 train, 100 test rows" in page


@pytest.mark.usefixtures("undrawn")
def test_an_encoder_trained_on_iwae_has_an_elbo_gap_under_that_name(tmp_path, make_run):
    page = report(read_run(make_run(tmp_path / "run", objective="iwae")))
    assert "ELBO gap, encoder trained on IWAE-5" in page
    assert "Test IWAE-5" in page


@pytest.mark.parametrize(
    ("mean", "error", "noise", "words"),
    [
        (0.001, 0.002, None, "loses nothing measurable"),
        (0.001, 0.002, 0.002, "loses nothing measurable"),
        (1.5, 1.1, 0.0, "loses 1.5 ± 1.1 nats"),  # a few rows lost nearly all of it
        (-0.5, 0.1, None, "contradicts itself"),
        (0.5, 0.1, 0.01, "loses 0.50 ± 0.10 nats"),
        (0.005, 0.001, 0.0001, "loses less than 0.01 nats"),
    ],
)
def test_the_headline_claims_no_more_than_the_error_allows(run, mean, error, noise, words):
    split = {"n": 100, "amortization_gap": {"mean": mean, "se": error, "se_mc": noise}}
    # The tolerance of the folder is 0.01 nats.
    change(run / "gap" / "summary.json", splits={"test": split})
    assert words in headline(read_run(run))


def test_rows_that_are_no_images_are_drawn_as_profiles(run):
    change(run / "run.json", image_shape=None)
    with np.load(run / "snapshot.npz") as old:
        arrays = {name: old[name] for name in old.files if name != "image_shape"}
    np.savez(run / "snapshot.npz", **(arrays | {"latent_mean": arrays["latent_mean"][:, :1]}))
    page = report(read_run(run))
    assert 'aria-label="Observations and reconstructions"' in page
    assert 'aria-label="Latent space"' in page


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_that_is_no_run_is_refused_with_a_sentence(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="is not a run folder"):
        write_report(tmp_path / name)


def test_the_same_files_make_the_same_page(finished, run):
    again = run.parent / "again" / "a-run"
    shutil.copytree(run, again)
    assert report(read_run(again)) == report(read_run(finished))


def test_no_half_written_page_is_left_when_writing_fails(run, monkeypatch):
    before = (run / "report.html").read_bytes()
    monkeypatch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(ResourceError, match="disk full"):
        write_report(run)
    assert (run / "report.html").read_bytes() == before
    assert not list(run.glob(".tmp-*"))


def test_a_headline_says_what_few_rows_can_tell_of_others(finished):
    run = read_run(finished)
    audit = replace(run.gap.audit, points=6, improved=0)
    tight = GapMean(mean=1e-5, se=1e-6, se_mc=1e-6)
    splits = {name: replace(one, amortization_gap=tight) for name, one in run.gap.splits.items()}
    few = replace(run, gap=replace(run.gap, audit=audit, splits=splits))
    assert "as far as 6 rows tried from several starts can tell" in headline(few)
    many = replace(few, gap=replace(few.gap, audit=replace(audit, points=100)))
    assert "as far as" not in headline(many)


def test_the_verdict_counts_the_checks_and_names_those_that_fail(run):
    assert {field.name for field in fields(Validity)} == set(WARNINGS)
    assert Validity().verdict == ""
    assert Validity(finite=True, negative_gap=False).verdict == "All 2 checks hold"
    some = Validity(finite=True, khat_ok=False, negative_gap=True, n_ok=True)
    assert some.verdict == "2 of 4 checks hold: a gap is negative, khat warns"
    page = report(read_run(run))
    (verdict,) = re.findall(r'class="verdict">(.*?)<', page)
    assert verdict.startswith(read_run(run).gap.validity.verdict)
    assert page.index('href="#checks"') < page.index('id="checks"')


@pytest.mark.usefixtures("undrawn")
def test_a_page_says_what_came_out_then_whether_to_believe_it_then_what_is_better(run):
    headings = re.findall("<h2>(.*?)</h2>", report(read_run(run)))
    assert headings == [
        "What came out",
        "Can these numbers be believed?",
        "What would it take to do better?",
        "Beside elsewhere",
        "Pictures",
        "How to do it again",
    ]
