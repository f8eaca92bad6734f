"""Makes the public conformance suite know this project's bridge, and writes down how each test ended.

The suite keeps its implementations in two dictionaries of its conftest; it has no other way in. Nothing of the suite
is changed on disk.
"""

import json
import os

NAME = "kos"
COMMAND_VARIABLE = "CONFORMANCE_KOS_BRIDGE_CMD"


class Report:
    """One JSON object a line for every test: its id, how it ended, how long it took and the last line of why."""

    def __init__(self, path):
        self.file = open(path, "w", encoding="utf-8")
        self.tests = {}

    def pytest_runtest_logreport(self, report):
        known = self.tests.setdefault(report.nodeid, {"outcome": "passed", "seconds": 0.0, "why": ""})
        known["seconds"] += report.duration
        if report.outcome != "passed" and known["outcome"] in ("passed", "skipped"):
            expected = hasattr(report, "wasxfail")
            known["outcome"] = "xfailed" if expected else report.outcome
            known["why"] = report.wasxfail if expected else why_of(report)
        if report.when == "teardown":
            self.file.write(json.dumps({"id": report.nodeid, **self.tests.pop(report.nodeid)}) + "\n")
            self.file.flush()


def why_of(report):
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        return crash.message[:2000]
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    return str(report.longrepr)[-2000:]


def pytest_plugin_registered(plugin):
    commands = getattr(plugin, "BRIDGE_COMMANDS", None)
    variables = getattr(plugin, "PER_IMPL_CMD_ENV", None)
    if isinstance(commands, dict) and isinstance(variables, dict):
        commands[NAME] = os.environ[COMMAND_VARIABLE]
        variables[NAME] = COMMAND_VARIABLE


def pytest_configure(config):
    path = os.environ.get("KOS_CONFORMANCE_REPORT")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Report(path), "kos-report")
