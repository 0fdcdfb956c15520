"""A real SLURM on this machine for a test: munged, a database, slurmdbd, slurmctld and one slurmd, all by hand.

Needs the packages of PACKAGES (Debian's names); nothing of the system is changed, all files lie in one folder, and
all daemons run as the user who calls. With ALPL_INSTALL_SLURM=1 missing packages are installed (as root, with apt-get).

    python tests/slurm/cluster.py FOLDER      starts it, says how to use it, and stops it on Ctrl-C
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

PACKAGES = ("slurm-wlm", "slurmdbd", "munge", "mariadb-server")
PROGRAMS = ("munged", "mariadbd", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd", "srun", "sacctmgr")

_PATH = os.environ["PATH"] + ":/usr/sbin:/usr/bin"


class NoSlurmError(RuntimeError):
    """SLURM is not there, or does not start: the reason."""


def require_programs() -> None:
    """Find all programs, or install them where that was asked for.

    Raises:
        NoSlurmError: some are missing.
    """
    missing = _missing()
    if missing and os.environ.get("ALPL_INSTALL_SLURM") == "1":
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # 1: no service is started
        for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
            done = subprocess.run(["apt-get", "-qq", *command], env=quiet, capture_output=True, text=True)
            if done.returncode:
                raise NoSlurmError(f"apt-get {command[0]} failed: {done.stderr.strip()[-300:]}")
        missing = _missing()
    if missing:
        raise NoSlurmError(f"{', '.join(missing)} not found: install {' '.join(PACKAGES)}, or ALPL_INSTALL_SLURM=1")


class Cluster:
    """A cluster of one node, this machine; as a context it runs.

    Args:
        folder: for its files; its path must be short, as sockets lie there.
        num_cpus: that the node says it has: jobs of one CPU that run at a time.
    """

    def __init__(self, folder: Path, num_cpus: int) -> None:
        self.folder = folder
        self.num_cpus = num_cpus
        self.environment = {**os.environ, "PATH": _PATH, "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Cluster:
        require_programs()
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def command(self, *command: str, cwd: Path | None = None, timeout: float = 120) -> str:
        """Run a command of SLURM's to its end; give what it wrote.

        Raises:
            RuntimeError: it failed.
        """
        done = subprocess.run(command, env=self.environment, cwd=cwd, capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    # --- its daemons

    def _start(self) -> None:
        ports = dict(zip(("database", "slurmdbd", "slurmctld", "slurmd"), _free_ports(4), strict=True))
        self._start_munge()
        self._start_database(ports["database"])
        _write(self.folder / "slurmdbd.conf", _SLURMDBD.format(**self._names(ports)), mode=0o600)
        _write(self.folder / "slurm.conf", _SLURM.format(**self._names(ports)))
        self._run("slurmdbd", "-D")
        self._wait("slurmdbd", lambda: self._works("sacctmgr", "-n", "list", "cluster"))
        self.command("sacctmgr", "-i", "add", "cluster", "test")
        self._run("slurmctld", "-D", "-c")
        self._wait("slurmctld", lambda: self._works("scontrol", "ping"))
        self._run("slurmd", "-D", "-c")
        self._wait("slurmd", lambda: "idle" in self.command("sinfo", "-h", "-o", "%T"))

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self.folder.chmod(0o755)
        socket_path = self.folder / "munge.socket"
        files = {"key-file": key, "socket": socket_path}
        files |= {f"{name}-file": self.folder / f"munge.{name}" for name in ("log", "pid", "seed")}
        self._run("munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in files.items()))
        self._wait("munged", socket_path.exists)

    def _start_database(self, port: int) -> None:
        data, user = self.folder / "database", getpass.getuser()
        self.command("mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={user}", "--skip-test-db")
        self._run(
            "mariadbd", "--no-defaults", f"--datadir={data}", f"--user={user}", "--skip-grant-tables",
            f"--port={port}", "--bind-address=127.0.0.1", f"--socket={self.folder}/database.socket",
            "--innodb-flush-log-at-trx-commit=0",
        )  # fmt: skip
        self._wait("mariadbd", lambda: _is_open(port))

    def _names(self, ports: dict[str, int]) -> dict[str, object]:
        host = socket.gethostname().split(".")[0]
        return {"folder": self.folder, "user": getpass.getuser(), "host": host, "num_cpus": self.num_cpus, **ports}

    def _run(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.out").open("wb") as stream:
            self._daemons.append(
                subprocess.Popen(command, env=self.environment, stdout=stream, stderr=stream, start_new_session=True)
            )

    def _works(self, *command: str) -> bool:
        return subprocess.run(command, env=self.environment, capture_output=True, timeout=60).returncode == 0

    def _wait(self, name: str, ready: Callable[[], bool], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end or self._daemons[-1].poll() is not None:
                said = (self.folder / f"{name}.out").read_text(errors="replace")[-1000:]
                raise NoSlurmError(f"{name} does not start: {said}")
            time.sleep(0.2)

    def _stop(self) -> None:
        """End all daemons, the last one first, and what is left of the jobs."""
        if len(self._daemons) > 3:
            with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
                self.command("scancel", "--signal=KILL", "--full", f"--user={getpass.getuser()}")
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(daemon.pid, signal.SIGKILL)
                daemon.wait()
        self._daemons = []


_SLURMDBD = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdPort={slurmdbd}
SlurmUser={user}
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser={user}
"""

_SLURM = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={slurmctld}
SlurmdPort={slurmd}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePass={folder}/munge.socket
AccountingStoragePort={slurmdbd}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=5
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={num_cpus}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def _missing() -> list[str]:
    return [program for program in PROGRAMS if shutil.which(program, path=_PATH) is None]


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.write_text(text)
    path.chmod(mode)


def _free_ports(number: int) -> Sequence[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    with Cluster(Path(sys.argv[1]).resolve(), max(2, os.cpu_count() or 1)) as cluster:
        print(f"export SLURM_CONF={cluster.environment['SLURM_CONF']}; Ctrl-C stops it", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
