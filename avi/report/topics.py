"""The topics section of a page: what a topic model has learned, and which bound each number is."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from avi.report import figures
from avi.report import render as page
from avi.report.files import RunFiles, lookup, number, text
from avi.report.style import svg
from avi.report.wording import count, objective_name, signed, three_digits

TERMS_SHOWN = 10
COLLAPSED = 0.01  # nats per word over a single topic, below which topics are as good as equal
BOUNDS = {
    "full_document": "full document",
    "completion": "document completion",
    "one_topic": "a single topic, for comparison",
}


def section(run: RunFiles) -> str:
    """Return the whole section; empty where the run has no topics."""
    found = lookup(run.topics, "topics")
    topics = (
        [tree for tree in found if isinstance(tree, Mapping)] if isinstance(found, list) else []
    )
    if not topics:
        return ""
    curves = figures.elbo_curves(run.curves, objective_name(run), "documents")
    return page.section(
        "Topics",
        page.banner(_warnings(run)),
        page.paragraph(_summary(run)),
        page.table(
            ["topic", "share of tokens", "share of documents", "NPMI", "top terms (% of topic)"],
            [_row(tree) for tree in sorted(topics, key=lambda tree: -number(tree, "tokens"))],
            ["number", "number", "number", "number", "words"],
        ),
        "<h3>Held-out bounds per word</h3>",
        page.table(
            ["", "nats per word", "perplexity", "tokens", "what it is"],
            list(_bounds(run)),
            ["", "number", "number", "number", "words"],
        ),
        page.paragraph(
            f"Held-out bounds take the topics as known at their posterior mean. The "
            f"{objective_name(run)} of the curves and of the gap averages over q(topics): another "
            "bound, in nats per document, not to be compared with these. Its training line also "
            "pays for the topics themselves, -KL(q(topics) || prior) / N; its test points do not."
        ),
        page.figure(svg(curves, "The bound against documents seen and seconds")),
        page.folded(
            "How the numbers are defined",
            *(
                page.claim(f"{name.replace('_', ' ')}: {words}")
                for name, words in _definitions(run).items()
            ),
        ),
    )


def _definitions(run: RunFiles) -> dict[str, str]:
    found = lookup(run.topics, "definitions")
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, Mapping) else {}


def _warnings(run: RunFiles) -> list[str]:
    reached, single = (
        number(run.topics, "held_out", name, "nats_per_word")
        for name in ("full_document", "one_topic")
    )
    if not reached - single < COLLAPSED:
        return []
    return [
        f"The topics have collapsed: held-out documents gain {signed(f'{reached - single:.3f}')} "
        "nats per word over a single topic. A small gap says nothing about such a model: compare "
        "bounds. Start from a trained one, of inference=svi, with train.start=<its folder>."
    ]


def _summary(run: RunFiles) -> str:
    told_apart, coherence = (number(run.topics, key) for key in ("told_apart", "coherence"))
    sentences = []
    if math.isfinite(told_apart):
        sentences.append(f"Together they tell as much apart as {told_apart:.1f} disjoint topics.")
    if math.isfinite(coherence):
        sentences.append(signed(f"Their mean coherence (NPMI) is {coherence:.3f}."))
    return " ".join([*sentences, "Every term and weight is in topics.csv."])


def _row(tree: Mapping[str, Any]) -> list[str]:
    listed = lookup(tree, "terms")
    pairs = [
        (str(pair[0]), number({"weight": pair[1]}, "weight"))
        for pair in (listed if isinstance(listed, list) else [])[:TERMS_SHOWN]
        if isinstance(pair, list) and len(pair) == 2
    ]
    return [
        count(number(tree, "topic")),
        _percent(number(tree, "tokens")),
        _percent(number(tree, "share")),
        three_digits(number(tree, "coherence")),
        ", ".join(f"{term} {100 * weight:.1f}" for term, weight in pairs),
    ]


def _bounds(run: RunFiles) -> Iterator[list[str]]:
    for key, name in BOUNDS.items():
        tree = lookup(run.topics, "held_out", key)
        if math.isfinite(number(tree, "nats_per_word")):
            yield [
                name,
                signed(f"{number(tree, 'nats_per_word'):.4f}"),
                f"{number(tree, 'perplexity'):,.1f}",
                count(number(tree, "tokens")),
                text(run.topics, "definitions", key),
            ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if math.isfinite(share) else ""
