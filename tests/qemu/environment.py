# SPDX-License-Identifier: Apache-2.0
"""Where the tests find a QEMU and a kernel, and the guest's initramfs."""

import glob
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SKIPPED = 77
INSTALLED = "qemu-system-x86_64"
# The folder that scripts/fetch-test-systems unpacks into.
SYSTEMS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "migrate/test-systems"


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def kernels():
    """The kernels that can be read: MIGRATE_TEST_KERNEL alone, or the unpacked and the installed ones."""
    given = os.environ.get("MIGRATE_TEST_KERNEL")
    installed = sorted(glob.glob("/boot/vmlinuz-*"), key=lambda path: "cloud" not in path)
    candidates = [given] if given else [*sorted(map(str, SYSTEMS.glob("kernel/boot/vmlinuz-*"))), *installed]
    return [path for path in candidates if os.access(path, os.R_OK)]


def find_kernel():
    """A kernel that unpacks an initramfs and has a serial console, as Debian's do; None if there is none."""
    return next(iter(kernels()), None)


# In the order in which they are loaded: each needs only those before it.
MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_balloon",
           "virtio_mem", "failover", "net_failover", "virtio_net")


def kernel_with_modules():
    """A kernel and the files of its modules that drive virtio devices; None and no file if there is none."""
    for kernel in kernels():
        root, version = Path(kernel).parent.parent, Path(kernel).name.removeprefix("vmlinuz-")
        files = {path.name.split(".")[0]: path for modules in ("lib/modules", "usr/lib/modules")
                 for part in ("drivers/virtio", "drivers/net", "net/core")
                 for path in (root / modules / version / "kernel" / part).glob("*.ko*")}
        # Debian 13's kernel has the core of virtio built in.
        modules = [name for name in MODULES if name not in built_in(root, version)]
        if all(name in files for name in modules):
            return kernel, [files[name] for name in modules]
    return None, []


def built_in(root, version):
    """The names of the modules that a kernel has built in."""
    lists = [path for modules in ("lib/modules", "usr/lib/modules")
             if (path := root / modules / version / "modules.builtin").is_file()]
    return {Path(line).stem for path in lists for line in path.read_text().split()}


def is_version(qemu, version):
    """Returns True if the program runs and is a QEMU of this version: "7.2", "10"."""
    if shutil.which(qemu) is None:
        return False
    said = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=False).stdout
    return said.startswith(f"QEMU emulator version {version}.")


def find_qemu():
    """MIGRATE_TEST_QEMU, or the installed QEMU. With MIGRATE_TEST_QEMU_VERSION, one of that version, which may also be
    an unpacked one; None if there is none."""
    version = os.environ.get("MIGRATE_TEST_QEMU_VERSION")
    given = os.environ.get("MIGRATE_TEST_QEMU")
    candidates = [given] if given else [INSTALLED, *([str(SYSTEMS / f"qemu-{version}" / INSTALLED)] if version else [])]
    return next((qemu for qemu in candidates if (is_version(qemu, version) if version else shutil.which(qemu))), None)


def version_of(qemu):
    """(10, 0) of "QEMU emulator version 10.0.2"."""
    said = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version (\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


QEMU = find_qemu()
# Whether QEMU tells the addresses of its memory: `migrate` then sends all its RAM blocks, and QEMU saves its devices
# alone. Otherwise QEMU's own migration saves them (x-ignore-shared).
MOVES_BLOCKS = QEMU is not None and version_of(QEMU) >= (8, 0)
# The state of the source's QEMU once its guest was handed over.
HANDED_OVER_STATE = "paused" if MOVES_BLOCKS else "postmigrate"


def require_guest():
    """Skips where a guest cannot be booted."""
    if QEMU is None:
        version = os.environ.get("MIGRATE_TEST_QEMU_VERSION")
        skip(f"there is no QEMU {version}; scripts/fetch-test-systems qemu-{version} fetches it" if version else
             "there is no qemu-system-x86_64 (package qemu-system-x86)")
    if find_kernel() is None:
        skip("there is no kernel for the guest; scripts/fetch-test-systems kernel fetches it")
    if os.uname().machine != "x86_64":
        skip("the guest is built for x86-64")
    if not os.access("/dev/shm", os.W_OK):
        skip("/dev/shm cannot be written")


def has_kvm():
    return os.environ.get("MIGRATE_TEST_KVM", "") == "1" and os.access("/dev/kvm", os.R_OK | os.W_OK)


def image_in(folder):
    return Path(folder) / "guest.img"


def build_initramfs(folder, modules=()):
    image = image_in(folder)
    subprocess.run([sys.executable, "-B", FOLDER / "make_initramfs.py", FOLDER / "guest_init.c", image, *modules],
                   check=True)
    return image
