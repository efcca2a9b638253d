# SPDX-License-Identifier: Apache-2.0
"""A host is a network namespace of this machine: each command runs in the one that `netns_name` names."""

import shlex

from ansible.plugins.connection.local import Connection as LocalConnection

DOCUMENTATION = """
name: netns
short_description: runs commands in a network namespace
description: Runs commands on the controller, in a network namespace.
options:
  netns_name:
    description: the name of the namespace
    required: true
    type: str
    vars:
      - name: netns_name
"""


class Connection(LocalConnection):
    transport = "netns"

    def exec_command(self, cmd, in_data=None, sudoable=True):
        name = shlex.quote(self.get_option("netns_name"))
        return super().exec_command(f"ip netns exec {name} {cmd}", in_data, sudoable)
