"""`python -m wheretolook`: the command line of this very Python, where no script of it is on the path."""

import sys

from wheretolook.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
