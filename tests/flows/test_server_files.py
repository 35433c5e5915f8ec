"""What is shipped for a server that stays: automations, containers and settings that this Prefect knows."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.settings import Settings
from prefect.settings.legacy import _get_valid_setting_names

REPOSITORY = Path(__file__).parents[2]
COMPOSE = REPOSITORY / "infra" / "docker" / "compose.yaml"


def _automations(name: str) -> list[AutomationCore]:
    written = yaml.safe_load((REPOSITORY / "infra" / "prefect" / name).read_text())
    return [AutomationCore.model_validate(item) for item in written["automations"]]


def test_a_silent_run_is_given_three_heartbeats() -> None:
    (automation,) = _automations("automations.yaml")
    trigger = automation.trigger
    assert isinstance(trigger, EventTrigger)
    assert trigger.posture is Posture.Proactive
    assert trigger.within.total_seconds() >= 3 * (Settings().flows.heartbeat_frequency or 0) > 0
    (action,) = automation.actions
    assert (action.type, action.state) == ("change-flow-run-state", "CRASHED")


def test_people_are_told_of_every_bad_end() -> None:
    (automation,) = _automations("notify.yaml")
    assert isinstance(automation.trigger, EventTrigger)
    assert automation.trigger.expect == {f"prefect.flow-run.{state}" for state in ("Failed", "Crashed", "TimedOut")}
    assert automation.actions[0].type == "send-notification"


@pytest.mark.parametrize(
    "path", ["infra/docker/compose.yaml", "infra/prefect/automations.yaml", "docs/prefect.md", "prefect.yaml"]
)
def test_settings_are_prefects_own(path: str) -> None:
    named = set(re.findall(r"PREFECT_[A-Z_]+", (REPOSITORY / path).read_text()))
    assert named
    assert named <= _get_valid_setting_names(Settings)


def test_containers_listen_here_only_and_have_no_password_of_ours() -> None:
    compose = yaml.safe_load(COMPOSE.read_text())
    services: dict[str, dict[str, Any]] = compose["services"]
    assert [port for service in services.values() for port in service.get("ports", ())] == ["127.0.0.1:4200:4200"]
    example = (COMPOSE.parent / "server.env.example").read_text()
    declared = dict(line.split("=", 1) for line in example.splitlines() if line and not line.startswith("#"))
    assert declared == dict.fromkeys(declared, "")
    assert set(re.findall(r"\$\{(\w+)", COMPOSE.read_text())) == set(declared)
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
    volumes = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())}
    assert volumes == set(compose["volumes"])
    ignored = (REPOSITORY / ".gitignore").read_text().splitlines()
    assert "server.env" in ignored


def _accepted_by_compose(path: Path) -> bool:
    """Whether the file is what the Compose Specification's own schema allows."""
    checker = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run([checker, "--builtin-schema", "vendor.compose-spec", path], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0


def test_the_compose_file_follows_the_compose_specification(tmp_path: Path) -> None:
    assert _accepted_by_compose(COMPOSE)
    for right, wrong in (("stop_grace_period", "stop_grace"), ("condition: service_healthy", "condition: healthy")):
        text = COMPOSE.read_text()
        assert right in text
        (tmp_path / "compose.yaml").write_text(text.replace(right, wrong))
        assert not _accepted_by_compose(tmp_path / "compose.yaml")


@pytest.mark.slow
def test_the_image_has_what_its_containers_run() -> None:
    """Every command of the compose file is one that this Prefect knows, with its options; every copied path exists."""
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    commands = [service["command"] for service in services.values() if "command" in service]
    words = [word for command in commands for word in ([command] if command[0] != "sh" else _of_shell(command[-1]))]
    assert [line[:3] for line in words] == [
        ["prefect", "server", "start"],
        ["prefect", "work-pool", "create"],
        ["prefect", "--no-prompt", "deploy"],
        ["prefect", "worker", "start"],
    ]
    for line in words:
        path = [word for word in line[1:4] if not word.startswith("-")][:2]
        program = Path(sys.executable).with_name("prefect")
        said = subprocess.run([program, *path, "--help"], capture_output=True, text=True).stdout
        for option in (word for word in line if word.startswith("--") and word != "--no-prompt"):
            assert option in said, line
    dockerfile = (COMPOSE.parent / "Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (.*) \S+$", dockerfile, re.M) for word in line.split()]
    assert {"flows", "prefect.yaml", "constraints.txt"} <= set(copied)
    assert [path for path in copied if not (REPOSITORY / path).exists()] == []
    (store,) = (volume.partition(":")[2] for volume in services["worker"]["volumes"])
    assert f"ENV DIFFSENSEI_STORE={store}" in dockerfile


def _of_shell(text: str) -> list[list[str]]:
    return [part.split() for part in text.split("&&")]


def test_containers_run_what_is_deployed() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    pools = {
        item["work_pool"]["name"] for item in yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    }
    command = services["worker"]["command"]
    assert pools == {command[command.index("--pool") + 1]}
    assert services["worker"]["environment"]["PREFECT_API_URL"] == "http://server:4200/api"
