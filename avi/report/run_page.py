"""report.html: one self-contained page that says what a run reached and how far to believe it."""

import math
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np

from avi.report import figures, images, topics
from avi.report import gap_page as gaps
from avi.report import render as page
from avi.report.files import (
    SPLITS,
    RunFiles,
    Value,
    number,
    read_run,
    splits,
    text,
    write_atomically,
)
from avi.report.style import png, svg
from avi.report.wording import (
    choice,
    count,
    duration,
    gap_name,
    growth,
    is_amortized,
    is_incidental,
    loser,
    new_observation,
    objective_name,
    plus_minus,
)


def write_report(run: Path, status: str | None = None) -> Path:
    """Write report.html, elbo.png and gap/gap.png of the run folder `run` from its files.

    `status` is what run.json will say once the page is there, where it does not yet.
    """
    files = read_run(Path(run))
    if status is not None:
        files = replace(files, facts={**files.facts, "status": status})
    write_figures(files)
    if files.gap is not None:
        write_atomically(files.folder / gaps.GUIDE, _guide().read_text("utf-8"))
    return write_atomically(files.folder / "report.html", report(files))


def _guide() -> Path:
    """Return the page on how to read a gap report: in docs/ of a checkout, else beside avi."""
    package = Path(__file__).resolve().parents[1]
    in_checkout = package.parent / "docs" / Path(gaps.GUIDE).name
    return in_checkout if in_checkout.is_file() else package / "docs" / Path(gaps.GUIDE).name


def write_figures(run: RunFiles) -> list[Path]:
    """Write elbo.png, and gap/gap.png where there is a gap report."""
    written = []
    if any(curve.points for curve in run.curves.values()):
        drawing = figures.elbo_curves(run.curves, objective_name(run))
        written.append(write_atomically(run.folder / "elbo.png", png(drawing)))
    if run.gap is not None:
        drawing = figures.gap_figure(gaps.decompositions(run), gaps.point_gaps(run), gap_name(run))
        written.append(write_atomically(run.folder / "gap" / "gap.png", png(drawing)))
    return written


def report(run: RunFiles) -> str:
    """Return the page."""
    title = " · ".join(
        filter(None, (choice(run, group) for group in ("model", "inference", "dataset")))
    )
    return page.page(
        f"avi: {title or run.folder.name}",
        page.paragraph(run.folder.resolve().name, "kicker"),
        f"<h1>{page.escape(title or 'A run')}</h1>",
        page.paragraph(headline(run), "headline"),
        page.banner(_warnings(run)),
        page.facts(_facts(run)),
        *(page.paragraph(remark, "note") for remark in _sentences(run.fact("remarks"))),
        _curves(run),
        topics.section(run),
        gaps.section(run),
        _observations(run),
        _latent_space(run),
        _reproduce(run),
        "<footer>Made from the files in this folder.</footer>",
    )


def final_bound(run: RunFiles) -> tuple[str, Value]:
    """Return the split and the value of the final bound: test, else valid, else train."""
    for split in reversed(SPLITS):
        last = run.curves[split].last
        if last is not None and last.bound.known:
            return split, last.bound
    return "", Value(math.nan)


def headline(run: RunFiles) -> str:
    """Return the result in one sentence, and what is not known in another."""
    split, bound = final_bound(run)
    names = {"test": "Test", "valid": "Validation", "train": "Training"}
    if split:
        result = f"{names[split]} {objective_name(run)} {plus_minus(bound)} nats per datapoint"
    else:
        result = "No bound has been measured yet"
    if run.gap is None:
        return f"{result}. How much of it {loser(run)} loses has not been measured."
    measured = [name for name in ("test", "valid", "train") if gaps.gap_value(run, name).known]
    if not measured:
        return f"{result}. The gap report holds no gap."
    return f"{result}; {_loss(run, measured[0])}."


