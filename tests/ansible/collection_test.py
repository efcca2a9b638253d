#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the filters of the collection in contrib/ansible decide, and whether ansible-lint and ansible-galaxy accept it.
Skipped without ansible-core."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from contextlib import suppress
from pathlib import Path

# Debian's modules, for an interpreter that is not Debian's.
sys.path.append("/usr/lib/python3/dist-packages")
SKIPPED = 77
COLLECTION = Path(__file__).resolve().parents[2] / "contrib/ansible"
GUEST = {"name": "web1", "source": "qemu:/run/web1.qmp", "destination": "first", "fallback": ["second"], "port": 4501}
SETTINGS = {"program": "migrate", "tls_creds": "x509", "share": 1000, "deadline": 60, "connect_timeout": "1s",
            "io_timeout": "2s", "reconnect_timeout": "3s", "listen_timeout": "4s", "builtin_lifetime": 5}
CODES = {0: "completed", 1: "failed", 2: "usage", 3: "refused", 4: "cancelled", 5: "not-converged", 6: "owner-unknown"}


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ended(code, owner="source", **more):
    """The result of a task that ran `migrate --json`."""
    line = {"outcome": CODES[code], "exit-code": code, "guest-owner": owner, "reason": "why", "total-time": 5, **more}
    return {"rc": code, "stdout": json.dumps(line)}


