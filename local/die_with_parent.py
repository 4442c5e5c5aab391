"""Replaces itself with a command that is killed when the parent ends, however the parent ends.

``python die_with_parent.py PARENT_PID COMMAND...``. The kernel's wish is kept across exec. Linux
only; elsewhere the command just runs.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(sys.argv[1]):  # it ended before the wish was made
            sys.exit(1)
    os.execvp(sys.argv[2], sys.argv[2:])
