# SPDX-License-Identifier: Apache-2.0
"""Filters of the role `evacuate`: units of `migrate`, command lines, the prediction, what an exit code allows, and the
report. They decide nothing by themselves that docs/evacuation.md does not state."""

from __future__ import annotations

import json
import re
import time

from ansible.errors import AnsibleFilterError

UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
BITS = {"bit": 1, "kbit": 10**3, "Mbit": 10**6, "Gbit": 10**9, "Tbit": 10**12}
TIMES_MS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}
DOWNTIME_LIMIT_MS = 300  # the default of --downtime-limit
# The part of a pause that does not depend on the memory: loading, resuming, round trips.
FIXED_PAUSE_MS = 30
ROUNDS = 50  # a prediction that needs more rounds than this does not converge

COMPLETED, FAILED, USAGE, REFUSED, CANCELLED, NOT_CONVERGED, OWNER_UNKNOWN = range(7)
EXIT_CODES = {COMPLETED: "completed", FAILED: "failed", USAGE: "usage", REFUSED: "refused", CANCELLED: "cancelled",
              NOT_CONVERGED: "not-converged", OWNER_UNKNOWN: "owner-unknown"}


def parsed(text, pattern, units, kind):
    match = re.fullmatch(pattern, str(text).strip())
    if not match or match[2] not in units:
        raise AnsibleFilterError(f"'{text}' is no {kind}; units: {', '.join(unit for unit in units if unit)}")
    return float(match[1]) * units[match[2]]


def size_bytes(text):
    """Bytes of a size as `migrate` takes it: 64M, 4G, 4096."""
    return int(parsed(text, r"(\d+(?:\.\d+)?)([KMGTB]?)(?:i?B)?", UNITS, "size"))


def rate_bytes(text):
    """Bytes per second of a rate: 125M/s, 1Gbit/s."""
    text = str(text).strip()
    if re.search(r"bit/s$", text):
        return int(parsed(text.removesuffix("/s"), r"(\d+(?:\.\d+)?)(\w+)", BITS, "rate") / 8)
    return size_bytes(text.removesuffix("/s"))


def time_ms(text):
    """Milliseconds of a time: 300ms, 2s; a number alone is in ms, as in the statistics."""
    return parsed(text, r"(\d+(?:\.\d+)?)(\w*)", {"": 1, **TIMES_MS}, "time")


def share(link, percent, parallel):
    """The bytes per second that each of `parallel` moves may use of a link."""
    return int(rate_bytes(link) * float(percent) / 100 / max(1, int(parallel)))


def words_of(options):
    """Command line words of a mapping. YAML reads `on` as true."""
    words = []
    for key, value in options.items():
        if isinstance(value, bool):
            value = "on" if value else "off"
        words += [f"--{key}", str(value)]
    return words


def endpoint(address, port):
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"


def send_words(guest, address, settings, more=None):
    """The words of `migrate send` for one attempt. A guest's own options win over those of the role."""
    options = {
        "guest-name": guest["name"],
        "tls-creds": guest.get("tls_creds", settings["tls_creds"]),
        "downtime-limit": guest.get("downtime_limit", f"{DOWNTIME_LIMIT_MS}ms"),
        "max-bandwidth": f"{settings['share']}/s",
        "avail-switchover-bandwidth": f"{settings['share']}/s",
        "deadline": f"{settings['deadline']}s",
        "on-deadline": "cancel",
        "connect-timeout": settings["connect_timeout"],
        "io-timeout": settings["io_timeout"],
        "reconnect-timeout": settings["reconnect_timeout"],
        **guest.get("options", {}),
        **(more or {}),
    }
    return [settings["program"], "send", "--json", "--source", guest["source"],
            "--connect", endpoint(address, guest["port"]), *words_of(options)]


