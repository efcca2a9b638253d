# SPDX-License-Identifier: Apache-2.0
"""The QMP client of scripts/qmp_client.py, with the errors of these tests."""

import sys
from pathlib import Path

from waiting import Trouble

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import qmp_client  # noqa: E402


class Qmp(qmp_client.Qmp):
    error = closed = Trouble
