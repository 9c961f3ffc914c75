"""deploy/: what cannot be built here is read as those who build it read it, and compared with the program."""

import argparse
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from echobank.cli import serve as command
from tests.requirements import needs
from tests.serve.serving import sound

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PAGE = ROOT / "docs" / "deployment.md"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
# https://github.com/compose-spec/compose-spec/blob/main/05-services.md, those that are used here
SERVICE_KEYS = {
    *("build", "image", "command", "environment", "secrets", "ports", "volumes", "depends_on", "healthcheck"),
    *("read_only", "tmpfs", "cap_drop", "security_opt", "stop_grace_period", "restart"),
}
INSTRUCTIONS = {
    *("FROM", "ENV", "RUN", "WORKDIR", "COPY", "ARG"),
    *("EXPOSE", "VOLUME", "HEALTHCHECK", "ENTRYPOINT", "CMD", "USER"),
}
OTHERS = {  # options of other programs
    *("--file", "--tag", "--target", "--now", "--rm"),
    *("--build", "--detach", "--system", "--home-dir", "--shell"),
}
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+[\w.-]*")


def parsed(words):
    """Return the arguments as `echobank serve` takes them."""
    parser = argparse.ArgumentParser(exit_on_error=True)
    command.add_arguments(parser)
    return parser.parse_args(words)


def test_the_unit_is_taken_by_systemd_and_its_command_by_echobank(tmp_path):
    text = (DEPLOY / "echobank-serve.service").read_text()
    line = re.search(r"ExecStart=(.+)", text)[1]
    program, _, *words = shlex.split(line)
    args = parsed(words)
    assert args.bind == ("127.0.0.1", 8080) and Path(args.data).is_relative_to("/var/lib/echobank")  # StateDirectory
    verify = shutil.which("systemd-analyze") or pytest.skip("no systemd: apt-get install systemd")
    unit = tmp_path / "echobank-serve.service"
    unit.write_text(text.replace(program, "/bin/true"))
    done = subprocess.run([verify, "verify", str(unit)], capture_output=True, text=True)
    assert done.returncode == 0
    assert [line for line in (done.stdout + done.stderr).splitlines() if "echobank-serve" in line] == []
    unit.write_text(text.replace(program, "/bin/true").replace("LimitNOFILE=4096", "LimitNOFILES=4096"))
    done = subprocess.run([verify, "verify", str(unit)], capture_output=True, text=True)
    assert "LimitNOFILES" in done.stdout + done.stderr  # it does look


