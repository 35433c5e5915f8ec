"""What users apply to a cluster: read by the official client's models, by the shell, and against the configuration."""

import subprocess
from pathlib import Path

import pytest
import yaml

from diffsensei.config import load_preset

pytest.importorskip("kubernetes", reason="no Kubernetes client; pip install -c constraints.txt kubernetes")
from tests.infra.kubernetes_api import unknown_fields

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "infra" / "kubernetes").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_manifests_have_no_field_that_the_api_does_not_know(path: Path) -> None:
    objects = list(yaml.safe_load_all(path.read_text()))
    assert objects
    for value in objects:
        assert value["apiVersion"] in ("v1", "batch/v1", "rbac.authorization.k8s.io/v1")
        assert unknown_fields(value, f"V1{value['kind']}") == []
    assert unknown_fields(objects[0] | {"specs": {}}, f"V1{objects[0]['kind']}") == ["specs"]


def test_the_controllers_settings_are_valid_and_name_the_same_things() -> None:
    (controller,) = yaml.safe_load_all((ROOT / "infra/kubernetes/controller.yaml").read_text())
    pod = controller["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    sets = [word.removeprefix("--set=") for word in container["command"] if word.startswith("--set=")]
    jobs = load_preset("paper", sets).jobs
    assert jobs.backend == "kubernetes"
    assert jobs.kubernetes.image == container["image"]
    assert jobs.kubernetes.store_mount == container["volumeMounts"][0]["mountPath"]
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]]
    (store,) = yaml.safe_load_all((ROOT / "infra/kubernetes/store.yaml").read_text())
    assert [jobs.kubernetes.store_claim] == claims == [store["metadata"]["name"]]


@pytest.mark.parametrize("name", ["environment.sh", "controller.sbatch"])
def test_scripts_are_shell(name: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / "infra" / "slurm" / name)], check=True)


def test_the_example_of_an_environment_has_valid_settings() -> None:
    text = (ROOT / "infra" / "slurm" / "environment.sh").read_text()
    array = text[text.index("JOBS=(") :].replace("    # --set", "    --set")
    said = subprocess.run(
        ["bash", "-c", f'{array}\nprintf "%s\\n" "${{JOBS[@]}}"'], capture_output=True, text=True, check=True
    ).stdout
    jobs = load_preset("paper", [line for line in said.splitlines() if line != "--set"]).jobs
    assert (jobs.backend, jobs.here, jobs.slurm.gpu_request) == ("slurm", ("download",), "--gres=gpu:a100:{gpus}")
