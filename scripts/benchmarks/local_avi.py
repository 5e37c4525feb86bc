"""The search of a gap report from the family's start.

  local_avi.py <run> <rows> <rounds> <refine> <how>

`how` is lanes, which refill as rows converge, or batches: one stopping rule for each batch. The
first unit, which compiles, does one batch of rows; then each round its own part of all of them.
"""

import sys
from pathlib import Path

from worker import Unit, serve


def set_up() -> tuple[Unit, dict]:
    """Open the run and return one search of a part of the rows."""
    import numpy as np

    from avi.config.compose import replace_groups
    from avi.gap.compiled import Compiled
    from avi.gap.search import Job, Searcher
    from avi.run.session import open_session, restored
    from avi.rundir import RunDir
    from avi.rundir.bounded import read_tree

    folder, number, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    refine, how = sys.argv[4:]
    tree = replace_groups(read_tree(folder / "config.yaml"), {"refine": refine})
    session = open_session(tree)
    state, _ = restored(session, RunDir.open(folder))
    experiment = session.experiment
    compiled = Compiled(
        experiment, experiment.gap, state.params.theta, experiment.dataset.fixed().view
    )
    points = session.points("test", number)
    start = np.asarray(experiment.problem.family.init())

    settings = experiment.gap
    places = np.arange(len(points))
    parts = iter([places[: settings.width], *np.array_split(places, rounds)])

    def search() -> dict:
        jobs = [Job(place, 0, start) for place in next(parts).tolist()]
        searcher = Searcher(compiled, points, settings)
        if how == "lanes":
            searcher.run(jobs, lambda job: None)
        else:
            _batches(searcher, jobs)
        found = [job.found for job in jobs]
        return {
            "certificates": [float(one.certificate) for one in found],
            "converged": sum(one.converged for one in found),
        }

    return search, {}


def _batches(searcher, jobs) -> None:
    """Climb each batch until all of its rows have converged or spent their budget."""
    from avi.gap.search import is_done

    width = searcher.settings.width
    for first in range(0, len(jobs), width):
        batch = jobs[first : first + width]
        while not all(is_done(job.found, searcher.settings) for job in batch):
            searcher._climb(batch)
            for job in batch:
                job.found = None  # what counts is where the climb stands
            searcher.certify(batch)


if __name__ == "__main__":
    serve(set_up)
