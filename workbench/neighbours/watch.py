"""Runs a command and ends it, with all that it started, when standard input closes: when whoever asked for it is no more.

``python watch.py COMMAND ...``; needs nothing but Python.
"""

import os
import signal
import subprocess
import sys
import threading

PATIENCE_S = 5


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask the whole group to end, and make it end if it does not."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], check=False, capture_output=True)
        return
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
            process.wait(PATIENCE_S)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def main(command: list[str]) -> int:
    """The command's exit code."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def wait_for_the_end() -> None:
        while os.read(0, 1024):  # not sys.stdin, whose lock this thread would still hold when Python ends
            pass
        end(process)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    code = process.wait()
    end(process)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
