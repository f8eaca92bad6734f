"""Runs a program on a pseudo-terminal and types: TERMINAL.py '[["what it asks", "what is typed"], ...]' COMMAND...

Prints JSON: its exit code, and all that the terminal showed.
"""

import json, os, pty, select, sys, time

script, command = json.loads(sys.argv[1]), sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
shown, seen, until = b"", 0, time.monotonic() + 120
while time.monotonic() < until:
    if script and script[0][0].encode() in shown[seen:]:
        seen = len(shown)
        os.write(terminal, script.pop(0)[1].encode())
    ready, _, _ = select.select([terminal], [], [], 0.5)
    if ready:
        try:
            more = os.read(terminal, 65536)
        except OSError:
            break
        if not more:
            break
        shown += more
else:
    os.kill(pid, 9)
status = os.waitpid(pid, 0)[1]
print(json.dumps({"code": os.waitstatus_to_exitcode(status), "shown": shown.decode(errors="replace")}))
