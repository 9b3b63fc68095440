"""The script `wavenet` and `python -m wavenet`.

The imports of the command line need a moment, in which Ctrl-C must not print a traceback.
"""

import sys


def main() -> None:
    """Run a command and exit the process with its exit code."""
    try:
        from wavenet.interrupts import redeliver_sigint

        sys.unraisablehook = redeliver_sigint
        from wavenet.cli.main import main as run_command

        run_command()
    except KeyboardInterrupt:
        from wavenet.terminal import print_message

        print_message("wavenet: interrupted")
        sys.exit(130)


if __name__ == "__main__":
    main()