def _loss(run: RunFiles, split: str) -> str:
    gap = gaps.gap_value(run, split)
    error = np.nan_to_num(gap.standard_error)
    where = "" if split == "test" else f" on the {split} rows"
    best = "the best member of its own family" + where
    nats = "nats" if objective_name(run) == "ELBO" else "nats of ELBO"
    if gap.mean < -3 * error and gap.mean < 0:
        return f"its gap report contradicts itself: a gap of {plus_minus(gap)} nats{where}"
    # A few rows far off make the mean uncertain for others like them, not what these rows lost.
    noise = number(splits(run).get(split), "amortization_gap", "se_mc")
    if gap.mean <= 2 * (noise if math.isfinite(noise) else error):
        return f"{loser(run)} loses nothing measurable to {best} ({plus_minus(gap)} nats)"
    tolerance = number(run.gap, "tolerance")
    if gap.mean + 2 * error < tolerance:
        return f"{loser(run)} loses less than {tolerance:g} {nats} to {best}"
    if is_amortized(run):
        return f"{loser(run)} loses {plus_minus(gap)} {nats} to {best}"
    return f"{loser(run)} ends {plus_minus(gap)} {nats} short of {best}"


def _warnings(run: RunFiles) -> list[str]:
    sentences = {
        "running": "This run was still going when the page was made.",
        "interrupted": "This run was interrupted before its end; "
        f"`avi train resume={run.folder}` goes on from its last checkpoint.",
        "failed": "This run failed; log.txt says why. What was written before is shown here.",
    }
    status = [sentences[state] for state in (text(run.facts, "status"),) if state in sentences]
    return [*status, *run.damage]


def _facts(run: RunFiles) -> list[tuple[str, str, str]]:
    train = run.curves["train"].last
    epochs = f"{train.epoch:g}" if train and math.isfinite(train.epoch) else ""
    gradients = (
        f"{count(train.gradient_evaluations)} gradient evaluations"
        if train and math.isfinite(train.gradient_evaluations)
        else ""
    )
    latent = number(run.facts, "latent_size")
    each = number(run.facts, "params_per_datapoint")
    data = number(run.facts, "num_data")
    theta = number(run.facts, "num_model_parameters")
    phi = number(run.facts, "num_variational_parameters")
    compiling = run.compile_seconds
    return [
        ("model", choice(run, "model"), f"latent size {count(latent)}" * math.isfinite(latent)),
        ("inference mode", choice(run, "inference"), ""),
        (
            "family",
            choice(run, "family"),
            f"{count(each)} numbers λ per datapoint" * math.isfinite(each),
        ),
        ("objective", choice(run, "objective"), f"the curves show the {objective_name(run)}"),
        ("data set", choice(run, "dataset"), f"N = {count(data)} training rows" * (data > 0)),
        ("model parameters θ", count(theta) * math.isfinite(theta), ""),
        ("variational parameters φ", count(phi) * math.isfinite(phi), growth(run)),
        ("a new observation costs", *new_observation(run)),
        ("epochs", epochs, gradients),
        ("time", _time(run), f"compiling took {duration(compiling)}" * math.isfinite(compiling)),
        ("seed", _words(run.setting("seed")), _words(run.setting("precision"))),
        ("started from", _words(run.setting("train", "start")), _frozen(run)),
    ]


def _sentences(value: object) -> list[str]:
    return [str(sentence) for sentence in value] if isinstance(value, list) else []


def _words(value: object) -> str:
    return "" if value is None else str(value)


def _frozen(run: RunFiles) -> str:
    return "its θ is kept as it was" if run.setting("train", "freeze") == "theta" else ""


def _time(run: RunFiles) -> str:
    seconds = [curve.axis("seconds") for curve in run.curves.values()]
    known = [float(values[np.isfinite(values)].max(initial=0.0)) for values in seconds]
    return duration(max(known)) if max(known, default=0.0) > 0 else ""


def _curves(run: RunFiles) -> str:
    name = objective_name(run)
    if not any(curve.points for curve in run.curves.values()):
        return page.section(
            f"{name} curves",
            page.paragraph(
                "No measurements were found in metrics.jsonl: nothing has been trained."
            ),
        )
    held_out = [split for split in ("valid", "test") if run.curves[split].points]
    sentences = [
        "Every value is a lower bound on log p(x), so the model is at least this good. "
        "The training line is the mean over batches while the parameters move (bold: its running "
        "mean)."
    ]
    for split in held_out:
        last = run.curves[split].last
        rows = f" over {count(last.num_points)} rows" if last and last.num_points > 0 else ""
        sentences.append(f"{split.capitalize()} points are means{rows} ± one standard error.")
    if "test" not in held_out:
        sentences.append("No bound on test rows was measured (train.eval_points).")
    return page.section(
        f"{name} curves",
        page.figure(
            svg(figures.elbo_curves(run.curves, name), f"{name} curves"), " ".join(sentences)
        ),
    )


