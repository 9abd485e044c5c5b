"""A private Grid Engine cell: qmaster and execution hosts, everything in one folder.

Root gets hosts n1, n2, … each in namespaces of its own (network, host name, /etc/hosts), joined by
a bridge; an ordinary user gets this host alone. Nothing in /etc is touched.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path
from typing import Dict, List

from tests.schedulers.daemons import (
    OWN_SHARED_MEMORY,
    NotUp,
    call,
    free_ports,
    missing,
    stop,
    wait_until,
)

PROGRAMS = ("sge_qmaster", "sge_execd", "qconf", "qsub")
INSTALLED = Path("/var/lib/gridengine")
SCRIPTS = Path("/usr/share/gridengine/scripts")

#: Resource types as TSUBAME 3 had them; a submission filter makes slots of them.
TYPES = ("f_node", "h_node", "q_node", "s_gpu")

FILTER = """\
#!/bin/bash
jsv_on_start() {{ return; }}
jsv_on_verify() {{
    n=$(jsv_sub_get_param l_hard f_node)
    if [ -n "$n" ] && [ "$(jsv_is_param pe_name)" != true ]; then
        jsv_set_param pe_name mpi_f_node
        jsv_set_param pe_min $((n * {slots}))
        jsv_set_param pe_max $((n * {slots}))
        jsv_correct f_node
        return
    fi
    jsv_accept ok
}}
. {root}/util/resources/jsv/jsv_include.sh
jsv_main
"""

GLOBAL = {
    "mailer": "/bin/true",
    "administrator_mail": "none",
    "min_uid": "0",
    "min_gid": "0",
    "load_report_time": "00:00:05",
    "shell_start_mode": "unix_behavior",
    "execd_params": "ENABLE_ADDGRP_KILL=TRUE NOTIFY_KILL=USR2 NOTIFY_SUSP=USR1",
}
SCHEDULER = {
    "schedule_interval": "0:0:1",
    "flush_submit_sec": "1",
    "flush_finish_sec": "1",
    "job_load_adjustments": "NONE",
    "load_formula": "slots",
}
NONE_IN_PE = ("user_lists", "xuser_lists", "start_proc_args", "stop_proc_args", "qsort_args")
NONE_IN_HOST = (
    "load_scaling", "user_lists", "xuser_lists", "projects", "xprojects", "usage_scaling",
    "report_variables",
)  # fmt: skip
NONE_IN_QUEUE = (
    "load_thresholds", "suspend_thresholds", "ckpt_list", "prolog", "epilog", "starter_method",
    "suspend_method", "resume_method", "terminate_method", "owner_list", "user_lists",
    "xuser_lists", "subordinate_list", "complex_values", "projects", "xprojects", "calendar",
)  # fmt: skip
LIMITS = ("rt", "cpu", "fsize", "data", "stack", "core", "rss", "vmem")


class GridEngineServer:
    """``nodes`` hosts of ``slots`` slots each."""

    def __init__(self, nodes: int = 2, slots: int = 2) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bge-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.several = os.geteuid() == 0
        self.slots = slots
        self.master = socket.gethostname()
        self.hosts = [f"n{k}" for k in range(1, nodes + 1)] if self.several else [self.master]
        self.tag = self.folder.name[-4:].lower()
        self.net = f"10.{77 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
        master_port, host_port = free_ports(2)
        self.environment: Dict[str, str] = {
            "SGE_ROOT": str(self.folder / "root"),
            "SGE_CELL": "default",
            "SGE_QMASTER_PORT": str(master_port),
            "SGE_EXECD_PORT": str(host_port),
        }

    @staticmethod
    def missing() -> List[str]:
        absent = missing(PROGRAMS)
        return absent or ([] if (SCRIPTS / "init_cluster").exists() else ["init_cluster"])

    def start(self) -> None:
        """Raises NotUp, with the end of the servers' messages."""
        try:
            self._lay_out()
            if self.several:
                self._network()
            self.start_controller()
            wait_until(lambda: self._admin("qconf", "-sh", code=None), "qmaster")
            self._configure()
            for name in self.hosts:
                self._start_host(name)
            wait_until(lambda: self._hosts_up() == len(self.hosts), "execution hosts")
        except NotUp as error:
            logs = "\n".join(
                f"{path}: {path.read_text()[-600:]}" for path in self.folder.rglob("messages")
            )
            self.stop()
            raise NotUp(f"{error}\n{logs}") from error

    # --- pieces -----------------------------------------------------------------------------

    def _lay_out(self) -> None:
        root, at = self.folder / "root", self.folder
        for name in ("root/default/common", "qmaster/job_scripts", "spooldb", "execd", "conf"):
            (at / name).mkdir(parents=True)
        for name in ("bin", "lib", "utilbin", "util"):
            call(["cp", "-a", str(INSTALLED / name), str(root)], {})
        common = root / "default" / "common"
        user = getpass.getuser()
        (common / "bootstrap").write_text(
            f"admin_user {user}\ndefault_domain none\nignore_fqdn true\n"
            "spooling_method berkeleydb\nspooling_lib libspoolb\n"
            f"spooling_params {at}/spooldb\nbinary_path /usr/sbin\nqmaster_spool_dir {at}/qmaster\n"
            "security_mode none\nlistener_threads 2\nworker_threads 2\nscheduler_threads 1\n"
        )
        (common / "act_qmaster").write_text(f"{self.master}\n")
        # The host's own name often means 127.0.0.1, which Grid Engine takes for localhost.
        (common / "host_aliases").write_text(f"{self.master} localhost\n")
        (at / "filter.sh").write_text(FILTER.format(slots=self.slots, root=root))
        (at / "filter.sh").chmod(0o755)
        lines = [f"{self.net}.{10 + k} {name}" for k, name in enumerate(self.hosts, 1)]
        first = ["127.0.0.1 localhost", f"{self.net}.1 {self.master}"]
        (at / "hosts").write_text("\n".join([*first, *lines, ""]))
        init = [str(SCRIPTS / "init_cluster"), str(root), "default", f"{at}/spooldb", user]
        call(init, self.environment)

    def _network(self) -> None:
        bridge = f"bge{self.tag}"
        call(["ip", "link", "add", bridge, "type", "bridge"], {})
        call(["ip", "addr", "add", f"{self.net}.1/24", "dev", bridge], {})
        call(["ip", "link", "set", bridge, "up"], {})
        for k, name in enumerate(self.hosts, 1):
            space, cable = f"{bridge}{name}", f"v{self.tag}{name}"
            call(["ip", "netns", "add", space], {})
            pair = ["type", "veth", "peer", "name", "eth0", "netns", space]
            call(["ip", "link", "add", cable, *pair], {})
            call(["ip", "link", "set", cable, "master", bridge, "up"], {})
            inside = ["ip", "-n", space]
            call([*inside, "addr", "add", f"{self.net}.{10 + k}/24", "dev", "eth0"], {})
            call([*inside, "link", "set", "eth0", "up"], {})
            call([*inside, "link", "set", "lo", "up"], {})

    def _named(self, argv: List[str], host: str = "") -> List[str]:
        """``argv`` where the hosts' names are known, on a host of its own if one is named."""
        if not self.several:
            return argv
        hosts = str(self.folder / "hosts")
        rename = f"hostname {host}; {OWN_SHARED_MEMORY}; " if host else ""
        shell = f'{rename}mount --bind "$0" /etc/hosts && exec "$@"'
        inner = ["unshare", "-m", *(["-u"] if host else []), "--propagation", "private"]
        outer = ["nsenter", f"--net=/run/netns/bge{self.tag}{host}"] if host else []
        return [*outer, *inner, "sh", "-c", shell, hosts, *argv]

    def _admin(self, *argv: str, code: int | None = 0) -> bool:
        return call(self._named(list(argv)), self.environment, code=code).returncode == 0

    def _put(self, option: str, name: str, text: str) -> None:
        path = self.folder / "conf" / name
        path.write_text(text)
        self._admin("qconf", option, str(path))

    def _shown(self, option: str, *name: str) -> List[str]:
        done = call(self._named(["qconf", option, *name]), self.environment)
        return [line for line in done.stdout.splitlines() if not line.startswith("#")]

    def _configure(self) -> None:
        changes = {
            **GLOBAL,
            "execd_spool_dir": f"{self.folder}/execd",
            "jsv_url": f"script:{self.folder}/filter.sh",
        }
        text = "\n".join(changed(self._shown("-sconf", "global"), changes))
        text = text.replace("flush_time=00:00:15", "flush_time=00:00:01 accounting_flush_time=0")
        self._put("-Mconf", "global", text + "\n")
        self._put("-Msconf", "scheduler", "\n".join(changed(self._shown("-ssconf"), SCHEDULER)))
        types = [f"{name} {name} INT <= YES JOB 0 0" for name in TYPES]
        self._put("-Mc", "complex", "\n".join([*self._shown("-sc"), *types, ""]))
        self._admin("qconf", "-as", self.master)
        count = len(self.hosts)
        per_host = "" if self.several else f",f_node={count}"
        for name in self.hosts:
            none = "".join(f"{key} NONE\n" for key in NONE_IN_HOST)
            values = f"complex_values slots={self.slots}{per_host}\n"
            self._put("-Ae", f"host.{name}", f"hostname {name}\n{values}{none}")
            if self.several:
                self._admin("qconf", "-as", name)
        if self.several:
            values = ["qconf", "-rattr", "exechost", "complex_values", f"f_node={count}", "global"]
            self._admin(*values)
        self._put("-Ahgrp", "hosts", f"group_name @hosts\nhostlist {' '.join(self.hosts)}\n")
        # Round the hosts, a node's worth of slots on each, or one host after the other.
        rules = {"mpi": "$round_robin", "mpi_f_node": str(self.slots), "mpi_fill": "$fill_up"}
        for name, rule in rules.items():
            none = "".join(f"{key} NONE\n" for key in NONE_IN_PE)
            self._put(
                "-Ap",
                f"pe.{name}",
                f"pe_name {name}\nslots 9999\nallocation_rule {rule}\ncontrol_slaves TRUE\n"
                f"job_is_first_task FALSE\nurgency_slots min\naccounting_summary TRUE\n{none}",
            )
        none = "".join(f"{key} NONE\n" for key in NONE_IN_QUEUE)
        limits = "".join(f"{kind}_{key} INFINITY\n" for kind in "sh" for key in LIMITS)
        self._put(
            "-Aq",
            "queue",
            "qname all.q\nhostlist @hosts\nseq_no 0\nnsuspend 1\nsuspend_interval 00:05:00\n"
            "priority 0\nmin_cpu_interval 00:05:00\nprocessors UNDEFINED\n"
            "qtype BATCH INTERACTIVE\npe_list mpi mpi_f_node mpi_fill\nrerun TRUE\n"
            f"slots {self.slots}\ntmpdir /tmp\nshell /bin/bash\n"
            f"shell_start_mode unix_behavior\nnotify 00:00:40\ninitial_state default\n"
            f"{none}{limits}",
        )

    def _start_host(self, name: str) -> None:
        argv = self._named(["sge_execd"], name if self.several else "")
        call(argv, self.environment)

    def _hosts_up(self) -> int:
        done = call(["qstat", "-f", "-q", "all.q"], self.environment, code=None)
        queues = [line.split() for line in done.stdout.splitlines() if line.startswith("all.q@")]
        return sum(len(fields) < 6 for fields in queues)

    # --- what tests do to it ----------------------------------------------------------------

    def start_controller(self) -> None:
        call(self._named(["sge_qmaster"]), self.environment)

    def stop_controller(self) -> None:
        stop(self.folder / "qmaster" / "qmaster.pid", ["sge_qmaster"])

    def show(self, job: str) -> str:
        return call(["qstat", "-j", job], self.environment).stdout

    def release(self, *jobs: str) -> None:
        call(["qrls", *jobs], self.environment)

    def suspend(self, job: str) -> None:
        """Its warning, USR1, comes first, and so many seconds later as a queue gives."""
        call(["qmod", "-sj", job], self.environment)

    def unsuspend(self, job: str) -> None:
        call(["qmod", "-usj", job], self.environment)

    def cancel(self, job: str) -> None:
        call(["qdel", job], self.environment)

    def queued(self) -> List[str]:
        done = call(["qstat"], self.environment)
        return [line.split()[0] for line in done.stdout.splitlines()[2:]]

    def reached_its_limit(self, job: str) -> bool:
        """Whether h_rt ended it (or the warning before that), by its own account."""
        done = call(["qacct", "-j", job], self.environment)
        fields = [line.split(None, 1) for line in done.stdout.splitlines()]
        values = {field[0]: field[1].strip() for field in fields if len(field) == 2}
        return float(values["ru_wallclock"].rstrip("s")) >= 14

    def kill(self, job: str) -> None:
        """Every process of a job's script at once, as when its node dies. Each job is a task."""
        task = job if "." in job else f"{job}.1"
        for path in (self.folder / "execd").glob(f"*/active_jobs/{task}/job_pid"):
            os.killpg(int(path.read_text()), signal.SIGKILL)

    def stop(self) -> None:
        call(["qdel", "-f", "-u", getpass.getuser()], self.environment, code=None)
        for pid_file in (self.folder / "execd").glob("*/execd.pid"):
            stop(pid_file, ["sge_execd"])
        self.stop_controller()
        if self.several:
            bridge = f"bge{self.tag}"
            for name in self.hosts:
                call(["ip", "netns", "del", f"{bridge}{name}"], {}, code=None)
            call(["ip", "link", "del", bridge], {}, code=None)
        shutil.rmtree(self.folder, ignore_errors=True)


def changed(lines: List[str], values: Dict[str, str]) -> List[str]:
    """Configuration lines ``key value`` with the values of ``values``."""
    return [
        f"{key} {values[key]}" if (key := line.split(None, 1)[0]) in values else line
        for line in lines
        if line.strip()
    ]
