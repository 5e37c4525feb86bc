"""Where runs go, and which of them are done."""

import numpy as np
import pytest

from avi.config.compose import compose
from avi.errors import ConfigError, DataError
from avi.launch import places
from avi.results import facts
from avi.run.session import data_sha256
from avi.rundir import RunDir

WORDS = "model=linear_gaussian dataset=file dataset.path=rows.npy dataset.support=real".split()


def test_a_run_over_a_file_that_has_changed_since_is_not_skipped(workplace):
    rows = np.random.default_rng(0).standard_normal((30, 3))
    np.save("rows.npy", rows)
    jobs = compose([*WORDS, "seed=0,1", "sweep=here"], multirun=True)
    for launch in places.place_sweep(jobs):
        assert launch.state == "new"
        with RunDir.create(launch.folder) as run:
            run.write_config(launch.job.tree)
            facts.record(run, status="done", data_sha256=data_sha256(launch.job.tree))
    assert [launch.state for launch in places.place_sweep(jobs)] == ["done", "done"]
    np.save("rows.npy", rows + 1)
    with pytest.raises(DataError, match=r"the rows of dataset\.path=rows\.npy have changed since"):
        places.place_sweep(jobs)
    (workplace / "rows.npy").unlink()  # what is gone cannot be looked at
    assert [launch.state for launch in places.place_sweep(jobs)] == ["done", "done"]


def test_a_task_is_one_job_of_the_sweep_in_the_folder_that_it_always_has(workplace):
    words = [
        "model=linear_gaussian",
        "dataset=linear_gaussian",
        "seed=0,1",
        "model.latent_size=2,3",
    ]
    whole = places.place_sweep(compose(words, multirun=True))
    for number, launch in enumerate(whole):
        (chosen,) = places.place_sweep(compose([*words, f"task={number}"], multirun=True))
        assert (chosen.folder, chosen.job.swept) == (launch.folder, launch.job.swept)
    with pytest.raises(ConfigError, match=r"task=4: .* from 0 to 3. Try sbatch --array=0-3\."):
        places.place_sweep(compose([*words, "task=4"], multirun=True))
    with pytest.raises(ConfigError, match="one job of a sweep. Try -m"):
        places.train_one(compose(["task=1"])[0])
