"""The program `dmad`, as it came with this package."""

import os
import sysconfig


def program() -> str:
    """Path of the program. Raises FileNotFoundError where the package was not installed whole."""
    name = "dmad.exe" if os.name == "nt" else "dmad"
    schemes = [sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user")]
    folders = [sysconfig.get_path("scripts", scheme) for scheme in schemes]
    # `pip install --target DIR` leaves scripts beside the packages.
    folders.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bin"))
    for folder in folders:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
    raise FileNotFoundError(f"{name} is in none of {', '.join(folders)}: install the package again")
