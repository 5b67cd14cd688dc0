"""What a process uses, as Linux tells it; other systems tell nothing here."""

import os
from pathlib import Path

IS_TOLD = Path("/proc/self/status").exists()
NOT_TOLD = "only Linux tells it, under /proc"


def memory_mib(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields["VmRSS"].removesuffix("kB")) / 1024


def cpu_s(pid: int) -> float:
    """Return the processor seconds that a process has used so far."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
