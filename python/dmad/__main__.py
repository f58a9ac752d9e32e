"""`python -m dmad` is `dmad`."""

import os
import subprocess
import sys

from dmad import program

if __name__ == "__main__":
    command = [program(), *sys.argv[1:]]
    if os.name == "nt":
        sys.exit(subprocess.call(command))
    os.execv(command[0], command)