def recv_words(guest, host, address, settings):
    """The words of `migrate recv` for one attempt."""
    options = {
        "guest-name": guest["name"],
        "tls-creds": guest.get("tls_creds", settings["tls_creds"]),
        "listen-timeout": settings["listen_timeout"],
        "io-timeout": settings["io_timeout"],
        **({"run-for": f"{settings['builtin_lifetime']}s"} if is_builtin(guest) else {}),
        **guest.get("recv_options", {}),
    }
    return [settings["program"], "recv", "--json", "--sink", sink_of(guest, host),
            "--listen", endpoint(address, guest["port"]), *words_of(options)]


def is_builtin(guest):
    return str(guest["source"]).startswith("workload:")


def sink_of(guest, host):
    return for_host(guest.get("sink") or ("anon:" if is_builtin(guest) else guest["source"]), host)


def for_host(text, host):
    """The text, in which {to} stands for the destination's name."""
    return str(text).replace("{to}", host)


def prepare_words(guest, host):
    return [for_host(word, host) for word in guest["prepare"]]


def qmp_socket(form):
    """The socket of `qemu:SOCKET,WORD=VALUE`; empty for any other source or sink."""
    return form.removeprefix("qemu:").split(",")[0] if str(form).startswith("qemu:") else ""


def figures_of(guest, facts):
    """(memory, rate, written): the size of the guest, the bytes that it writes per second and those that it writes at
    all, each None if unknown. The guest's row wins over the built-in guest's own words, and those over QEMU's."""
    facts = facts or {}
    source = str(guest["source"])
    memory, rate, written = facts.get("memory"), facts.get("dirty_rate"), None
    if is_builtin(guest):
        size, *pairs = source.removeprefix("workload:").split(",")
        words = dict(pair.split("=", 1) for pair in pairs)
        memory = size_bytes(size)
        rate = float(words.get("rate", 200)) * (1 << 20) or None
        written = size_bytes(words["working-set"]) if "working-set" in words else None
    if "memory" in guest:
        memory = size_bytes(guest["memory"])
    if "dirty_rate" in guest:
        rate = rate_bytes(guest["dirty_rate"])
    if "working_set" in guest:
        written = size_bytes(guest["working_set"])
    return memory, rate, written


def predict(guest, facts, bandwidth):
    """The time and the pause that one guest needs at this bandwidth (bytes per second), in ms. Every page counts as
    sent, and every write as one to another page, so a real move is rather shorter. None where a figure is unknown."""
    memory, rate, written = figures_of(guest, facts)
    limit = time_ms(guest.get("downtime_limit", DOWNTIME_LIMIT_MS))
    found = {"memory": memory, "dirty_rate": rate, "downtime_limit": limit, "time": None, "downtime": None,
             "converges": None}
    if not memory or not bandwidth:
        return found
    if rate is None:
        return {**found, "time": memory / bandwidth * 1000}
    left, total = float(memory), 0.0
    for _ in range(ROUNDS):
        spent = left / bandwidth
        total += spent * 1000
        left = min(float(written or memory), rate * spent)
        pause = left / bandwidth * 1000 + FIXED_PAUSE_MS
        if pause <= limit:
            return {**found, "time": total + pause, "downtime": pause, "converges": True}
        if left >= spent * bandwidth:
            break
    return {**found, "downtime": pause, "converges": False}


def makespan(times, parallel):
    """The time of all moves in this order, `parallel` at once; None if one of them is unknown."""
    if any(each is None for each in times):
        return None
    ends = [0.0] * max(1, int(parallel))
    for each in times:
        ends[ends.index(min(ends))] += each
    return max(ends)


def plan(guests, facts, bandwidth, parallel, deadline=0):
    """The dry run: a row for each guest, and the time of all. Numbers may be texts, as templates give them."""
    bandwidth = int(bandwidth)
    rows = [{"guest": guest["name"], "to": guest["destination"], "fallback": guest.get("fallback", []),
             "state": (facts.get(guest["name"]) or {}).get("state", ""),
             **predict(guest, facts.get(guest["name"]), bandwidth)} for guest in guests]
    return {"guests": rows, "bandwidth_per_guest": bandwidth, "parallel": int(parallel), "deadline": int(deadline),
            "time": makespan([row["time"] for row in rows], parallel)}


