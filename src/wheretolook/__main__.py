"""The command line as `python -m wheretolook`, and as the script of that name.

What takes its time to import is imported here, where to be stopped is one line from the first moment on.
"""

import sys


def main() -> int:
    """Run the command line; the exit code is that of `cli.main`."""
    try:
        from wheretolook.cli.main import main as command_line
    except KeyboardInterrupt:
        sys.stderr.write("wheretolook: stopped\n")
        return 130
    return command_line()


if __name__ == "__main__":
    sys.exit(main())
