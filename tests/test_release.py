"""What a release is made with: a tag that fits, an archive without the moment in it, dependencies that agree."""

import hashlib
import io
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml

import echobank

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "release"))
import release

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CONDA = {"soundfile": "pysoundfile", "soxr": "python-soxr"}


@pytest.mark.parametrize("tag", ["0.2.0", "v0.2", "vnext", "v1.2.3.4"])
def test_a_tag_of_another_form_is_refused(tag):
    assert release.unfit(tag) == [f"{tag}: a tag is vX.Y.Z"]


def test_a_tag_needs_a_section_of_the_changelog(tmp_path, monkeypatch):
    monkeypatch.setattr(release, "ROOT", tmp_path)
    monkeypatch.setattr(release, "_git", lambda *_: "")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n## 1.2.0 - 2026-11-26\n")
    assert release.unfit("v1.2.0") == []
    assert release.unfit("v1.3.0") == ["CHANGELOG.md has no section `## 1.3.0 - DATE`"]
    monkeypatch.setattr(release, "_git", lambda *_: " M README.md\n")
    assert release.unfit("v1.2.0") == ["the tree has changes that are not committed"]


def test_an_sdist_is_the_same_bytes_whenever_and_by_whomever_it_is_made(tmp_path):
    def archive(name, when, order, owner):
        with tarfile.open(tmp_path / name, "w:gz") as target:
            for member in order:
                info = tarfile.TarInfo(f"echobank/{member}")
                info.size, info.mtime, info.uname, info.uid = 4, when, owner, 1000
                target.addfile(info, io.BytesIO(b"text"))
        return release.timeless(tmp_path / name, 1_700_000_000)

    first = archive("a.tar.gz", 1, ["a", "b"], "ann")
    second = archive("b.tar.gz", 2.5, ["b", "a"], "bob")
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()
    with tarfile.open(fileobj=io.BytesIO(first)) as opened:
        assert opened.getnames() == ["echobank/a", "echobank/b"]
        assert {member.mtime for member in opened} == {1_700_000_000}


def test_the_conda_recipe_asks_for_what_the_package_asks_for():
    recipe = yaml.safe_load((ROOT / "release" / "conda" / "recipe.yaml").read_text("utf-8"))
    ours = {
        re.sub(r"^[\w-]+", lambda m: CONDA.get(m[0].lower(), m[0].lower()), line) for line in PROJECT["dependencies"]
    }
    theirs = {line.replace(" ", "") for line in recipe["requirements"]["run"]} - {f"python{PROJECT['requires-python']}"}
    assert theirs == ours
    assert recipe["about"]["license"] == PROJECT["license"]


def test_every_extra_is_installed_for_development_or_says_why_not():
    extras = PROJECT["optional-dependencies"]
    brought = set(
        re.findall(r"\w+", " ".join(re.findall(r"echobank\[([^\]]*)\]", str([extras["dev"], extras["test"]]))))
    )
    assert set(extras) - brought == {"dev"}


def test_the_commands_of_the_checklist_exist():
    page = (ROOT / "docs" / "release.md").read_text("utf-8")
    assert re.findall(r"release/release\.py (\w+)", page) == ["check", "build"]
    for words in (["--help"], ["check", "--help"], ["build", "--help"], ["bill", "--help"]):
        subprocess.run([sys.executable, str(ROOT / "release/release.py"), *words], check=True, capture_output=True)


def test_version_citation_recipe_and_changelog_agree():
    version = echobank.__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f'version: "{version}"' in (ROOT / "release" / "conda" / "recipe.yaml").read_text("utf-8")
    assert re.search(rf"^## {re.escape(version)} - ", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
