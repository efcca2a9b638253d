"""Running programs under scripts/with-softdsa, and the reason where that cannot be."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "with-softdsa"
SKIPPED = 77


class Runner:
    def __init__(self, library):
        self.library = library

    def run(self, options, command, timeout=120, **more):
        return subprocess.run([SCRIPT, "--library", self.library, *options, "--", *command], capture_output=True,
                              text=True, timeout=timeout, **more)

    def skip_without_namespaces(self):
        done = self.run([], ["true"])
        if done.returncode == 125 and "mount namespace" in done.stderr:
            skip(done.stderr.strip())


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)