def instructions():
    """Yield (instruction, rest) of the Dockerfile, continued lines joined."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name, rest.strip()


def test_the_dockerfile_is_one_and_copies_what_is_there():
    found = list(instructions())
    assert {name for name, _ in found} <= INSTRUCTIONS and found[0][0] == "FROM"
    stages, last_user = {}, {}
    for name, rest in found:
        if name == "FROM":
            base, _, stage = re.fullmatch(r"(\S+)( AS (\w+))?", rest).groups()
            assert base in stages or PINNED.fullmatch(base), base
            stages[stage] = base
        elif name == "COPY":
            *sources, _ = rest.split()
            assert all((ROOT / source).exists() for source in sources)
            ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
            assert {f"!{source}" for source in sources} <= set(ignored) and "*" in ignored
        elif name == "USER":
            last_user[stage] = rest
        elif name in ("CMD", "ENTRYPOINT", "VOLUME"):
            assert isinstance(json.loads(rest), list)
    leaves = set(stages) - set(stages.values())
    assert leaves == {"light", "torch"} == set(last_user) and stage == "light"  # the last is what is built by default
    assert all(not user.startswith(("0", "root")) for user in last_user.values())
    (program,) = (json.loads(rest) for name, rest in found if name == "ENTRYPOINT")
    (words,) = (json.loads(rest) for name, rest in found if name == "CMD")
    assert program == ["echobank"] and words[0] == "serve" and parsed(words[1:]).data == "/data"
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (extras,) = (rest.partition("=")[2].split(",") for name, rest in found if rest.startswith("EXTRAS="))
    assert {*extras, "beats"} <= set(known) and not any("torch" in one for extra in extras for one in known[extra])


def filled(text):
    """Return a text of compose.yaml with the values that its variables have where nobody sets them."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def test_the_compose_file_names_what_is_there():
    services, stages = COMPOSE["services"], {"light", "torch"}
    assert set(COMPOSE) <= {"name", "services", "secrets", "volumes"}
    assert set(services) == {"echobank", "postgres", "mosquitto", "prometheus", "grafana"}
    for name, service in services.items():
        assert set(service) <= SERVICE_KEYS, name
        assert "build" in service or PINNED.fullmatch(service["image"]), name
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"]), name
        assert set(service.get("depends_on", {})) <= set(services), name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), (name, port)  # beyond, only through a proxy with TLS
        for volume in service.get("volumes", []):
            source = filled(volume).split(":")[0]
            ours = source.startswith((".", "/"))
            secret = source.startswith("./secrets/")
            assert (
                secret or source == "../banks" or (DEPLOY / source).exists() if ours else source in COMPOSE["volumes"]
            )
    for name in services["echobank"]["depends_on"]:
        healthy = services["echobank"]["depends_on"][name]["condition"] == "service_healthy"
        assert healthy == ("healthcheck" in services[name])
    build = services["echobank"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file() and filled(build["target"]) in stages


def test_the_commands_of_the_compose_file_are_taken_by_echobank():
    service = COMPOSE["services"]["echobank"]
    name, *words = map(filled, service["command"])
    args = parsed(words)
    assert name == "serve" and args.mqtt_discovery and args.database.startswith("postgresql://echobank@postgres/")
    secrets = {f"/run/secrets/{secret}" for secret in service["secrets"]}
    assert {args.mqtt_password_file, args.database_password_file} == secrets
    assert "echobank" in args.host  # as Prometheus calls it
    made = (DEPLOY / "secrets.sh").read_text()
    assert all(Path(secret["file"]).name in made for secret in COMPOSE["secrets"].values())
    assert subprocess.run(["sh", "-n", DEPLOY / "secrets.sh"]).returncode == 0
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "/deploy/secrets/" in ignored


def test_prometheus_asks_the_service_with_its_token():
    configured = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())
    (job,) = configured["scrape_configs"]
    service = COMPOSE["services"]["prometheus"]
    assert job["authorization"]["credentials_file"].removeprefix("/run/secrets/") in service["secrets"]
    mounted = [volume.split(":")[1] for volume in service["volumes"]]
    assert set(configured["rule_files"]) <= set(mounted)
    assert job["static_configs"] == [{"targets": ["echobank:8080"]}] and job["metrics_path"] == "/metrics"


@needs("posix")
def test_every_figure_of_the_dashboard_and_of_the_rules_is_one_of_the_service(service):
    client, _ = service
    client.post("/api/machines/pump/recordings", content=sound())
    told = client.get("/metrics").text
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", told, re.MULTILINE))
    known = set(kinds) | {
        f"{name}_{end}" for name, kind in kinds.items() if kind == "histogram" for end in ("bucket", "count")
    }
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "echobank.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [variable["definition"] for variable in dashboard["templating"]["list"]]
    rules = yaml.safe_load((DEPLOY / "prometheus-rules.yaml").read_text())
    asked += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    for text in asked:
        named = set(re.findall(r"\b(echobank_\w+)", text))
        assert (named and named <= known) or 'up{job="echobank"}' in text, (text, named - known)
        assert text.count("(") == text.count(")") and text.count("{") == text.count("}")
    labels = set(re.findall(r'\{(\w+)="', told))
    assert {"machine"} <= labels
    assert set(re.findall(r"\$labels\.(\w+)", json.dumps(rules))) <= {*labels, "place"}
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/echobank.yaml").read_text())["providers"]
    assert any(
        volume.endswith(f"{provider['options']['path']}:ro") for volume in COMPOSE["services"]["grafana"]["volumes"]
    )


def test_the_page_names_files_and_options_that_are_there():
    text = PAGE.read_text()
    for name in re.findall(r"\bdeploy/[\w./-]*\w", text):
        assert (ROOT / name).exists() or name.startswith("deploy/secrets"), name
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    ours = {option for action in parser._actions for option in action.option_strings}
    assert options - ours <= OTHERS and len(options & ours) > 6
