"""A SLURM of one node on this machine, without systemd, control groups or a data base."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
PATIENCE = 60.0  # seconds for the daemons to come up


def lacking():
    """Return why no SLURM can be brought up here, empty if it can."""
    if os.geteuid() != 0:
        return "its daemons want to be root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"there is no {', '.join(missing)}" if missing else ""


@contextmanager
def running(folder):
    """Bring a cluster up with its files in `folder`; what a shell needs to speak to it."""
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(mode=0o700)
    for path in (folder, *folder.parents):  # munge refuses a socket that others cannot reach
        if path.stat().st_uid == os.geteuid() and path.parent != path:
            path.chmod(path.stat().st_mode | 0o055)
    (folder / "munge").chmod(0o755)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    config = folder / "slurm.conf"
    config.write_text(_config(folder, *_free_ports(2)))
    environment = os.environ | {"SLURM_CONF": str(config)}
    munge = [f"--{name}={folder / 'munge' / file}" for name, file in MUNGE.items()]
    daemons = []
    try:
        for words in (
            ["munged", "--foreground", *munge],
            ["slurmctld", "-D", "-c", "-i", "-f", str(config)],
            ["slurmd", "-D", "-f", str(config)],
        ):
            log = open(folder / f"{words[0]}.out", "wb")  # noqa: SIM115
            daemons.append(
                subprocess.Popen(
                    words, env=environment, stdout=log, stderr=log, start_new_session=True
                )
            )
            log.close()
            if words[0] == "munged":
                _wait((folder / "munge" / "socket").exists, folder)
        _wait(lambda: _said("sinfo -h -p low -o %t", environment).split() == ["idle"], folder)
        yield environment
    finally:
        _said("scancel --user=root", environment)
        for daemon in reversed(daemons):
            daemon.terminate()
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(daemon.pid, signal.SIGKILL)


MUNGE = {
    "key-file": "key",
    "socket": "socket",
    "pid-file": "pid",
    "log-file": "log",
    "seed-file": "seed",
}


def _said(words, environment):
    found = subprocess.run(
        words.split(), env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    return found.stdout


def _wait(done, folder):
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            logs = sorted([*folder.glob("*.out"), *folder.glob("*.log")])
            raise TimeoutError(
                "".join(f"{path.name}:\n{path.read_text()[-2000:]}" for path in logs)
            )
        time.sleep(0.2)


def _free_ports(number):
    places = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [place.getsockname()[1] for place in places]
    for place in places:
        place.close()
    return ports


def _config(folder, of_controller, of_node):
    """Return slurm.conf: a partition `low`, and `high`, whose jobs stop and requeue those of it."""
    host, cores = socket.gethostname().partition(".")[0], os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 8 // 10 // 2**20
    return f"""\
ClusterName=avi
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={of_controller}
SlurmdPort={of_node}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=5
ReturnToService=2
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
JobRequeue=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} State=UNKNOWN
PartitionName=low Nodes={host} Default=YES PriorityTier=1 GraceTime=20 MaxTime=INFINITE
PartitionName=high Nodes={host} PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE
"""
