"""This program's kernels beside those of other programs: one command, one table.

    python3 benches/peers/compare.py

installs the others below target/peers-venv (some gigabytes, at the first start), draws seeded inputs, runs both sides in
turns with the same number of threads, compares their answers, and prints a Markdown table. Rows of real images need
DMAD_DATA and say so where it is missing. Needs python3, cargo and a package index that pip reaches.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
VENV = TARGET / "peers-venv"
FAMILIES = ["metrics", "coreset", "neighbours", "backbones", "steps", "images", "embedding", "study", "growth"]


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME,...", help="rows, or the beginnings of their names")
    parser.add_argument("--list", action="store_true", help="list the rows")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="threads of each side [2]")
    parser.add_argument("--pairs", type=int, default=5, metavar="N", help="measurements of each side, in turns [5]")
    parser.add_argument("--seconds", type=float, default=240, metavar="S",
                        help="fewer pairs where a row would take longer than this [240]")
    parser.add_argument("--quick", action="store_true", help="small inputs: a test of this script, no measurement")
    parser.add_argument("--all", action="store_true", help="whole studies on all classes")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there, too")
    parser.add_argument("--draw", action="store_true", help="only make the inputs, so that measuring can begin at once")
    parser.add_argument("--saved", action="store_true", help="measure nothing: the table of what was measured last")
    parser.add_argument("--config", metavar="TOML", action="append", default=[], help="passed on to cargo")
    return parser.parse_args()


def installed():
    """The environment's python, made first where it is not there or holds other versions."""
    python, wanted = VENV / "bin" / "python", (HERE / "requirements.txt").read_text()
    stamp = VENV / "requirements.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"installing the other programs into {VENV}", file=sys.stderr)
    if not python.exists():
        made = subprocess.run([sys.executable, "-m", "venv", VENV], capture_output=True, text=True)
        if made.returncode != 0:
            # Some distributions leave out what `venv` needs to install pip; virtualenv brings its own.
            tool = TARGET / "peers-virtualenv"
            subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", tool, "virtualenv"], check=True)
            subprocess.run([sys.executable, "-m", "virtualenv", "--clear", VENV], check=True,
                           env=os.environ | {"PYTHONPATH": str(tool)})
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-input", "-r", HERE / "requirements.txt"], check=True)
    stamp.write_text(wanted)
    return python


def main():
    args = options()
    # Up to here the standard library alone; the rest runs inside the environment.
    python = installed()
    if Path(sys.prefix).resolve() != VENV.resolve():
        os.execv(python, [str(python), __file__, *sys.argv[1:]])
    import importlib

    import pairs
    import table

    where = pairs.Context(args, ROOT, TARGET)
    rows = [row for family in FAMILIES for row in importlib.import_module(family).rows(where)]
    # Growth is a table of its own, and minutes long: it is asked for by name.
    everything = [""] if args.list or args.saved else FAMILIES[:-1]
    names = args.only.split(",") if args.only else everything
    unknown = [name for name in names if not any(row.name.startswith(name) for row in rows)]
    if unknown:
        sys.exit(f"no row is called {', '.join(unknown)}; --list has the names")
    chosen = [row for row in rows if any(row.name.startswith(name) for name in names)]
    if args.list:
        for row in chosen:
            print(f"{row.name:24} {row.work}" + (f"  (left out: {row.missing})" if row.missing else ""))
        return
    if not args.saved:
        where.build()
        for row in chosen:
            row.measure(where)
        where.close()
        if args.draw:
            return
    text = table.render(where, chosen)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
