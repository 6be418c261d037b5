# SPDX-License-Identifier: MIT
"""What the tests of tests/bench share: a list of cases, each a function named by a sentence."""
import subprocess
import sys
import traceback


def run(command, *args, code=0):
    """Runs the program; its standard output and standard error as text."""
    done = subprocess.run([command, *args], capture_output=True, text=True, timeout=300)
    assert done.returncode == code, f"exit {done.returncode}, expected {code}: {done.stderr[-600:]}"
    return done.stdout, done.stderr


def main(cases):
    failed = 0
    for case in cases:
        try:
            case()
        except Exception:  # a case that breaks is a case that failed
            failed += 1
            print(f"FAILED: {case.__name__}")
            traceback.print_exc(file=sys.stdout)
    print(f"{len(cases) - failed} passed, {failed} failed")
    sys.exit(failed > 0)
