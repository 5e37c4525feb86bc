"""Why a run had to end: which rows and which parameters made a number that is not finite."""

from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np

from avi.engine.loop import Chunk
from avi.errors import NonFiniteError
from avi.population import Points
from avi.process.grammar import many
from avi.randomness import key_for
from avi.results.store import npz
from avi.run.session import Session
from avi.rundir import RunDir, atomic_write, checkpoints
from avi.rundir.bounded import read_tree
from avi.rundir.trees import flatten_tree
from avi.settings import Split
from avi.types import Params

RATES = ("learning_rate", "rate", "init_value", "peak_value")  # names of the size of a step

RowsOf = Callable[[int], tuple[np.ndarray, np.ndarray]]  # of a step: its rows and its key


class Postmortem:
    """Writes nan_dump.npz and puts into words what went wrong."""

    def __init__(self, session: Session, run: RunDir, rows_of: RowsOf) -> None:
        """Refer to the run; `rows_of` is asked for the rows of a step that failed."""
        self.session = session
        self.run = run
        self.rows_of = rows_of

    def of_step(self, chunk: Chunk) -> NonFiniteError:
        """Return what to raise where the last step of a chunk is not finite."""
        step = chunk.first_step + len(chunk.value) - 1
        rows, key = self.rows_of(step)
        path = self._dump(chunk.state.params, step, "train", rows, key, chunk.value)
        where = self._blamed(chunk.state.params, rows)
        return NonFiniteError(
            f"The bound, its variance or its gradient was not finite at step {step} (epoch "
            f"{step // self.session.steps_per_epoch}), {where}. {path} holds all rows and the "
            f"norms of the parameters. {self._last_good()} {self._advice()}"
        )

    def of_evaluation(
        self, params: Params, step: int, split: Split, ids: np.ndarray, bounds: np.ndarray
    ) -> NonFiniteError:
        """Return what to raise where a held-out bound is not finite."""
        bad = ids[~np.isfinite(bounds)]
        key = np.asarray(jax.random.key_data(key_for(self.session.experiment.seed, "evaluate")))
        path = self._dump(params, step, split, bad, key, bounds)
        return NonFiniteError(
            f"The bound of {many(len(bad), f'{split} row')} is not finite "
            f"({self._listed(bad)}). {path} holds all rows and the norms of the "
            f"parameters. {self._last_good()} {self._advice()}"
        )

    def require_finite(self, params: Params, arrays: Mapping[str, np.ndarray], step: int) -> None:
        """Refuse to save what a finite gradient and too large a step made of the parameters."""
        bad = [
            name
            for name, array in arrays.items()
            if name.startswith(".params") and not np.isfinite(array).all()
        ]
        if bad:
            # The last step alone can have done it: the one after it would not have been finite.
            path = self._dump(params, step - 1, "train", *self.rows_of(step - 1), np.zeros(0))
            raise NonFiniteError(
                f"{bad[0]} is not finite after step {step}. {path} holds the rows of that step "
                f"and the norms of the parameters. {self._last_good()} {self._advice()}"
            )

    def _blamed(self, params: Params, ids: np.ndarray) -> str:
        """Return the rows of a step whose own bound is not finite, unless it is each or none."""
        session = self.session
        rows = jax.tree.map(lambda leaf: leaf[ids], session.splits.train)
        key = key_for(session.experiment.seed, "evaluate")
        bad = ~np.isfinite(session.evaluator().bounds(params, Points(rows, ids), key))
        alone = bad.any() and not bad.all()
        return self._listed(ids[bad]) if alone else f"the {many(len(ids), 'row')} of that step"

    def _listed(self, ids: np.ndarray) -> str:
        rows = self.session.splits.origin.rows_of(ids)
        named = ", ".join(map(str, rows[:5]))
        return f"row{'s' if len(rows) > 1 else ''} {named}{', ...' if len(rows) > 5 else ''}"

    def _last_good(self) -> str:
        steps = checkpoints.steps(self.run)
        saved = (
            f"The last good checkpoint is step {steps[-1]}." if steps else "There is none saved."
        )
        return " ".join([*self.session.splits.remarks, saved])

    def _advice(self) -> str:
        """Return what to type: smaller steps where they have a size, and double precision.

        Nothing where the data themselves look damaged: no step is small enough for them.
        """
        if self.session.splits.remarks:
            return "Look at these data first."
        tree = read_tree(self.run.config_path)
        rates = [
            f"optimizer.{part}.{name}={value / 10:g}"
            for part, node in tree["optimizer"].items()
            for name, value in node.items()
            if name in RATES and isinstance(value, float)
        ]
        double = [] if self.session.experiment.precision == "float64" else ["precision=float64"]
        words = [*rates, *double]
        return f"Try {' or '.join(words)}." if words else ""

    def _dump(
        self,
        params: Params,
        step: int,
        split: Split,
        rows: np.ndarray,
        key: np.ndarray,
        value: np.ndarray,
    ) -> Path:
        """Write what is known of a number that is not finite; what is not known is empty."""
        norms = {
            name: np.linalg.norm(array.astype(np.float64))
            for name, array in flatten_tree(params).items()
        }
        arrays = {
            "step": np.array(step),
            "split": np.array(split),
            "rows": self.session.splits.origin.rows_of(rows),
            "seed": np.array(self.session.experiment.seed),
            "key": key,
            "value": value,
            "names": np.array(list(norms)),
            "norms": np.array(list(norms.values())),
        }
        path = self.run.path / "nan_dump.npz"
        atomic_write(path, npz(arrays))
        return path
