#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the program writes and reads agrees with the schemas that it prints. Argument: the program."""

import copy
import datetime
import importlib.util
import json
import re
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "tests" / "support"))

from both_sides import Run, read_lines  # noqa: E402

HAS_JSONSCHEMA = importlib.util.find_spec("jsonschema") is not None


@unittest.skipUnless(HAS_JSONSCHEMA, "python3-jsonschema is not installed")
class Schemas(unittest.TestCase):
    binary = ""
    seen = set()

    @classmethod
    def setUpClass(cls):
        import jsonschema
        cls.schemas = {}
        cls.validators = {}
        for name in ("config", "statistics", "events", "scenario"):
            text = subprocess.run([cls.binary, "schema", name], capture_output=True, text=True, check=True).stdout
            cls.schemas[name] = json.loads(text)
            jsonschema.Draft202012Validator.check_schema(cls.schemas[name])
            cls.validators[name] = jsonschema.Draft202012Validator(cls.schemas[name])

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def check(self, schema, document):
        errors = [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}"
                  for error in self.validators[schema].iter_errors(document)]
        self.assertEqual(errors, [])

    def check_files(self, run):
        """Validates what both sides wrote, at the start and at the end; returns the statistics."""
        self.check("statistics", run.first["recv"])
        for side in ("send", "recv"):
            self.check("statistics", run.stats(side))
            events = run.events(side)
            self.assertEqual(events[0]["event"], "MIGRATION_BEGIN")
            self.assertEqual([event["event"] for event in events].count("MIGRATION_BEGIN"), 1)
            for event in events:
                with self.subTest(side=side, event=event["event"]):
                    self.check("events", event)
            self.seen.update(event["event"] for event in events)
        return run.stats("send"), run.stats("recv")

    def run_to_end(self, *words, codes=(0, 0), **named):
        run = Run(self.binary, self.folder, *words, **named)
        self.assertEqual(run.end(), codes, run.errors)
        return (run, *self.check_files(run))

    def test_image(self):
        run, sent, received = self.run_to_end(
            "anon:16M,fill=mixed:50", send=["--verify", "digest", "--multifd-channels", "3"])
        self.assertEqual(run.first["recv"]["status"], "setup")
        self.assertNotIn("ended", run.first["recv"])
        for stats in (sent, received):
            began, ended = (datetime.datetime.fromisoformat(stats[key].replace("Z", "+00:00"))
                            for key in ("began", "ended"))
            self.assertLessEqual(began, ended)
            self.assertEqual(stats["settings"]["multifd-channels"], 3)
            self.assertEqual(stats["settings"]["verify"], "digest")
        self.assertEqual(sent["session-id"], received["session-id"])
        self.assertRegex(sent["session-id"], "^[0-9a-f]{16}$")
        self.assertNotIn("peer-host", sent)
        session = [event["data"]["session-id"] for side in ("send", "recv") for event in run.events(side)
                   if event["event"] == "MIGRATION_SESSION"]
        self.assertEqual(session, [sent["session-id"]] * 2)

    def test_settings_have_every_option_of_the_command(self):
        run, sent, received = self.run_to_end("anon:1M")
        for side, stats in (("send", sent), ("recv", received)):
            words = {"send": ["--connect", "a:1", "--source", "anon:1M"], "recv": ["--listen", "a:1", "--sink", "anon:"]}
            printed = subprocess.run([self.binary, side, *words[side], "--print-config"], capture_output=True, text=True,
                                     check=True).stdout
            self.assertEqual(set(json.loads(printed)) - set(stats["settings"]), set())
            begun = run.events(side)[0]["data"]
            self.assertEqual(set(json.loads(printed)), set(begun["settings"]))
            self.assertEqual((begun["side"], begun["version"]), (side, stats["version"]))

    def test_host_that_was_named_is_reported(self):
        missing = subprocess.run([self.binary, "send", "--connect", "localhost:1", "--source", "anon:1M",
                                  "--connect-timeout", "100ms", "--stats", self.folder / "send.json"],
                                 capture_output=True)
        self.assertEqual(missing.returncode, 1)
        stats = json.loads((self.folder / "send.json").read_text())
        self.check("statistics", stats)
        self.assertEqual((stats["peer-host"], stats["outcome"]), ("localhost", "failed"))
        self.assertIn("error-desc", stats)
        self.assertIn("ended", stats)

    def test_live_guest_with_devices_over_software_dsa(self):
        _, sent, received = self.run_to_end(
            "workload:32M,rate=5,warm-up=0",
            send=["--devices", "sim:a,size=2M sim:b,size=2M", "--zero-page-detection", "dsa-accel", "--accel-path",
                  "softdsa:1", "--max-bandwidth", "40M", "--cpu-budget", "90", "--run-for", "10ms"],
            recv=["--run-for", "10ms"])
        for stats in (sent, received):
            for key in ("downtime-us", "devices", "guest"):
                self.assertIn(key, stats)
        self.assertIn("accel", sent)
        self.assertIn("budget-percent", sent["cpu"])

    def test_round_trip_is_a_list(self):
        run = Run(self.binary, self.folder, "workload:16M,rate=1,warm-up=0",
                  send=["--repeat", "1", "--run-for", "10ms"], recv=["--repeat", "1", "--run-for", "10ms"])
        self.assertEqual(run.end(), (0, 0), run.errors)
        self.check_files(run)
        for side in ("send", "recv"):
            self.assertEqual([leg["leg"] for leg in run.stats(side)], [1, 2])

    def test_guest_that_does_not_converge(self):
        run, sent, received = self.run_to_end(
            "workload:32M,rate=200,warm-up=0", codes=(5, 5),
            send=["--max-bandwidth", "10M", "--stall-limit", "1s", "--downtime-limit", "1ms", "--run-for", "0"])
        self.assertIn("MIGRATION_STALLED", {event["event"] for event in run.events("send")})
        self.assertEqual((sent["outcome"], received["outcome"]), ("not-converged", "not-converged"))
        self.assertIn("expected-downtime", sent)

    def test_refused_and_cancelled_runs(self):
        run, sent, _ = self.run_to_end("anon:1M", send=["--guest-name", "b"], recv=["--guest-name", "a", "--listen-timeout",
                                                                                 "1s"], codes=(3, 1))
        self.assertEqual(sent["outcome"], "refused")
        for path in self.folder.iterdir():
            path.unlink()
        run = Run(self.binary, self.folder, "workload:64M,rate=1,warm-up=0", send=["--max-bandwidth", "5M", "--run-for", "0"])
        run.await_event("send", "MIGRATION_PROGRESS")
        run.sender.send_signal(signal.SIGINT)
        self.assertEqual(run.end(), (4, 4), run.errors)
        self.check_files(run)

    def test_lost_connections(self):
        run = Run(self.binary, self.folder, "anon:32M,fill=random", relay=True,
                  send=["--max-bandwidth", "8M", "--multifd-channels", "2"])
        run.await_event("send", "MIGRATION_PROGRESS")
        run.relay.interrupt(first=run.relay.count() - 1)
        run.await_event("send", "MULTIFD_CHANNELS_ADDED")
        run.relay.interrupt()
        run.await_event("send", "MIGRATION_RESUMED")
        self.assertEqual(run.end(), (0, 0), run.errors)
        sent, _ = self.check_files(run)
        self.assertGreaterEqual(sent["outages"]["channels-lost"], 2)
        self.assertEqual(sent["outages"]["main-channel-lost"], 1)

    def test_documents_with_a_fault_are_refused(self):
        run, sent, _ = self.run_to_end("workload:16M,rate=1,warm-up=0", send=["--run-for", "0"], recv=["--run-for", "0"])

        def changed(document, path, value):
            document = copy.deepcopy(document)
            at = document
            for key in path[:-1]:
                at = at[key]
            if value is None:
                del at[path[-1]]
            else:
                at[path[-1]] = value
            return document

        faults = [(("format",), 2), (("side",), None), (("new",), 1), (("ram", "total"), "1"), (("ram", "mbps"), None),
                  (("settings", "multifd-channels"), "8"), (("settings", "auto-converge"), "on"),
                  (("settings", "no-such-option"), 1), (("rounds", 0, "obstacle"), "weather"), (("outcome",), "done"),
                  (("guest-owner",), True), (("channels", 0, "bytes"), -1)]
        for path, value in faults:
            with self.subTest(path=path):
                self.assertFalse(self.validators["statistics"].is_valid(changed(sent, path, value)))
        events = run.events("send")
        a_pass = next(event for event in events if event["event"] == "MIGRATION_PASS")
        for path, value in [(("event",), "MIGRATION_PAUSE"), (("event",), "STOP"), (("data", "pass"), "1"), (("data", "pages"), None),
                            (("data", "new"), 1), (("timestamp", "microseconds"), 1_000_000), (("timestamp",), None)]:
            with self.subTest(path=path):
                self.assertFalse(self.validators["events"].is_valid(changed(a_pass, path, value)))

    def test_zz_every_event_was_seen(self):
        """Runs last. EVENTS_DROPPED needs a file that takes nothing, which --events refuses: see tests/engine."""
        known = {row["properties"]["event"]["const"] for row in self.schemas["events"]["oneOf"]}
        self.assertEqual(known - self.seen, {"EVENTS_DROPPED"})

    def test_reports_page_names_every_event(self):
        page = (PROJECT / "docs" / "reports.md").read_text()
        for row in self.schemas["events"]["oneOf"]:
            self.assertIn(f"`{row['properties']['event']['const']}`", page)

    def agrees_about_scenario(self, text, valid):
        folder = self.folder / "scenarios"
        folder.mkdir(exist_ok=True)
        (folder / "made-up.json").write_text(text)
        listed = subprocess.run([self.binary, "bench", "--list", "--scenarios", folder], capture_output=True, text=True)
        self.assertEqual(listed.returncode, 0 if valid else 2, f"{text}\n{listed.stderr}")
        document = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.M))
        if valid:
            self.check("scenario", document)
        else:
            self.assertFalse(self.validators["scenario"].is_valid(document), text)

    def test_every_builtin_scenario(self):
        paths = sorted((PROJECT / "configs" / "scenarios").glob("*.json"))
        self.assertGreater(len(paths), 15)
        for path in paths:
            with self.subTest(path.name):
                self.agrees_about_scenario(path.read_text(), True)

    def test_program_and_schema_agree_about_scenarios(self):
        base = {"name": "a", "tables": ["throughput"], "guest": "16M",
                "variants": [{"name": "v", "source": "anon:{size}", "sink": "null:"}]}
        variant = base["variants"][0]
        good = [{}, {"title": "t", "repeats": 1, "legs": 2, "timeout": "10s"},
                {"variants": [dict(variant, send={"multifd-channels": 2, "auto-converge": True}, recv={"run-for": "1s"})]},
                {"variants": [dict(variant, sweep={"n": [1, "2"], "m": {"from": 1, "to": 3}}, x="{n}",
                                   send={"multifd-channels": "{n}", "io-timeout": "{m}s"})]},
                {"variants": [dict(variant, sweep={"sink": ["null:", "anon:"]}, sink="{sink}")]},
                {"baselines": [{"name": "b", "run": "read:threads=1"}],
                 "goals": [{"figure": "total-time", "of": ["v"], "against": "b", "by": "best", "at-most": 2.5}]},
                {"variants": [dict(variant, published={"total-time": 5, "threads": {"live_migration": 1.5}})]}]
        bad = [{"new": 1}, {"tables": ["chairs"]}, {"tables": []}, {"repeats": 0}, {"repeats": "3"}, {"warm-ups": 11},
               {"name": "A"}, {"title": ""}, {"variants": []}, {"variants": [dict(variant, new=1)]},
               {"variants": [dict(variant, sink="tape:")]}, {"variants": [dict(variant, peer="yes")]},
               {"variants": [dict(variant, send={"listen": "a:1"})]}, {"variants": [dict(variant, send={"stats": "x"})]},
               {"variants": [dict(variant, send={"multifd-channels": 1.5})]},
               {"variants": [dict(variant, sweep={"n": []}, x="{n}")]}, {"variants": [dict(variant, x="one")]},
               {"variants": [dict(variant, published={"total-time": "fast"})]},
               {"baselines": [{"name": "b"}]}, {"goals": [{"figure": "total-time", "of": "v"}]},
               {"goals": [{"figure": "speed", "of": "v", "at-most": 1}]},
               {"goals": [{"figure": "total-time", "of": "v", "by": "luck", "at-most": 1}]}]
        for change, valid in [(change, True) for change in good] + [(change, False) for change in bad]:
            with self.subTest(change=change):
                self.agrees_about_scenario(json.dumps(dict(base, **change)), valid)


if __name__ == "__main__":
    Schemas.binary = sys.argv.pop()
    unittest.main()
