"""lam* of one row after the other in PyTorch: `local_torch.py <run> <rows> <rounds> <few>`.

Each round does the first `few` rows of its part of all of them.
Adam from q = N(0, I), 16 draws a step, in climbs of 200 steps of which the second half is averaged,
as avi's. How many of these a row needs is found beforehand, and not timed, with avi's certificate.
"""

import sys
from pathlib import Path

from worker import Unit, serve

DRAWS, STEPS, RATE, MOST_CLIMBS = 16, 200, 0.03, 15


def set_up() -> tuple[Unit, dict]:
    """Return one optimisation of each row of a part, as long as it needs."""
    import numpy as np
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    from avi.gap.compiled import Compiled
    from avi.gap.search import Job, Searcher
    from avi.run.session import open_session, restored
    from avi.rundir import RunDir
    from avi.rundir.bounded import read_tree

    folder, (number, rounds, few) = Path(sys.argv[1]), map(int, sys.argv[2:])
    session = open_session(read_tree(folder / "config.yaml"))
    state, _ = restored(session, RunDir.open(folder))
    experiment = session.experiment
    compiled = Compiled(
        experiment, experiment.gap, state.params.theta, experiment.dataset.fixed().view
    )
    points = session.points("test", number)
    searcher = Searcher(compiled, points, experiment.gap)
    size = experiment.problem.model.latent.size
    weights = [
        (torch.tensor(np.asarray(layer["kernel"])), torch.tensor(np.asarray(layer["bias"])))
        for _, layer in sorted(state.params.theta["decoder"].items())
    ]
    of_rounds = [part[:few].tolist() for part in np.array_split(np.arange(number), rounds)]
    xs = {}
    for place in (place for part in of_rounds for place in part):
        row, row_id = points.rows[place], np.int32(points.ids[place])
        xs[place] = torch.tensor(np.asarray(compiled.view(row, row_id, np.int32(0))))

    def loss(x, mean, log_scale):
        hidden = mean + log_scale.exp() * torch.randn(DRAWS, size)
        for kernel, bias in weights[:-1]:
            hidden = torch.tanh(hidden @ kernel + bias)
        logits = hidden @ weights[-1][0] + weights[-1][1]
        fit = binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="sum")
        kl = 0.5 * (mean**2 + (2 * log_scale).exp() - 1).sum() - log_scale.sum()
        return fit / DRAWS + kl

    def climb(x, times):
        """Yield lam after every climb."""
        mean = torch.zeros(size, requires_grad=True)
        log_scale = torch.zeros(size, requires_grad=True)
        optimizer = torch.optim.Adam([mean, log_scale], lr=RATE, betas=(0.9, 0.99))
        for _ in range(times):
            kept = []
            for step in range(STEPS):
                optimizer.zero_grad(set_to_none=True)
                loss(x, mean, log_scale).backward()
                optimizer.step()
                if step >= STEPS // 2:
                    kept.append(torch.cat([mean, log_scale]).detach().clone())
            yield torch.stack(kept).mean(0).numpy()

    def needed(place):
        """Return the climbs after which row `place` is certified, and the last certificate."""
        torch.manual_seed(place)
        found = []
        for lam in climb(xs[place], MOST_CLIMBS):
            job = Job(place, 0, lam)
            searcher.certify([job])
            found.append(job.found)
            if job.found.converged:
                break
        return len(found), found[-1]

    ends = {place: needed(place) for place in xs}
    parts = iter([of_rounds[0][:1], *of_rounds])

    def one_part() -> dict:
        places = next(parts)
        for place in places:
            torch.manual_seed(place)
            list(climb(xs[place], ends[place][0]))
        found = [ends[place][1] for place in places]
        return {
            "certificates": [float(one.certificate) for one in found],
            "converged": sum(one.converged for one in found),
        }

    return one_part, {
        "climbs": [number for number, _ in ends.values()],
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    serve(set_up)
