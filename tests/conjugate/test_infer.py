"""Posteriors of documents that a person brings."""

import jax
import numpy as np
import pytest
from conjugate.corpora import NUM_TERMS, corpus, seen

from avi.config.compose import compose
from avi.results import form
from avi.run.form import keep, kept
from avi.run.posterior import of_file
from avi.run.session import open_session

MODES = {
    "svi": "inference=svi",
    "free_form": "inference=free_form",
    "cavi": "inference=cavi",
}


def lines(x):
    """Return padded documents in lda-c format."""
    for ids, counts in zip(np.asarray(x.ids), np.asarray(x.counts).astype(int), strict=True):
        pairs = [f"{term}:{count}" for term, count in zip(ids, counts, strict=True) if count]
        yield f"{len(pairs)} {' '.join(pairs)}\n"


def opened(folder, mode):
    (folder / "counts").write_text("".join(lines(seen(corpus(40)))))
    (folder / "terms").write_text("".join(f"word{n}\n" for n in range(NUM_TERMS)))
    words = (
        f"model=lda model.latent_size=3 dataset=corpus {MODES[mode]} train.batch_size=8 "
        f"dataset.path={folder}/counts dataset.vocabulary={folder}/terms precision=float64"
    )
    return open_session(compose(words.split())[0].tree)


@pytest.mark.parametrize("mode", MODES)
def test_documents_of_a_file_get_the_posteriors_of_the_same_held_out_rows(tmp_path, mode):
    session = opened(tmp_path, mode)
    own, points = session.evaluator(1), session.points("test")
    padded = jax.tree.map(lambda column: column[np.arange(len(column))], points.rows)
    (tmp_path / "mine.dat").write_text("".join(lines(padded)))
    evaluator, brought, name, _ = of_file(session, tmp_path / "mine.dat", None)
    params, key = session.initial_state().params, jax.random.key(0)
    found, expected = (e.lams(params, p, key) for e, p in ((evaluator, brought), (own, points)))
    assert name == "mine"
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    # The form that a run keeps stands in for the documents it was trained on.
    keep(tmp_path, session.splits)
    stands = kept(tmp_path, None)
    assert stands.vocabulary == session.splits.vocabulary
    alone, again, _, _ = of_file(session._replace(splits=stands), tmp_path / "mine.dat", None)
    np.testing.assert_array_equal(alone.lams(params, again, key), found)


def test_a_form_that_no_run_wrote_says_nothing(tmp_path):
    vocabulary = np.frombuffer(b"a\nb", np.uint8)
    for terms in (np.array([5]), np.array([0.5]), np.array([[0]])):
        form.write(tmp_path, form.Form(terms=terms, vocabulary=vocabulary))
        assert kept(tmp_path, None) is None
    form.write(tmp_path, form.Form(terms=np.array([1]), vocabulary=vocabulary))
    assert kept(tmp_path, None).vocabulary == ("a", "b")
