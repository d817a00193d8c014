"""The ``pye`` command; also ``python -m pye``."""

import os
import signal
import sys


def main():
    """Runs the command line of ``sys.argv`` and returns its exit status."""
    from . import _native

    # The command is native code: it would not see a KeyboardInterrupt before it is done. And `pye run` becomes another
    # program, which must not inherit that Python ignores SIGXFSZ.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    return _native.main(["pye", *sys.argv[1:]], sys.executable, os.path.dirname(os.path.abspath(__file__)))


if __name__ == "__main__":
    sys.exit(main())