class Filters(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.filters = load(COLLECTION / "plugins/filter/evacuate.py")

    def attempt(self, sent, received=None, to="first", guest="web1"):
        return self.filters.attempt({**GUEST, "name": guest}, to, {}, sent, received)

    def next_of(self, *history, failed=(), attempts=3, guest=GUEST):
        return self.filters.next_destination(guest, list(history), failed, attempts)

    def test_guest_is_moved_again_only_where_it_is_surely_at_the_source(self):
        retries = {code: self.attempt(ended(code, owner))["retry"]
                   for code, owner in ((0, "destination"), (1, "source"), (2, "source"), (3, "source"), (4, "source"),
                                       (5, "source"), (6, "unknown"))}
        self.assertEqual(retries, {0: "no", 1: "any", 2: "no", 3: "other", 4: "no", 5: "any", 6: "no"})
        for owner in ("destination", "unknown"):
            self.assertEqual(self.attempt(ended(1, owner))["retry"], "no")

    def test_sender_without_an_answer_leaves_the_owner_unknown(self):
        for sent in ({"rc": -9, "stdout": ""}, {"msg": "async task did not complete"}, {"unreachable": True, "msg": "x"},
                     {"rc": 0, "stdout": "{}"}, {**ended(1), "rc": 0}, {"rc": 1, "stdout": '{"outcome":"failed","exit-'}):
            row = self.attempt(sent)
            self.assertEqual((row["outcome"], row["owner"], row["retry"]), ("no-answer", "unknown", "no"), sent)
            self.assertEqual(self.next_of(row), "")

    def test_receiver_that_refuses_is_not_asked_again(self):
        for code in (2, 3):
            row = self.attempt(ended(1), ended(code))
            self.assertEqual((row["retry"], row["destination"]), ("other", "ok"))
            self.assertEqual(self.next_of(row), "second")
            self.assertEqual(self.next_of(row, guest={**GUEST, "fallback": []}), "")

    def test_destinations_take_turns_and_attempts_end(self):
        first, second = self.attempt(ended(1)), self.attempt(ended(1), to="second")
        self.assertEqual([self.next_of(), self.next_of(first), self.next_of(first, second)],
                         ["first", "second", "first"])
        self.assertEqual(self.next_of(first, second, first), "")
        self.assertEqual(self.next_of(failed=["first"]), "second")
        self.assertEqual(self.next_of(failed=["first", "second"]), "")

    def test_destination_fails_by_the_failures_of_different_guests_in_a_row(self):
        one, two = self.attempt(ended(1)), self.attempt(ended(1), guest="web2")
        moved = self.attempt(ended(0, "destination"), guest="web3")
        failed = self.filters.failed_destinations
        self.assertEqual(failed([[one, one]], 2), [])
        self.assertEqual(failed([[one], [two]], 2), ["first"])
        self.assertEqual(failed([[{**one, "ended": 1}], [{**moved, "ended": 2}], [{**two, "ended": 3}]], 2), [])
        unreachable = self.filters.attempt(GUEST, "second", {"unreachable": True, "msg": "no route"}, {"skipped": True}, {})
        self.assertEqual(failed([[unreachable]], 2), ["second"])
        self.assertEqual(self.filters.attempt(GUEST, "second", {"rc": 1, "stderr": "no such unit"}, {}, {})["reason"],
                         "second: no such unit")

    def test_result_says_where_the_guest_is(self):
        def now(*history, **states):
            return self.filters.result(GUEST, "source", list(history), [], *states.values())["now"]
        self.assertEqual(now(self.attempt(ended(0, "destination"))), "first")
        self.assertEqual(now(self.attempt(ended(3))), "source")
        self.assertEqual(now(), "source")
        self.assertIn("unknown", now(self.attempt(ended(6, "unknown"))))
        self.assertIn("RUNS TWICE", now(self.attempt(ended(0, "destination")), here={"state": "running"},
                                        there={"state": "running"}))

    def test_downtime_is_compared_with_the_guests_limit(self):
        row = self.attempt(ended(0, "destination", downtime=250))
        for limit, within in ((None, True), ("250ms", True), ("0.2s", False)):
            guest = {**GUEST, **({"downtime_limit": limit} if limit else {})}
            self.assertEqual(self.filters.result(guest, "source", [row], [])["within_limit"], within)

    def test_share_is_a_part_of_the_link(self):
        self.assertEqual(self.filters.share("1Gbit/s", 90, 4), 28125000)
        self.assertEqual(self.filters.rate_bytes("100M/s"), 100 << 20)
        for wrong in ("1Gbps", "fast", "", "1X/s"):
            with self.assertRaises(Exception, msg=wrong):
                self.filters.rate_bytes(wrong)

    def test_prediction_adds_up_the_rounds(self):
        guest = {**GUEST, "memory": "1000M", "dirty_rate": "10M/s", "downtime_limit": "300ms"}
        found = self.filters.predict(guest, {}, 100 << 20)
        # 1000 MiB in 10 s, then 100 MiB in 1 s; the 10 MiB of that second take 0.1 s and are the pause.
        self.assertEqual((round(found["time"]), round(found["downtime"])), (11000 + 130, 130))
        self.assertFalse(self.filters.predict({**guest, "dirty_rate": "200M/s"}, {}, 100 << 20)["converges"])
        small = self.filters.predict({**guest, "dirty_rate": "200M/s", "working_set": "10M"}, {}, 100 << 20)
        self.assertTrue(small["converges"])
        self.assertIsNone(self.filters.predict(GUEST, {}, 100 << 20)["time"])
        asked = self.filters.predict(GUEST, {"memory": 100 << 20, "dirty_rate": 0}, 100 << 20)
        self.assertEqual(round(asked["time"]), 1030)

    def test_moves_share_the_places(self):
        self.assertEqual(self.filters.makespan([4, 1, 1, 1], 2), 4)
        self.assertIsNone(self.filters.makespan([4, None], 2))

    def test_table_with_faults_is_refused(self):
        problems = self.filters.problems
        self.assertEqual(problems([GUEST], ["first", "second"], "source"), [])
        self.assertEqual(len(problems([GUEST, GUEST], ["first", "second"], "source")), 1)
        other = {**GUEST, "name": "web2"}
        self.assertEqual(len(problems([GUEST, other], ["first", "second"], "source")), 2)
        self.assertEqual(len(problems([GUEST], ["first"], "first")), 2)
        self.assertEqual(len(problems([{**GUEST, "memory": "much"}], ["first", "second"], "source")), 1)

    def test_commands_have_the_options_of_both_sides(self):
        sent = self.filters.send_words({**GUEST, "options": {"deadline": "9s", "auto-converge": True}}, "fe80::1", SETTINGS)
        self.assertEqual(sent[:7], ["migrate", "send", "--json", "--source", GUEST["source"], "--connect", "[fe80::1]:4501"])
        options = dict(zip(sent[7::2], sent[8::2]))
        self.assertEqual([options["--deadline"], options["--auto-converge"], options["--max-bandwidth"]],
                         ["9s", "on", "1000/s"])
        received = self.filters.recv_words({**GUEST, "sink": "qemu:/run/{to}.qmp"}, "first", "192.0.2.1", SETTINGS)
        self.assertEqual(received[3:7], ["--sink", "qemu:/run/first.qmp", "--listen", "192.0.2.1:4501"])

    def test_tables_have_a_row_for_each_guest(self):
        row = self.filters.result(GUEST, "source", [self.attempt(ended(0, "destination", downtime=9))], [])
        self.assertEqual(self.filters.report_lines([row])[1].split()[:7], ["web1", "source", "first", "1", "0", "9", "300"])
        planned = self.filters.plan([GUEST], {"web1": {"memory": 1 << 30}}, "1000", "4")
        self.assertEqual(len(self.filters.plan_lines(planned)), 3)

    def test_dry_run_notes_what_an_operator_should_know(self):
        known = {"memory": 1 << 30, "dirty_rate": 0}
        for facts, note in ((known, ""), ({**known, "state": "running"}, ""), ({**known, "state": "paused"}, "is paused"),
                            ({"memory": 1 << 30}, "unknown"), ({**known, "dirty_rate": 1 << 30}, "does not converge"),
                            ({**known, "memory": 1 << 40}, "longer than evacuate_deadline")):
            row, = self.filters.plan([GUEST], {"web1": facts}, 100 << 20, 4, 60)["guests"]
            found = self.filters.note_of(row, 60)
            self.assertTrue(note in found and bool(note) == bool(found), (facts, found))


class FakeQemu:
    """Serves QMP to one client: each command has its answer, and without a greeting it stays silent."""

    def __init__(self, path, answers, greets=True):
        self.answers, self.greets = answers, greets
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        # The client goes as soon as it has its answers.
        with self.listener.accept()[0] as client, client.makefile("rw") as stream, suppress(BrokenPipeError):
            self._say(stream, {"QMP": {}} if self.greets else None)
            for line in stream:
                command = json.loads(line)["execute"]
                self._say(stream, {"event": "STOP"})
                self._say(stream, self.answers.get(command, {"error": {"desc": "no such command"}}))

    @staticmethod
    def _say(stream, message):
        if message is not None:
            stream.write(json.dumps(message) + "\n")
            stream.flush()

    def close(self):
        self.thread.join(20)
        self.listener.close()


class AskingQemu(unittest.TestCase):
    ANSWERS = {"qmp_capabilities": {"return": {}}, "query-status": {"return": {"status": "running"}},
               "query-memory-size-summary": {"return": {"base-memory": 100, "plugged-memory": 20}},
               "calc-dirty-rate": {"return": {}},
               "query-dirty-rate": {"return": {"status": "measured", "dirty-rate": 3}}}

    def facts(self, answers, seconds=1, timeout_s=60, **more):
        facts_of = load(COLLECTION / "plugins/modules/qemu_guest.py").facts_of
        with tempfile.TemporaryDirectory() as folder:
            server = FakeQemu(f"{folder}/qmp", answers, **more) if answers is not None else None
            try:
                return facts_of(f"{folder}/qmp", seconds, timeout_s)
            finally:
                if server:
                    server.close()

    def test_tells_state_memory_and_rate(self):
        self.assertEqual(self.facts(self.ANSWERS),
                         {"present": True, "state": "running", "memory": 120, "dirty_rate": 3 << 20})
        self.assertNotIn("dirty_rate", self.facts(self.ANSWERS, seconds=0))

    def test_rate_is_missing_where_qemu_cannot_measure_it_or_does_not_run(self):
        older = {key: value for key, value in self.ANSWERS.items() if "dirty" not in key}
        self.assertEqual(self.facts(older), {"present": True, "state": "running", "memory": 120})
        paused = {**self.ANSWERS, "query-status": {"return": {"status": "paused"}}}
        self.assertNotIn("dirty_rate", self.facts(paused))

    def test_missing_or_silent_qemu_is_no_error(self):
        for found in (self.facts(None), self.facts({}, seconds=0, timeout_s=1, greets=False)):
            self.assertEqual((found["present"], found["state"]), (False, ""))
            self.assertIn("qmp: ", found["reason"])


class Collection(unittest.TestCase):
    def run_tool(self, *words, folder=COLLECTION, **environment):
        with tempfile.TemporaryDirectory() as home:
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=250, check=False,
                                  stdin=subprocess.DEVNULL, env={**os.environ, "ANSIBLE_HOME": home, "HOME": home,
                                                                 "PYTHONDONTWRITEBYTECODE": "1", **environment})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    @unittest.skipUnless(shutil.which("ansible-lint"), "ansible-lint is not installed")
    def test_passes_ansible_lint(self):
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "ansible_collections/migrate/hosts"
            shutil.copytree(COLLECTION, copy, ignore=shutil.ignore_patterns("__pycache__"))
            self.run_tool("ansible-lint", "--offline", "--nocolor", "playbooks/evacuate.yml", "roles/evacuate", folder=copy,
                          ANSIBLE_COLLECTIONS_PATH=folder, ANSIBLE_COLLECTIONS_PATHS=folder)

    def test_can_be_built(self):
        with tempfile.TemporaryDirectory() as folder:
            self.run_tool("ansible-galaxy", "collection", "build", COLLECTION, "--output-path", folder)
            self.assertEqual([path.name for path in Path(folder).iterdir()], ["migrate-hosts-0.1.0.tar.gz"])

    def test_every_variable_of_the_role_is_described_and_has_a_default(self):
        import yaml
        role = COLLECTION / "roles/evacuate"
        described = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]["plan"]["options"]
        defaults = yaml.safe_load((role / "defaults/main.yml").read_text())
        required = {name for name, option in described.items() if option.get("required")}
        self.assertEqual(set(described) - required, set(defaults))


if __name__ == "__main__":
    if shutil.which("ansible-galaxy") is None or importlib.util.find_spec("ansible") is None:
        print("skipped: there is no ansible-galaxy, or its modules are not found (package ansible-core)")
        sys.exit(SKIPPED)
    unittest.main()
