import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from avi.comparison import pairs, runs
from avi.comparison.varied import varied
from avi.errors import ConfigError
from avi.report.claims import claims
from avi.report.compare_page import write_comparison
from avi.report.tables import terminal
from avi.results.comparison import mean_and_deviation, read_pairs, summaries


def collect(folders):
    """Return the rows alone."""
    return runs.collect(folders)[0]


MODES = {"free_form": 0.02, "svi": 0.3, "amortized": 1.3, "semi_amortized": 0.2}


@pytest.fixture(scope="module")
def modes(tmp_path_factory, make_run) -> list[Path]:
    root = tmp_path_factory.mktemp("modes")
    return [
        make_run(root / f"{mode}-{seed}", inference=mode, seed=seed, gap=gap, final=-20 - seed / 8)
        for mode, gap in MODES.items()
        for seed in (0, 1, 2)
    ]


@pytest.fixture(scope="module")
def widths(tmp_path_factory, make_run) -> list[Path]:
    root = tmp_path_factory.mktemp("widths")
    return [
        make_run(
            root / f"{width}-{seed}",
            width=width,
            seed=seed,
            gap=4 / width**0.5,
            config={"train.freeze": "theta"},
            overrides=[f"inference.network.widths=[{width},{width}]", f"seed={seed}"],
        )
        for width in (4, 32, 256)
        for seed in (0, 1)
    ]


