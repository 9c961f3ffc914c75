"""What a release is made with: checks that a tag fits the tree, builds twice and compares, lists what is installed.

    python release/release.py check v0.2.0                 tag, changelog and tree fit together
    python release/release.py build v0.2.0 --out dist      wheel and sdist of the committed tree, the same bytes twice
    python release/release.py build --out dist             the same with the version of the tree, to try it
    python release/release.py bill V/bin/python --out dist sbom.json and licences.csv of everything installed there

The version is the tag's: `build` writes it into the copy of the tree that it builds from.
"""

import argparse
import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSION = Path("src/echobank/version.py")
LARGEST = 8_000_000  # bytes of the wheel
TAG = re.compile(r"v(\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?)")


def main() -> int:
    """Do what is asked; 0 where it fits, 1 where not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="whether a tag fits the tree")
    check.add_argument("tag")
    build = commands.add_parser("build", help="wheel and sdist, twice")
    build.add_argument("tag", nargs="?", default="")
    bill = commands.add_parser("bill", help="software bill of materials and licences of an environment")
    bill.add_argument("python", type=Path)
    for command in (build, bill):
        command.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.command == "bill":
        return write_bill(args.python, args.out)
    wrong = unfit(args.tag) if args.tag else []
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong or args.command == "check":
        return 1 if wrong else 0
    return build_twice(args.tag, args.out)


def unfit(tag: str) -> list[str]:
    """Return what does not fit a tag, a sentence each."""
    match = TAG.fullmatch(tag)
    if not match:
        return [f"{tag}: a tag is vX.Y.Z"]
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    wrong = []
    if not re.search(rf"^## \[?{re.escape(match[1])}\]? - \d{{4}}-\d\d-\d\d$", changes, re.MULTILINE):
        wrong.append(f"CHANGELOG.md has no section `## {match[1]} - DATE`")
    if not re.search(r"^## Unreleased$", changes, re.MULTILINE):
        wrong.append("CHANGELOG.md has no section `## Unreleased` for what comes next")
    if _git("status", "--porcelain"):
        wrong.append("the tree has changes that are not committed")
    return wrong


def build_twice(tag: str, out: Path) -> int:
    """Build wheel and sdist in two copies of the committed tree, and keep them if they are equal and small enough."""
    epoch = _git("log", "-1", "--format=%ct").strip()
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        built = [_build(Path(folder), tag, epoch) for folder in (first, second)]
        if built[0] != built[1]:
            unlike = [name for name in built[0] if built[0][name] != built[1].get(name)]
            print(f"two builds differ: {', '.join(unlike)}", file=sys.stderr)
            return 1
        out.mkdir(parents=True, exist_ok=True)
        for name, data in built[0].items():
            (out / name).write_bytes(data)
            print(f"{hashlib.sha256(data).hexdigest()}  {name}  {len(data)} bytes")
            if name.endswith(".whl") and len(data) > LARGEST:
                print(f"the wheel is larger than {LARGEST} bytes", file=sys.stderr)
                return 1
    return 0


def _build(folder: Path, tag: str, epoch: str) -> dict[str, bytes]:
    """Return the files that a build makes of a copy of the committed tree, without anything of this moment in them."""
    tree, made = folder / "tree", folder / "made"
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opened.extractall(tree, filter="data")
    if tag:
        text = (tree / VERSION).read_text("utf-8")
        (tree / VERSION).write_text(re.sub(r'(__version__ = )"[^"]*"', rf'\1"{tag[1:]}"', text), "utf-8")
    environment = os.environ | {"SOURCE_DATE_EPOCH": epoch, "PYTHONHASHSEED": "0"}
    words = [sys.executable, "-m", "build", "--outdir", str(made), str(tree)]
    subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL)
    return {
        path.name: path.read_bytes() if path.suffix == ".whl" else timeless(path, int(epoch))
        for path in sorted(made.iterdir())
    }


def timeless(sdist: Path, epoch: int) -> bytes:
    """Return a .tar.gz whose members are sorted and have one time and no owner, unlike those of setuptools."""
    packed = io.BytesIO()
    with tarfile.open(sdist) as source, tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as target:
        for member in sorted(source.getmembers(), key=lambda member: member.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
            member.pax_headers = {}
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            target.addfile(member, source.extractfile(member) if member.isfile() else None)
    return gzip.compress(packed.getvalue(), mtime=epoch)


def write_bill(python: Path, out: Path) -> int:
    """Write what is installed in an environment: a bill in the format of CycloneDX, and the licences as CSV."""
    out.mkdir(parents=True, exist_ok=True)
    bill = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "-o", str(out / "sbom.json")]
    subprocess.run([*bill, str(python)], check=True)
    names = ["--python", str(python), "--format", "csv", "--with-urls", "--output-file", str(out / "licences.csv")]
    subprocess.run([sys.executable, "-m", "piplicenses", *names], check=True, stdout=subprocess.DEVNULL)
    return 0


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
