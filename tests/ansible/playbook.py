# SPDX-License-Identifier: Apache-2.0
"""Runs the playbook `evacuate` of contrib/ansible over the namespaces of a Network."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "tests/qemu"))
from waiting import Trouble, ends_within  # noqa: E402

COLLECTION = PROJECT / "contrib/ansible"
SKIPPED = 77


def reason_to_skip():
    """Why no playbook can run here; empty if one can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program, package in (("ansible-playbook", "ansible-core"), ("ip", "iproute2"), ("tc", "iproute2")):
        if shutil.which(program) is None:
            return f"there is no {program} (package {package})"
    made = subprocess.run(["ip", "netns", "add", f"probe-{os.getpid()}"], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        return f"no network namespace can be made: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", f"probe-{os.getpid()}"], check=True)
    return ""


class Evacuation:
    """A run of the playbook. `folder` has its inventory, its output, its report and the results of its receivers."""

    def __init__(self, folder, network, guests, settings):
        self.folder, self.network = Path(folder), network
        self.report_file = self.folder / "report.json"
        self.output_file = self.folder / "output"
        installed = self.folder / "collections/ansible_collections/migrate"
        installed.mkdir(parents=True, exist_ok=True)
        if not (installed / "hosts").exists():
            (installed / "hosts").symlink_to(COLLECTION)
        source, *destinations = network.hosts
        self.inventory = self.folder / "inventory.json"
        self.inventory.write_text(json.dumps({"all": {
            "vars": {"ansible_connection": "netns", "ansible_python_interpreter": shutil.which("python3"),
                     "evacuate_guests": guests, "evacuate_report_file": str(self.report_file), **settings},
            "hosts": {host: {"netns_name": network.namespace(host), "evacuate_address": network.address(host)}
                      for host in destinations},
            "children": {"evacuation_source": {"hosts": {source: {"netns_name": network.namespace(source)}}}}}}))
        self.environment = {
            **os.environ, "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"), "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_CONNECTION_PLUGINS": str(PROJECT / "tests/ansible/connection_plugins"),
            "ANSIBLE_HOME": str(self.folder / "home"), "ANSIBLE_ASYNC_DIR": str(self.folder / "async"),
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "local"), "ANSIBLE_REMOTE_TEMP": str(self.folder / "remote"),
            "PYTHONDONTWRITEBYTECODE": "1", "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg")}
        (self.folder / "ansible.cfg").write_text("")
        self.process = None

    def start(self, *words):
        with open(self.output_file, "w", encoding="utf-8") as output:
            self.process = subprocess.Popen(
                ["ansible-playbook", "migrate.hosts.evacuate", "-i", self.inventory, *words], env=self.environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=self.folder)
        return self.process

    def wait(self, timeout_s):
        """The exit code of the playbook."""
        if not ends_within(self.process, timeout_s):
            self.end()
            raise Trouble(f"the playbook does not end:\n{self.output()[-4000:]}")
        return self.process.wait()

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            if not ends_within(self.process, 20):
                self.process.kill()
        self.process.wait()

    def receivers(self):
        """What each receiver that has ended printed with --json."""
        found = []
        for path in (self.folder / "async").glob("j*"):
            try:
                line = json.loads(json.loads(path.read_text())["stdout"].splitlines()[-1])
            except (OSError, ValueError, KeyError, IndexError):  # OSError: Ansible renames the file just now
                continue
            if line["side"] == "recv":
                found.append(line)
        return found

    def output(self):
        return self.output_file.read_text()

    def report(self):
        return json.loads(self.report_file.read_text())