def problems(guests, hosts, source):
    """What is wrong with the table of guests, one sentence each."""
    found, names, ports = [], set(), {}
    for guest in guests:
        name = guest["name"]
        if name in names:
            found.append(f"two guests have the name {name}")
        names.add(name)
        for host in [guest["destination"], *guest.get("fallback", [])]:
            if host not in hosts:
                found.append(f"{name}: {host} is not in the inventory")
            if host == source:
                found.append(f"{name}: {host} is the host to evacuate")
            other = ports.setdefault((host, guest["port"]), name)
            if other != name:
                found.append(f"{name} and {other} have the same port {guest['port']} on {host}")
        for key, parse in (("memory", size_bytes), ("dirty_rate", rate_bytes), ("working_set", size_bytes),
                           ("downtime_limit", time_ms)):
            try:
                if key in guest:
                    parse(guest[key])
            except AnsibleFilterError as error:
                found.append(f"{name}: {key}: {error}")
    return found


def answer_of(result):
    """The line of --json of a `migrate` that ended by itself; None if there is none, or if it does not fit."""
    try:
        line = json.loads((result or {}).get("stdout", "").strip().splitlines()[-1])
        code = line["exit-code"]
        return line if code == result.get("rc") and EXIT_CODES.get(code) == line["outcome"] else None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None


def said(result):
    """The reason for which a task did not do what it should."""
    result = result or {}
    text = result.get("stderr") or result.get("msg") or result.get("exception") or "no answer"
    return str(text).strip().splitlines()[-1] if str(text).strip() else "no answer"


def attempt(guest, destination, started, sent, received, began=0):
    """The record of one attempt. `started`, `sent` and `received` are the results of the tasks that prepare the
    destination and start the receiver, of the sender, and of the receiver's end. `retry` is one of no, other (another
    destination only) and any; `destination` is one of ok, suspect and failed."""
    row = {"guest": guest["name"], "to": destination, "began": float(began), "ended": time.time(), "exit_code": None, "outcome": "",
           "owner": "source", "downtime": None, "time": None, "retry": "no", "destination": "ok", "reason": ""}
    if not sent or sent.get("skipped"):
        return {**row, "outcome": "no-receiver", "reason": f"{destination}: {said(started)}", "retry": "other",
                "destination": "failed" if started.get("unreachable") else "suspect"}
    answer, peer = answer_of(sent), answer_of(received)
    if answer is None:
        return {**row, "outcome": "no-answer", "owner": "unknown", "reason": said(sent),
                "exit_code": sent.get("rc")}
    code = answer["exit-code"]
    row.update(exit_code=code, outcome=answer["outcome"], owner=answer["guest-owner"], reason=answer["reason"],
               downtime=answer.get("downtime"), time=answer["total-time"])
    if code in (USAGE, REFUSED) or answer["guest-owner"] == "none":
        row["owner"] = "source"  # nothing has happened to it
    if row["owner"] != "source":
        return row
    refused_there = peer is not None and peer["exit-code"] in (USAGE, REFUSED)
    if code == FAILED and refused_there:
        row.update(retry="other", reason=f"{destination}: {peer['reason']}")
    elif code in (FAILED, NOT_CONVERGED):
        row.update(retry="any", destination="suspect" if code == FAILED else "ok")
    elif code == REFUSED:
        row["retry"] = "other"
    return row


def failed_destinations(histories, limit):
    """The hosts that get no new move: one that Ansible did not reach, or to which the moves of `limit` different guests
    have failed, none completed in between."""
    failed, guests = set(), {}
    for row in sorted((row for history in histories for row in history), key=lambda row: row["ended"]):
        if row["destination"] == "failed":
            failed.add(row["to"])
        elif row["exit_code"] == COMPLETED:
            guests.pop(row["to"], None)
        elif row["destination"] == "suspect":
            guests.setdefault(row["to"], set()).add(row["guest"])
    return sorted(failed | {host for host, names in guests.items() if len(names) >= int(limit)})


