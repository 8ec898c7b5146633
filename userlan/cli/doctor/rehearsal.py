"""Whether `userlan run` is possible here: tried, in a process of its own, which ends with all that it has made.

``python -m userlan.cli.doctor.rehearsal`` prints the reason why not, with what to do about it; nothing when it is.
"""

from __future__ import annotations

import subprocess
import sys

PATIENCE = 10.0
"""Seconds for the try."""


def rehearse() -> str:
    """The reason why not, one line; empty when it is possible."""
    command = (sys.executable, "-m", "userlan.cli.doctor.rehearsal")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the try has failed: {error}"
    failed = (done.stderr.strip().splitlines() or [""])[-1]
    return done.stdout.strip() if done.returncode == 0 else f"the try has failed: {failed}"


def main() -> None:
    """Make the namespaces and a TAP in them."""
    from userlan.driver.namespace.making import make
    from userlan.driver.namespace.refusals import NamespaceError, device_refused
    from userlan.driver.tap.device import TapError, open_tap

    try:
        make()
        open_tap("lan0")
    except NamespaceError as error:
        print(error)
    except TapError as error:
        print(device_refused(error))


if __name__ == "__main__":
    main()