@pytest.fixture(scope="module")
def written(modes, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return write_comparison(modes, out), out


def test_the_csv_repeats_the_numbers_of_the_files(written, modes):
    with (written[1] / "comparison.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["folder"] for row in rows] == list(map(str, modes))
    for row, folder in zip(rows, modes, strict=True):
        facts = json.loads((folder / "run.json").read_text())
        splits = json.loads((folder / "gap" / "summary.json").read_text())["splits"]
        own = "train" if row["inference"] == "free_form" else "test"  # a table is of training rows
        gap = splits[own] | {"evidence": splits["test"]["evidence"]}
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        last = {line["split"]: line for line in lines}
        new = facts["new_observation"]
        expected = {
            "test_bound": last["test"]["value"],
            "test_bound_se": last["test"]["standard_error"],
            "valid_bound": last["valid"]["value"],
            "train_bound": last["train"]["value"],
            "gap": gap["amortization_gap"]["mean"],
            "gap_se": gap["amortization_gap"]["se"],
            "evidence": gap["evidence"]["mean"],
            "num_variational_parameters": facts["num_variational_parameters"],
            "num_data": facts["num_data"],
            "new_gradient_evaluations": new["gradient_evaluations"],
            "new_milliseconds_one": new["milliseconds_one"],
            "gradient_evaluations": last["train"]["gradient_evaluations"],
            "seconds": 0.02 * last["train"]["step"],
        }
        # Exactly: the table writes what it read, without rounding.
        assert {key: float(row[key]) for key in expected} == expected


def test_seeds_are_summarised_as_numpy_does(modes):
    rows = collect(modes)
    for summary in summaries(rows):
        group = [row for row in rows if row.label == summary.label]
        bounds = [row.test_bound for row in group]
        gaps = [row.gap for row in group]
        assert summary.runs == 3
        assert summary.bound == (np.mean(bounds), np.std(bounds, ddof=1))
        assert summary.gap == (np.mean(gaps), np.std(gaps, ddof=1))


def test_one_run_has_no_deviation():
    assert np.isnan(mean_and_deviation([1.0]).se)
    assert not mean_and_deviation([float("nan")]).known
    assert not mean_and_deviation([1.0, 2.0, float("nan")]).known


def test_a_comparison_among_the_runs_is_not_one_of_them(modes, written):
    table = written[1] / "comparison.csv"
    assert table.is_file()
    assert [row.path for row in collect([*modes, written[1]])] == modes
    with pytest.raises(ConfigError, match="nothing to compare"):
        collect([written[1]])


def test_labels_name_only_what_differs(modes, widths):
    assert {row.label for row in collect(modes)} == set(MODES)
    assert {row.label for row in collect(widths)} == {
        f"amortized widths=[{width},{width}]" for width in (4, 32, 256)
    }


@pytest.mark.parametrize(("of_data", "labels"), [((0, 0, 0), 1), ((0, 1, 2), 1), ((0, 0, 5), 2)])
def test_seeds_of_one_experiment_are_one_whatever_the_seed_of_its_data(
    tmp_path, make_run, of_data, labels
):
    folders = [
        make_run(tmp_path / str(seed), seed=seed, config={"dataset.seed": data}, overrides=[])
        for seed, data in enumerate(of_data)
    ]
    rows = collect(folders)
    assert len({row.label for row in rows}) == labels


def test_runs_that_differ_in_the_config_alone_are_not_taken_for_seeds(tmp_path, make_run):
    folders = [
        make_run(tmp_path / str(size), config={"train.batch_size": size}, overrides=[])
        for size in (64, 128)
    ]
    assert [row.label for row in collect(folders)] == [
        "amortized train.batch_size=64",
        "amortized train.batch_size=128",
    ]


@pytest.mark.parametrize("chosen", ["modes", "widths", "long"])
def test_the_terminal_table_fits_in_eighty_columns(chosen, request, tmp_path, make_run):
    if chosen == "long":
        words = "x" * 150 + "\x1b[31m"
        folders = [
            make_run(
                tmp_path / name,
                num_data=10**9,
                inference="free_form",
                final=-123456.789,
                overrides=[f"dataset.path={words}{name}"],
            )
            for name in "ab"
        ]
    else:
        folders = request.getfixturevalue(chosen)
    rows = collect(folders)
    table = terminal(rows, claims(rows))
    assert max(map(len, table.splitlines())) <= 80
    assert "\x1b" not in table


def test_the_claims_hold_the_numbers_of_the_runs(modes):
    parameters, observation, capacity, *rest = claims(collect(modes))
    assert "free_form keeps 22,992 numbers for N = 1,437: N × 16" in parameters
    assert "svi keeps nothing" in parameters
    assert "amortized keeps 8,592 weights" in parameters
    assert "amortized pays one forward pass (0.21 ms)" in observation
    assert "4,000 gradient evaluations, 38 ms), 181 times" in observation  # 38 / 0.21
    assert "not shown by these runs" in capacity
    assert not rest


def test_parameters_are_shown_to_grow_with_n_where_two_sizes_were_run(tmp_path, make_run):
    folders = [
        make_run(tmp_path / f"{mode}-{size}", inference=mode, num_data=size)
        for mode in ("free_form", "amortized")
        for size in (500, 1000)
    ]
    parameters, *_ = claims(collect(folders))
    assert "8,000 numbers for N = 500, 16,000 numbers for N = 1,000" in parameters
    assert "the same 8,592 weights at N = 500 and 1,000" in parameters


def test_the_gap_against_width_is_read_off_in_the_order_of_capacity(widths):
    rows = collect(list(reversed(widths)))
    words = claims(rows)[2]
    gaps = [
        np.mean([row.gap for row in rows if f"[{width}," in row.label]) for width in (4, 32, 256)
    ]
    assert words.startswith("Gap against encoder width, on one frozen decoder")
    assert words.index("[4,4]") < words.index("[32,32]") < words.index("[256,256]")
    assert f"falls at every step, from {gaps[0]:.2f} to {gaps[2]:.2f} nats" in words


def test_a_width_that_all_encoders_share_is_no_part_of_their_names(tmp_path, make_run):
    """Such as that of the network which `auto` stands for, beside the list of its widths."""
    folders = [
        make_run(tmp_path / str(width), width=width, config={"inference.width": 100})
        for width in (4, 32)
    ]
    words = claims(collect(folders))[2]
    assert "[4,4]: " in words
    assert "100" not in words


def test_widths_without_a_frozen_decoder_carry_a_warning(tmp_path, make_run):
    folders = [make_run(tmp_path / str(width), width=width) for width in (4, 32)]
    assert "trained with a decoder of its own" in claims(collect(folders))[2]


def test_different_bounds_are_not_silently_compared(tmp_path, make_run):
    folders = [make_run(tmp_path / name, objective=name) for name in ("elbo", "iwae")]
    assert any("different bounds (ELBO, IWAE-5)" in words for words in claims(collect(folders)))


def test_two_bounds_of_one_model_share_neither_axis_nor_gap(tmp_path, make_run):
    folders = [
        make_run(tmp_path / name) for name in ("ELBO under q(topics)", "ELBO at mean topics")
    ]
    for folder in folders:
        facts = json.loads((folder / "run.json").read_text()) | {"bound": folder.name}
        (folder / "run.json").write_text(json.dumps(facts))
    (words,) = (words for words in claims(collect(folders)) if "different bounds" in words)
    assert "(ELBO at mean topics, ELBO under q(topics))" in words
    assert words.endswith("their bounds cannot be compared with one another, nor can their gaps.")


def test_a_sweep_folder_stands_for_its_runs(modes):
    assert len(collect([modes[0].parent])) == len(modes)
    assert len(collect([modes[0], modes[0]])) == 1


def test_a_comparison_writes_its_files_and_nothing_else(written):
    names = {"comparison.csv", "comparison.html", "comparison.md", "comparison.png"}
    comparison, out = written
    several = {"comparison_pairs.json", "comparison_seeds.csv", "comparison_gaps.png"}
    assert {path.name for path in out.iterdir()} == names | several
    assert set(comparison.paths) == set(out.iterdir())


def test_hostile_words_do_not_reach_markdown_or_page(tmp_path, make_run):
    words = "<script>alert(1)</script>|`x`$a_{$"
    folders = [
        make_run(tmp_path / name, seed=seed, overrides=[f"dataset.path={words}{name}"])
        for seed, name in enumerate("ab")
    ]
    write_comparison(folders, tmp_path / "out")
    markdown = (tmp_path / "out" / "comparison.md").read_text("utf-8")
    assert "<script>" not in (tmp_path / "out" / "comparison.html").read_text("utf-8")
    assert "<script>" not in markdown
    assert r"\|\`x\`" in markdown


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: shutil.rmtree(run), "is not a run folder: it does not exist"),
        (lambda run: (run / "metrics.jsonl").unlink(), "has no metrics yet"),
        (lambda run: (run / "run.json").write_text("{"), "has no readable run.json"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_a_sentence(tmp_path, damage, words, make_run):
    folder = make_run(tmp_path / "run")
    damage(folder)
    with pytest.raises(ConfigError, match=words):
        collect([folder])
    # Beside one that can be it is listed, and nothing is lost.
    other = make_run(tmp_path / "other")
    comparison = write_comparison([folder, other], tmp_path / "out")
    assert [row.path for row in comparison.rows] == [other]
    assert "Left out: " in comparison.terminal
    assert words.split()[0] in comparison.terminal


def test_the_same_run_twice_is_counted_once(tmp_path, make_run):
    folders = [make_run(tmp_path / name, seed=3) for name in ("a", "b")]
    rows, left_out = runs.collect(folders)
    assert [row.path for row in rows] == folders[:1]
    assert len(left_out) == 1
    assert "b has the settings, seed and data of another" in left_out[0]


@pytest.mark.parametrize(
    ("change", "caution"),
    [
        (None, None),
        ({"data_sha256": "1" * 64}, "saw different data"),
        ({"data_sha256": ""}, None),  # of a run that did not record it
    ],
)
def test_runs_over_other_rows_are_cautioned(tmp_path, make_run, change, caution):
    folders = [make_run(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    if change:
        path = folders[1] / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    cautions = [words for words in claims(collect(folders)) if words.startswith("Caution")]
    assert [caution in words for words in cautions] == ([True] if caution else [])


def test_a_density_beside_a_probability_is_cautioned_and_both_are_named(tmp_path, make_run):
    folders = [make_run(tmp_path / name) for name in ("bernoulli", "gaussian")]
    for folder in folders:
        likelihood = {"_target_": f"avi.likelihoods.{folder.name}.{folder.name.title()}"}
        path = folder / "config.yaml"
        tree = yaml.safe_load(path.read_text()) or {}
        model = tree.get("model") if isinstance(tree.get("model"), dict) else {}
        path.write_text(yaml.safe_dump(tree | {"model": model | {"likelihood": likelihood}}))
    words = [each for each in claims(collect(folders)) if "likelihoods" in each]
    assert len(words) == 1
    assert "bernoulli, gaussian" in words[0]


def test_nothing_to_compare_is_refused_with_what_to_type():
    with pytest.raises(ConfigError, match="avi compare"):
        collect([])


def test_a_run_without_gap_and_timing_still_has_its_row(tmp_path, make_run):
    folder = make_run(tmp_path / "run")
    shutil.rmtree(folder / "gap")
    (folder / "timing.jsonl").unlink()
    comparison = write_comparison([folder], tmp_path / "out")
    assert comparison.rows[0].test_bound == -20.0
    assert not comparison.rows[0].gap_value.known
    assert np.isnan(comparison.rows[0].seconds)


def test_the_best_comes_first_and_is_held_against_the_others_row_by_row(make_run, tmp_path):
    """Three seeds each; the wider encoder is better by known numbers on every row."""
    folders = []
    for width, final in ((16, -22.0), (64, -20.0)):
        for seed in range(3):
            folders.append(
                make_run(tmp_path / f"{width}-{seed}", seed=seed, width=width, final=final)
            )
    comparison = write_comparison(folders, tmp_path / "out")
    assert [row.label for row in comparison.rows][:3] == [comparison.rows[0].label] * 3
    assert all("64" in row.label for row in comparison.rows[:3])
    (pair,) = read_pairs(tmp_path / "out")
    wide, narrow = comparison.rows[:3], comparison.rows[3:]
    common = sorted(set.intersection(*(set(row.points["test"]) for row in comparison.rows)))
    assert (pair.rows, pair.seeds_first, pair.seeds_other) == (len(common), 3, 3)

    def mean(rows, column):
        return np.mean([[row.points["test"][one][column] for one in common] for row in rows])

    np.testing.assert_allclose(pair.bound, mean(wide, 0) - mean(narrow, 0))
    np.testing.assert_allclose(pair.gap, mean(narrow, 1) - mean(wide, 1))
    low, high = pair.bound_interval
    assert low < pair.bound < high
    assert f"[{low:.2f}, {high:.2f}]" in comparison.terminal
    assert max(map(len, comparison.terminal.splitlines())) <= 80


def test_the_interval_of_a_difference_is_that_of_rows_and_seeds():
    """Rows shared by both cancel; seeds do not: their spread is the interval's width."""
    draws = np.random.default_rng(0)
    rows = 5 * draws.standard_normal((1, 200, 1))
    first = np.concatenate([rows + 0.3, rows + 0.3], axis=2)
    other = np.concatenate([rows, rows], axis=2)
    alone = pairs._pair("a", first, "b", other, "test")
    np.testing.assert_allclose(alone.bound_interval, [0.3, 0.3], atol=1e-9)
    np.testing.assert_allclose(alone.gap_interval, [-0.3, -0.3], atol=1e-9)
    seeds = np.array([-1.0, 0.0, 1.0])[:, None, None]
    several = pairs._pair("a", first + seeds, "b", other + seeds, "test")
    low, high = several.bound_interval
    # Each mean of three seeds drawn anew has a standard deviation of sqrt(2 / 3) / sqrt(3).
    np.testing.assert_allclose((high - low) / 2, 1.96 * np.sqrt(2) * np.sqrt(2) / 3, rtol=0.15)


def test_runs_that_cannot_be_compared_are_neither_ranked_nor_paired(make_run, tmp_path):
    folders = [
        make_run(tmp_path / "a", final=-22.0),
        make_run(tmp_path / "b", final=-20.0, num_data=100),
    ]
    comparison = write_comparison(folders, tmp_path / "out")
    assert [row.path.name for row in comparison.rows] == ["a", "b"]
    assert read_pairs(tmp_path / "out") == []


def test_a_table_is_compared_on_its_own_rows(make_run, tmp_path):
    folders = [
        make_run(tmp_path / "table", inference="free_form", final=-19.0),
        make_run(tmp_path / "encoder", final=-20.0),
    ]
    comparison = write_comparison(folders, tmp_path / "out")
    assert [row.gap_split for row in comparison.rows] == ["train", "test"]
    (pair,) = read_pairs(tmp_path / "out")
    assert pair.split == "train"
    assert "(train)" in comparison.terminal


def test_the_one_number_that_varies_is_found(widths, modes):
    found = varied(collect(widths))
    assert found.key == "inference.network.widths"
    assert sorted(found.values.values()) == [4, 32, 256]
    assert varied(collect(modes)) is None  # a mode is no number
    assert varied(collect(widths[:4])) is None  # two values are no curve


def test_gaps_are_drawn_where_two_configurations_have_one(widths, tmp_path):
    write_comparison(widths, tmp_path / "several")
    assert (tmp_path / "several" / "comparison_gaps.png").is_file()
    page = (tmp_path / "several" / "comparison.html").read_text()
    assert page.index("mean ± sd over runs") < page.index("What they lose") < page.index("<h2>How")
    write_comparison(widths[:2], tmp_path / "alone")  # two seeds of one
    assert not (tmp_path / "alone" / "comparison_gaps.png").exists()
