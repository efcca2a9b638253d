#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs configure, enable and disable the software devices by sysfs, as accel-config does. Arguments: library,
client program. With --inside CASE it runs a case of Inside, under scripts/with-softdsa."""

import json
import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

import with_softdsa
from queue_user import Queue, until
from with_softdsa import skip

DEVICE = Path("/sys/bus/dsa/devices/dsa0")
QUEUE = DEVICE / "wq0.0"
CONFIGURE = ("accel-config config-engine dsa0/engine0.0 -g 0 && "
             "accel-config config-wq dsa0/wq0.3 -g 0 -s 16 -p 10 -b 1 -t 15 -m shared -y user -n app1 -d user")
ENABLE = "accel-config enable-device dsa0 && accel-config enable-wq dsa0/wq0.3"


def text(path):
    return Path(path).read_text().strip()


def accel_config(*words):
    return subprocess.run(["accel-config", *words], capture_output=True, text=True, timeout=60)


class Inside:
    """What a program sees that uses a queue while it is configured. Each case is a process of its own."""

    @staticmethod
    def disabled_under_a_client():
        queue = Queue()
        queue.run()
        assert text(QUEUE / "clients") == "1" and text(DEVICE / "clients") == "1"
        refused = accel_config("disable-wq", "dsa0/wq0.0")
        assert refused.returncode == 1 and "has clients: 1" in refused.stderr, refused
        forced = accel_config("disable-wq", "-f", "dsa0/wq0.0")
        assert forced.returncode == 0, forced
        assert not os.path.exists("/dev/dsa/wq0.0") and text(QUEUE / "state") == "disabled"
        assert not queue.submit()
        # Its size and group remain, the rest is lost, as with the driver.
        assert (text(QUEUE / "type"), text(QUEUE / "size"), text(QUEUE / "group_id")) == ("none", "64", "0")
        configured = accel_config("config-wq", "dsa0/wq0.0", "-b", "1", "-t", "10", "-m", "shared", "-y", "user", "-n",
                                  "app1", "-d", "user", "-p", "10")
        assert configured.returncode == 0, configured
        enabled = accel_config("enable-wq", "dsa0/wq0.0")
        assert enabled.returncode == 0 and os.path.exists("/dev/dsa/wq0.0"), enabled
        queue.run()
        queue.close()
        assert text(QUEUE / "clients") == "0"
        assert accel_config("disable-wq", "dsa0/wq0.0").returncode == 0

    @staticmethod
    def a_device_disabled_under_clients():
        queues = [Queue("/dev/dsa/wq0.0"), Queue("/dev/dsa/wq0.1")]
        assert accel_config("disable-device", "dsa0").returncode == 1
        assert accel_config("disable-device", "-f", "dsa0").returncode == 0
        assert os.listdir("/dev/dsa") == [] and text(DEVICE / "state") == "disabled"
        assert not queues[0].submit()
        assert (text(QUEUE / "group_id"), text(QUEUE / "size")) == ("-1", "0")

    @staticmethod
    def a_drain_awaits_the_answers():
        # Run with: --faults late=300ms
        queue = Queue()
        for _ in range(5):
            assert queue.submit()
        assert accel_config("disable-wq", "-f", "dsa0/wq0.0").returncode == 0
        assert queue.answered()

    @staticmethod
    def two_processes_share_the_room():
        # Run with: --size 2 --timing of a minute for each descriptor. The first leaves the queue at once.
        queue = Queue()
        until(lambda: queue.submit() and len(queue.records) == 3, "the queue does not take three descriptors")
        other = subprocess.run([sys.executable, "-B", __file__, "--inside", "a_full_queue"], timeout=60)
        assert other.returncode == 0
        assert text(QUEUE / "occupancy") == "2"

    @staticmethod
    def a_full_queue():
        queue = Queue()
        assert text(QUEUE / "clients") == "2"
        assert not queue.submit()

    @staticmethod
    def a_process_that_is_killed_leaves_its_room():
        command = [sys.executable, "-B", __file__, "--inside", "three_and_wait"]
        other = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert other.stdout.readline() == b"full\n"
        queue = Queue()
        assert not queue.submit()
        other.kill()
        until(queue.submit, "the room is not free")
        other.wait(60)
        other.stdout.close()

    @staticmethod
    def three_and_wait():
        queue = Queue()
        until(lambda: queue.submit() and len(queue.records) == 3, "the queue does not take three descriptors")
        print("full", flush=True)
        os.read(os.pipe()[0], 1)

    @staticmethod
    def a_halted_device():
        # Run with: --faults halt-after=1
        queue = Queue()
        queue.run()
        queue.submit()
        until(lambda: text(DEVICE / "state") == "halted", "the device does not halt")
        # accel-config takes a device that halted for one that is disabled.
        assert "disabled state already" in accel_config("disable-device", "-f", "dsa0").stderr
        Path("/sys/bus/dsa/drivers/idxd/unbind").write_text("dsa0")
        assert text(DEVICE / "state") == "disabled"
        queue.close()
        for command in (CONFIGURE, ENABLE):
            subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert text(DEVICE / "state") == "enabled"


    @staticmethod
    def groups_that_change_under_a_client():
        # Run with: --unconfigured. The engine threads of this process sleep in between.
        queue = None
        for group, engine in ((0, 0), (3, 2), (1, 3), (1, 0)):
            for words in (("config-engine", f"dsa0/engine0.{engine}", "-g", str(group)),
                          ("config-wq", "dsa0/wq0.0", "-g", str(group), "-s", "16", "-p", "10", "-t", "15", "-m", "shared",
                           "-y", "user", "-n", "app1", "-d", "user"),
                          ("enable-device", "dsa0"), ("enable-wq", "dsa0/wq0.0")):
                done = accel_config(*words)
                assert done.returncode == 0, done
            queue = queue or Queue()
            queue.run()
            assert accel_config("disable-device", "-f", "dsa0").returncode == 0
            assert not queue.submit()

    @staticmethod
    def a_queue_that_moves_to_another_group():
        # Run with: --unconfigured. Two groups, each with a queue and an engine.
        for number in (0, 1):
            for words in (("config-engine", f"dsa0/engine0.{number}", "-g", str(number)),
                          ("config-wq", f"dsa0/wq0.{number}", "-g", str(number), "-s", "16", "-p", "10", "-t", "15", "-m",
                           "shared", "-y", "user", "-n", "app1", "-d", "user")):
                assert accel_config(*words).returncode == 0
        (DEVICE / "wq0.2/size").write_text("16")
        assert accel_config("enable-device", "dsa0").returncode == 0
        # The groups count that the device had when it was enabled.
        (QUEUE / "group_id").write_text("3")
        (DEVICE / "engine0.0/group_id").write_text("-1")
        for number in (0, 1):
            assert accel_config("enable-wq", f"dsa0/wq0.{number}").returncode == 0
            Queue(f"/dev/dsa/wq0.{number}").run()
        done = accel_config("config-wq", "dsa0/wq0.2", "-g", "0", "-p", "10", "-t", "15", "-m", "shared", "-y", "user", "-n",
                            "app1", "-d", "user")
        assert done.returncode == 0, done
        assert accel_config("enable-wq", "dsa0/wq0.2").returncode == 1
        assert text(DEVICE / "cmd_status") == "0x80030000"


class Configuration(unittest.TestCase):
    runner = None

    def output_of(self, options, script, expect=0):
        done = self.runner.run(options, ["bash", "-c", script])
        self.assertEqual(done.returncode, expect, f"{done.stdout[-4000:]}{done.stderr[-4000:]}")
        return done.stdout

    def inside(self, case, *options):
        done = self.runner.run(options, [sys.executable, "-B", __file__, "--inside", case])
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_a_device_is_configured_enabled_and_disabled(self):
        out = self.output_of(("--unconfigured",), f"""
            ls /dev/dsa | wc -l; cat {DEVICE}/state
            {CONFIGURE} && {ENABLE} && ls /dev/dsa && accel-config list >/dev/stderr
            readlink -f {DEVICE}/driver {DEVICE}/wq0.3/driver /sys/bus/dsa/drivers/user/wq0.3
            cat {DEVICE}/group0.0/{{engines,work_queues}}
            accel-config disable-wq dsa0/wq0.3 && accel-config disable-device dsa0
            ls /dev/dsa | wc -l; cat {DEVICE}/state {DEVICE}/wq0.3/state; ls {DEVICE}/driver""", expect=2)
        self.assertEqual(out.split(), [
            "0", "disabled", "wq0.3", "/sys/bus/dsa/drivers/idxd", "/sys/bus/dsa/drivers/user",
            str(Path("/sys/devices/pci0000:6a/0000:6a:01.0/dsa0/wq0.3")), "engine0.0", "wq0.3", "0", "disabled",
            "disabled"])

    def test_what_is_configured_holds(self):
        test = with_softdsa.DSA_TEST
        self.output_of(("--unconfigured",), f"""
            set -e; {CONFIGURE}; echo 64 >{DEVICE}/wq0.3/max_batch_size; {ENABLE}
            {test} -w 1 -l 4096 -o 3 -t 3000
            {test} -w 1 -l 4096 -o 1 -b 6 -c 64 -t 3000
            ! {test} -w 1 -l 4096 -o 1 -b 6 -c 65 -t 3000""")

    def test_a_saved_configuration_is_loaded(self):
        config = with_softdsa.TEST_FOLDER + "configs/2g2q_user_1.conf"
        out = self.output_of(("--unconfigured",), f"""
            accel-config load-config -c {config} -e >/dev/null && accel-config list""")
        groups = json.loads(out)[0]["groups"]
        self.assertEqual([[(queue["dev"], queue["mode"], queue["size"], queue["state"], queue["name"])
                           for queue in group.get("grouped_workqueues", ())] for group in groups[:2]],
                         [[("wq0.0", "shared", 16, "enabled", "app1")], [("wq0.1", "dedicated", 16, "enabled", "app2")]])

    def test_every_way_to_write_a_file_sets_an_attribute(self):
        python = "import sys; open(sys.argv[1], 'w').write('6\\n')"
        ways = (("echo 1 >$file", "1"), ("/bin/echo 2 >$file", "2"), ("echo 3 | tee $file >/dev/null", "3"),
                ("printf 4 | dd of=$file status=none", "4"), ("printf '5\\n' | cat >$file", "5"),
                (f"{sys.executable} -c \"{python}\" $file", "6"), ("cd $(dirname $file) && echo 7 >priority", "7"),
                ("echo 8 1<>$file >&1", "8"))
        for way, value in ways:
            with self.subTest(way=way):
                self.assertEqual(self.output_of((), f"file={DEVICE}/wq0.5/priority; {way} && cat $file").strip(), value)

    def test_values_and_moments_that_the_driver_refuses(self):
        cases = (("echo 5 >wq0.0/size", "Operation not permitted"),
                 ("echo 5 >wq0.0/priority", "Operation not permitted"),
                 ("echo 5 >wq0.0/threshold", "No such device or address"),
                 ("echo 16 >wq0.5/priority", "Invalid argument"),
                 ("echo many >wq0.5/priority", "Invalid argument"),
                 ("echo 4 >wq0.5/group_id", "Invalid argument"),
                 ("echo 2048 >wq0.5/max_batch_size", "Invalid argument"),
                 ("echo 1 >wq0.5/threshold", "Invalid argument"),
                 ("echo half >wq0.5/mode", "Invalid argument"),
                 ("echo ffffffff >wq0.5/op_config", "Invalid argument"),
                 ("echo 5 >group0.0/read_buffers_reserved", "Operation not permitted"),
                 ("echo 1 >clients", "Permission denied"),
                 ("echo 1 >wq0.0/state", "Permission denied"),
                 ("echo wq0.5 >/sys/bus/dsa/drivers/user/bind", "No such device"),
                 ("echo wq0.0 >/sys/bus/dsa/drivers/user/bind", "Device or resource busy"),
                 ("echo wq0.0 >/sys/bus/dsa/drivers/idxd/unbind", "No such device"),
                 ("echo dsa7 >/sys/bus/dsa/drivers/idxd/bind", "No such device"))
        script = "".join(f"({command}) 2>&1 && echo accepted; " for command, _ in cases)
        lines = self.output_of((), f"cd {DEVICE}; {script} true").splitlines()
        self.assertEqual(len(lines), len(cases), lines)
        for (command, error), line in zip(cases, lines):
            with self.subTest(command=command):
                self.assertTrue(line.endswith(error), line)

    def test_a_refused_command_leaves_its_reason(self):
        out = self.output_of(("--unconfigured",), f"""
            cd {DEVICE}
            echo dsa0 >/sys/bus/dsa/drivers/idxd/bind; cat cmd_status
            {CONFIGURE} && accel-config enable-device dsa0
            echo 1 >cmd_status; cat cmd_status
            echo >wq0.3/name; echo user >wq0.4/driver_name; echo wq0.4 >/sys/bus/dsa/drivers/user/bind
            cat cmd_status""")
        self.assertEqual(re.findall(r"^0x.*", out, re.MULTILINE), ["0x800d0000", "0x0", "0x80030000"])

    def test_a_group_needs_an_engine_and_a_queue(self):
        queue = CONFIGURE.split(" && ")[1]
        engine = "echo 0 >engine0.0/group_id"
        bind = "echo dsa0 2>/dev/null >/sys/bus/dsa/drivers/idxd/bind; cat cmd_status state"
        for steps, expected in ((queue, "0x0 disabled"),  # no engine at all: the driver gives no reason
                                (f"{queue}; echo 1 >engine0.0/group_id", "0x15 disabled"),
                                (f"{queue}; {engine}; echo 2 >engine0.1/group_id", "0x15 disabled"),
                                (f"{queue}; {engine}", "0x0 enabled")):
            with self.subTest(steps=steps):
                out = self.output_of(("--unconfigured",), f"cd {DEVICE}; ({steps}) >/dev/null 2>&1; {bind}")
                self.assertEqual(out.split(), expected.split())
        done = self.runner.run(("--unconfigured",), ["bash", "-c", f"{queue}; echo 1 >{DEVICE}/engine0.0/group_id; "
                                                     "accel-config enable-device dsa0"])
        self.assertEqual(done.returncode, 1)
        self.assertIn("lack of wq or engines", done.stdout + done.stderr)

    def test_a_queue_needs_a_priority(self):
        out = self.output_of(("--unconfigured",), f"""
            cd {DEVICE}; {CONFIGURE} && accel-config enable-device dsa0; echo 0 >wq0.3/priority
            echo wq0.3 2>/dev/null >/sys/bus/dsa/drivers/user/bind; cat cmd_status wq0.3/state
            echo 1 >wq0.3/priority; echo wq0.3 >/sys/bus/dsa/drivers/user/bind; cat wq0.3/state""")
        self.assertEqual(out.split()[-3:], ["0x23", "disabled", "enabled"])

    def test_engines_follow_their_groups(self):
        for options in (("--unconfigured",), ("--unconfigured", "--engines", "0")):
            self.inside("groups_that_change_under_a_client", *options)
            self.inside("a_queue_that_moves_to_another_group", *options)

    def test_attributes_cannot_be_written_past_the_library(self):
        done = self.runner.run((), ["env", "-u", "LD_PRELOAD", "bash", "-c", f"echo 1 >{DEVICE}/wq0.5/priority"])
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("Read-only file system", done.stderr)

    def test_the_device_has_a_pci_device_as_parent(self):
        for version, number in (("0x100", "0x0b25"), ("0x200", "0x1212")):
            with self.subTest(version=version):
                out = self.output_of(("--version", version, "--numa-node", "1", "--devices", "2"), """
                    for device in dsa0 dsa1; do
                        cd -P /sys/bus/dsa/devices/$device/.. && cat vendor device class numa_node
                        basename $(pwd); od -An -tx2 -N4 config; stat -c %s config
                        [[ $(readlink -f /sys/bus/pci/devices/$(basename $(pwd))) == $(pwd) ]] && echo linked
                    done""")
                words = out.split()
                linked = ["linked"] if os.path.isdir("/sys/bus/pci/devices") else []
                expected = ["0x8086", number, "0x088000", "1"]
                first = len(expected) + 4 + len(linked)
                for device in (words[:first], words[first:]):
                    self.assertEqual(device[:4], expected)
                    self.assertRegex(device[4], r"^0000:[0-9a-f]{2}:01\.0$")
                    self.assertEqual(device[5:], ["8086", number[2:], "4096", *linked])
                self.assertNotEqual(words[4], words[first + 4])

    def test_lspci_finds_the_devices(self):
        if not shutil.which("lspci") or not os.path.isdir("/sys/bus/pci/devices"):
            self.skipTest("there is no lspci or no PCI bus")
        out = self.output_of(("--devices", "3"), "lspci -d 8086:0b25")
        self.assertEqual(len(out.splitlines()), 3)

    def test_a_queue_is_disabled_under_its_client(self):
        self.inside("disabled_under_a_client", "--mode", "shared")
        self.inside("disabled_under_a_client", "--engines", "0")

    def test_a_device_is_disabled_under_its_clients(self):
        self.inside("a_device_disabled_under_clients")

    def test_disabling_a_queue_drains_it(self):
        self.inside("a_drain_awaits_the_answers", "--faults", "late=300ms")

    def test_a_halted_device_shows_it_and_is_reset(self):
        self.inside("a_halted_device", "--faults", "halt-after=1")

    def test_processes_share_a_queue(self):
        slow = ("--size", "2", "--timing=1000,60000000000,1000000000")
        self.inside("two_processes_share_the_room", *slow)
        self.inside("a_process_that_is_killed_leaves_its_room", *slow)


if __name__ == "__main__":
    if "--inside" in sys.argv:
        sys.exit(getattr(Inside, sys.argv[2])())
    sys.argv.pop()  # the client program
    Configuration.runner = with_softdsa.Runner(sys.argv.pop())
    if not Path(with_softdsa.DSA_TEST).exists() or not shutil.which("accel-config"):
        skip("accel-config and accel-config-test are not installed (apt-get install accel-config accel-config-test)")
    Configuration.runner.skip_without_namespaces()
    unittest.main(verbosity=2)