def _observations(run: RunFiles) -> str:
    snapshot = run.snapshot
    inputs, reconstructions = snapshot.get("inputs"), snapshot.get("reconstructions")
    if not snapshot:
        return page.section(
            "Observations and latent space",
            page.paragraph(
                "There are no pictures: this run has no snapshot.npz, which a run writes at its "
                "end. This command finishes a run that was stopped:"
            ),
            page.code(f"avi train {shlex.quote(f'resume={run.folder}')}"),
        )
    shape = images.shape_of(snapshot, run.fact("image_shape"))
    stacks = [
        stack
        for stack in (images.stack(inputs, shape), images.stack(reconstructions, shape))
        if stack is not None
    ]
    samples = images.stack(snapshot.get("samples"), shape)
    parts = []
    if stacks:
        parts.append(
            page.figure(
                page.image(images.mosaic(stacks), "observations over their reconstructions"),
                "Observations, and under each its reconstruction: the mean of x at the "
                "posterior mean of z."
                if len(stacks) == 2
                else "Observations.",
            )
        )
    elif inputs is not None and inputs.ndim == 2 and len(inputs):
        same = reconstructions is not None and reconstructions.shape == inputs.shape
        drawing = figures.profiles(inputs, reconstructions if same else None)
        parts.append(page.figure(svg(drawing, "Observations and reconstructions")))
    if samples is not None:
        parts.append(
            page.figure(
                page.image(images.mosaic([samples]), "samples from the model"),
                "Samples: z from the prior, and the mean of x for it. No inference is involved.",
            )
        )
    return page.section("What the model sees and makes", *parts)


def _latent_space(run: RunFiles) -> str:
    means = run.snapshot.get("latent_mean")
    if means is None or means.ndim != 2 or 0 in means.shape or not np.isfinite(means).all():
        return ""
    deviations, labels = run.snapshot.get("latent_std"), run.snapshot.get("labels")
    if deviations is not None and deviations.shape != means.shape:
        deviations = None
    drawing = figures.latent_space(means, deviations, labels)
    return page.section(
        "Latent space",
        page.figure(svg(drawing, "Latent space"), _latent_words(means, labels), "narrow"),
    )


def _latent_words(means: np.ndarray, labels: np.ndarray | None) -> str:
    words = f"Posterior means of {count(len(means))} observations"
    if labels is not None and len(labels) == len(means):
        words += ", by label (no label was seen in training)"
    size = means.shape[1]
    if size > 2:
        first, second = sorted(figures.most_active(means))
        active = int((np.var(means, axis=0) > 0.01).sum())
        words += (
            f". Of {size} dimensions, z[{first}] and z[{second}] vary most; {active} vary at all "
            "(variance of the means above 0.01)"
        )
    return words + "."


def _reproduce(run: RunFiles) -> str:
    words = [word for word in _sentences(run.fact("overrides")) if not is_incidental(word)]
    parts = ["avi", "jax", "jaxlib", "numpy", "python", "machine", "device"]
    versions = [f"{part} {run.fact(part)}" for part in parts if run.fact(part)]
    exact = {
        True: "On the same machine type and versions the numbers come out the same, bit for bit.",
        False: "On this device the last bits of the numbers may differ from run to run.",
    }
    known = run.fact("bit_exact")
    return page.section(
        "Do it again",
        page.code(" ".join(["avi train", *map(shlex.quote, words)])),
        page.paragraph(exact[known] if isinstance(known, bool) else "", "note"),
        page.paragraph(" · ".join(versions), "note"),
        page.folded("The whole configuration", page.code(run.config_text))
        if run.config_text
        else "",
    )