def next_destination(guest, history, failed, attempts):
    """The host for the next attempt: of those that are left, the first one that this guest has tried least often.
    Empty if there must be no attempt."""
    if len(history) >= int(attempts) or (history and history[-1]["retry"] == "no"):
        return ""
    tried = [row["to"] for row in history]
    refusing = {row["to"] for row in history if row["retry"] == "other"}
    left = [host for host in [guest["destination"], *guest.get("fallback", [])]
            if host not in failed and host not in refusing]
    return min(left, key=tried.count, default="")


def result(guest, source, history, failed, facts_at_source=None, facts_at_destination=None):
    """The row of the report for one guest, after its last attempt."""
    last = history[-1] if history else None
    owner = last["owner"] if last else "source"
    to = last["to"] if last else ""
    here, there = (str((facts or {}).get("state", "")) for facts in (facts_at_source, facts_at_destination))
    now = {"source": source, "destination": to}.get(owner, f"unknown: look at {source} and {to}")
    if here == there == "running":
        now = f"RUNS TWICE: on {source} and on {to}"
    reason = last["reason"] if last else f"no destination is left; failed: {', '.join(failed)}"
    limit = time_ms(guest.get("downtime_limit", DOWNTIME_LIMIT_MS))
    downtime = last["downtime"] if last else None
    return {"guest": guest["name"], "from": source, "to": to or guest["destination"], "attempts": len(history),
            "exit_code": last["exit_code"] if last else None, "outcome": last["outcome"] if last else "not-moved",
            "downtime": downtime, "downtime_limit": limit, "time": last["time"] if last else None,
            "within_limit": downtime <= limit if downtime is not None else None, "now": now, "state_at_source": here,
            "state_at_destination": there, "reason": reason, "history": history}


def text_of(value, unit=1):
    """A cell of a table: a number in this unit, without decimals."""
    if value is None or value == "":
        return "-"
    return f"{value / unit:.0f}" if isinstance(value, (int, float)) else str(value)


def aligned(header, rows):
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in table]


def report_lines(results):
    """The report as a table of text, a line each."""
    header = ["guest", "from", "to", "attempts", "exit code", "downtime ms", "limit ms", "time ms", "now", "reason"]
    return aligned(header, [[text_of(row[key]) for key in (
        "guest", "from", "to", "attempts", "exit_code", "downtime", "downtime_limit", "time", "now", "reason")]
        for row in results])


def note_of(row, deadline):
    """What an operator should know of a row of the dry run."""
    if row["state"] not in ("", "running"):
        return f"its QEMU is {row['state']}"
    if row["converges"] is False:
        return "does not converge: fewer at once, auto-converge, or another time"
    if row["time"] and deadline and row["time"] > deadline * 1000:
        return f"takes longer than evacuate_deadline, {deadline} s"
    return "" if row["converges"] else "dirty_rate or memory unknown"


def plan_lines(planned):
    """The dry run as a table of text, a line each."""
    rows = [[row["guest"], " ".join([row["to"], *row["fallback"]]), text_of(row["state"]),
             text_of(row["memory"], 1 << 20), text_of(row["dirty_rate"], 1 << 20), text_of(row["time"], 1000),
             text_of(row["downtime"]), text_of(row["downtime_limit"]), note_of(row, planned["deadline"])]
            for row in planned["guests"]]
    header = ["guest", "to", "state", "MiB", "dirty MiB/s", "time s", "downtime ms", "limit ms", "note"]
    total = "unknown" if planned["time"] is None else f"{planned['time'] / 1000:.0f} s"
    return [*aligned(header, rows),
            f"{planned['parallel']} at once, {planned['bandwidth_per_guest'] / (1 << 20):.1f} MiB/s each; "
            f"all moves: {total}"]


class FilterModule:
    """The names by which the role calls these functions."""

    def filters(self):
        functions = (share, send_words, recv_words, sink_of, prepare_words, qmp_socket, plan, problems, attempt, failed_destinations,
                     next_destination, result, report_lines, plan_lines)
        return {f"evacuate_{function.__name__}": function for function in functions}
