# SPDX-License-Identifier: Apache-2.0
"""Running programs under scripts/with-softdsa, and the reason where that cannot be."""

import shlex
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "with-softdsa"
SKIPPED = 77
TEST_FOLDER = "/usr/libexec/accel-config/test/"
DSA_TEST = TEST_FOLDER + "dsa_test"


class Runner:
    def __init__(self, library):
        self.library = library

    def run(self, options, command, timeout=120, **more):
        return subprocess.run([SCRIPT, "--library", self.library, *options, "--", *command], capture_output=True,
                              text=True, timeout=timeout, **more)

    def run_each(self, options, commands, timeout=120, **more):
        """Runs the commands one after the other in one namespace, up to the first that fails; it is named in stderr.
        Furnishing a namespace starts some forty processes, which takes half a second on a busy machine."""
        script = "".join(f"{shlex.join(map(str, each))} || {{ echo \"exit status $? of: {shlex.join(map(str, each))}\" >&2; "
                         "exit 1; }\n" for each in commands)
        return self.run(options, ["bash", "-c", script], timeout, **more)

    def skip_without_namespaces(self):
        done = self.run([], ["true"])
        if done.returncode == 125 and "mount namespace" in done.stderr:
            skip(done.stderr.strip())


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)
