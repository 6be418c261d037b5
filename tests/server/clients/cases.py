# SPDX-License-Identifier: MIT
"""Counting cases."""
import sys
import traceback

passed = failed = 0


def case(name):
    """Decorator: the function is a case and runs at once; an exception fails it."""
    def run(f):
        global passed, failed
        try:
            f()
            passed += 1
        except Exception:
            failed += 1
            print(f"FAILED: {name}\n{traceback.format_exc(limit=3)}")
        return f
    return run


def finish():
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)
