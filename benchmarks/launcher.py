"""Runs a command, and prints its peak of resident memory in bytes; run as a file by processes.py.

The command is started from this small process and not from the benchmarks' own, because Linux
counts the memory of whoever starts a command to that command's peak.
"""

import resource
import subprocess
import sys


def main() -> None:
    """Run the command that the arguments give."""
    subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(peak if sys.platform == "darwin" else peak * 1024)


if __name__ == "__main__":
    main()
