"""The search of a gap report from the family's start: `local_avi.py <run> <rows> <refine> <how>`.

`how` is lanes, which refill as rows converge, or batches: one stopping rule for each batch.
"""

import sys
from pathlib import Path

from worker import Unit, serve


def set_up() -> tuple[Unit, dict]:
    """Open the run and return one search of all rows."""
    import numpy as np

    from avi import config
    from avi.gap.kernels import Kernels
    from avi.gap.search import Job, Searcher
    from avi.plain_yaml import read_tree
    from avi.rundir import RunDir
    from avi.session import open_session, restored

    folder, number, refine, how = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    tree = config.replace_groups(read_tree(folder / "config.yaml"), {"refine": refine})
    session = open_session(tree)
    state, _ = restored(session, RunDir.open(folder))
    experiment = session.experiment
    kernels = Kernels(experiment, experiment.gap, experiment.dataset.fixed().view)
    points = session.points("test", number)
    start = np.asarray(experiment.problem.family.init())

    def search() -> dict:
        jobs = [Job(place, 0, start) for place in range(len(points))]
        searcher = Searcher(kernels, state.params.theta, points, experiment.gap)
        if how == "lanes":
            searcher.run(jobs, lambda job: None)
        else:
            _batches(searcher, jobs)
        found = [job.found for job in jobs]
        return {
            "rows": len(points),
            "reached": {
                "rows": len(points),
                "mean_certificate": float(np.mean([one.certificate for one in found])),
                "converged": sum(one.converged for one in found),
                "gradient_evaluations": sum(job.spent for job in jobs),
            },
        }

    return search, {}


def _batches(searcher, jobs) -> None:
    """Climb each batch until all of its rows have converged or spent their budget."""
    width = searcher.settings.width
    for first in range(0, len(jobs), width):
        batch = jobs[first : first + width]
        while not all(
            job.found and (job.found.converged or job.spent >= searcher.settings.budget)
            for job in batch
        ):
            searcher._climb(batch)
            for job in batch:
                job.found = None  # what counts is where the climb stands
            searcher.certify(batch)


if __name__ == "__main__":
    serve(set_up)
