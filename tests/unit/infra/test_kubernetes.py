"""Every manifest against the schemas of Kubernetes itself; the job template through Prefect's own worker."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID

import kubernetes_validate
import pytest
import yaml

from configs.environment import SERVER_SWITCHES

KUBERNETES = Path(__file__).resolve().parents[3] / "infra" / "kubernetes"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
TEMPLATE: dict[str, Any] = json.loads((KUBERNETES / "base-job-template.json").read_text())


def manifests() -> list[dict[str, Any]]:
    files = [KUBERNETES / name for name in KUSTOMIZATION["resources"]]
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def name_of(manifest: dict[str, Any]) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def validate(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def pods() -> list[dict[str, Any]]:
    """The pod specifications of all workloads, and of a flow run's job."""
    workloads = [each for each in manifests() if each["kind"] in ("Deployment", "Job")]
    template = TEMPLATE["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    return [*(each["spec"]["template"]["spec"] for each in workloads), template]


@pytest.mark.parametrize("manifest", manifests(), ids=name_of)
def test_every_manifest_is_what_kubernetes_takes(manifest: dict[str, Any]) -> None:
    validate(manifest)


def test_the_validator_refuses_what_kubernetes_does_not_take() -> None:
    broken = {**manifests()[0], "kind": "Deployment", "apiVersion": "apps/v1", "spec": {"replicas": "many"}}

    with pytest.raises(kubernetes_validate.ValidationError):
        validate(broken)


def test_every_file_is_part_of_the_kustomization() -> None:
    generated = [file for each in KUSTOMIZATION["configMapGenerator"] for file in each.get("files", [])]
    named = {*KUSTOMIZATION["resources"], *generated, "kustomization.yaml"}

    assert named == {path.name for path in KUBERNETES.iterdir() if not path.name.endswith((".env", ".env.example"))}


def test_what_pods_refer_to_is_there() -> None:
    keys = {
        each["name"]: {
            line.partition("=")[0]
            for file in each.get("envs", [])
            for line in (KUBERNETES / f"{file}.example").read_text().splitlines()
            if line and not line.startswith("#")
        }
        for each in [*KUSTOMIZATION["secretGenerator"], *KUSTOMIZATION["configMapGenerator"]]
    }
    claims = {each["metadata"]["name"] for each in manifests() if each["kind"] == "PersistentVolumeClaim"}

    for pod in pods():
        for container in pod["containers"]:
            for source in container.get("envFrom", []):
                assert next(iter(source.values()))["name"] in keys
            for variable in container["env"] if isinstance(container.get("env"), list) else []:
                for reference in variable.get("valueFrom", {}).values():
                    assert reference["key"] in keys[reference["name"]], variable["name"]
            volumes = {volume["name"] for volume in pod["volumes"]}
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        for volume in pod["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
            if "configMap" in volume:
                assert volume["configMap"]["name"] in keys


def test_the_examples_hold_no_secret() -> None:
    for file in ("secrets.env.example", "flow-secrets.env.example"):
        lines = [line for line in (KUBERNETES / file).read_text().splitlines() if not line.startswith("#")]
        assert lines
        assert all(line.endswith("=") for line in lines)


def test_no_pod_runs_as_root_or_may_write_its_image() -> None:
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["enableServiceLinks"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_the_servers_are_hardened_and_ask_for_passwords() -> None:
    said: dict[str, str] = {}
    for pod in pods():
        for container in pod["containers"]:
            variables = container["env"] if isinstance(container.get("env"), list) else []
            said |= {variable["name"]: variable.get("value", "from a secret") for variable in variables}
    arguments = [argument for pod in pods() for each in pod["containers"] for argument in each["args"]]

    assert said.items() >= SERVER_SWITCHES.items()
    assert said["PREFECT_SERVER_API_AUTH_STRING"] == "from a secret"
    assert "--app-name=basic-auth" in arguments


def test_a_flow_run_gets_its_gpu_memory_node_and_restarts_and_no_secret_in_its_manifest() -> None:
    manifest = job_manifest(
        {"gpus": "1", "memory": "32Gi", "node_selector": {"gpu": "l40s"}, "backoff_limit": 3},
    )

    validate({**manifest, "metadata": {**manifest["metadata"], "name": "run"}})
    pod = manifest["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["resources"]["limits"] == {"memory": "32Gi", "nvidia.com/gpu": "1"}
    assert pod["nodeSelector"] == {"gpu": "l40s"}
    assert manifest["spec"]["backoffLimit"] == 3
    assert "planted-auth-string" not in json.dumps(manifest)


def test_the_template_s_own_defaults_make_a_job() -> None:
    manifest = job_manifest({})

    validate({**manifest, "metadata": {**manifest["metadata"], "name": "run"}})
    assert manifest["spec"]["backoffLimit"] == 2


def test_a_deployment_can_name_no_command_image_environment_or_account() -> None:
    evil = {
        "command": "sh -c evil", "args": ["evil"], "image": "evil", "image_pull_policy": "Always", "name": "evil",
        "env": {"PREFECT_API_URL": "http://evil", "PYTHONPATH": "evil"}, "env.LD_PRELOAD": "evil",
        "labels": {"evil": "evil"}, "annotations": {"evil": "evil"}, "service_account_name": "evil",
        "namespace": "evil", "job_manifest": {"evil": "evil"}, "cluster_config": {"evil": "evil"},
    }  # fmt: skip

    manifest = job_manifest(evil)

    assert manifest == job_manifest({})
    [container] = manifest["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["python", "-m", "tasks.servers.confined_run"]
    assert set(TEMPLATE["variables"]["properties"]) == {
        "gpus", "cpu", "memory", "node_selector", "backoff_limit", "finished_job_ttl",
        "job_watch_timeout_seconds", "pod_watch_timeout_seconds", "stream_output",
    }  # fmt: skip
    assert TEMPLATE["variables"]["additionalProperties"] is False


def test_the_worker_takes_the_shape_of_jobs_from_its_file_and_not_from_the_server() -> None:
    from prefect.client.schemas.objects import WorkPool

    from tasks.servers.kubernetes_worker import ConfinedKubernetesWorker

    worker = ConfinedKubernetesWorker(TEMPLATE, work_pool_name="burnish")
    evil = json.loads(json.dumps(TEMPLATE).replace("tasks.servers.confined_run", "evil"))

    worker._record_work_pool_snapshot(WorkPool(name="burnish", type=worker.type, base_job_template=evil))

    assert worker.work_pool.base_job_template == TEMPLATE


def test_the_worker_and_provisioning_read_the_template_that_is_mounted() -> None:
    for name in ("Deployment/worker", "Job/provision"):
        [manifest] = [each for each in manifests() if name_of(each) == name]
        pod = manifest["spec"]["template"]["spec"]
        [container] = pod["containers"]
        assert container["args"][0] == "burnish"
        assert "--job-template=/etc/burnish/base-job-template.json" in container["args"]
        assert {"name": "template", "mountPath": "/etc/burnish", "readOnly": True} in container["volumeMounts"]
        assert {"name": "template", "configMap": {"name": "burnish-job-template"}} in pod["volumes"]


def job_manifest(values: dict[str, Any]) -> dict[str, Any]:
    """What Prefect's Kubernetes worker would hand to the cluster."""
    import asyncio

    from prefect.client.schemas.objects import Flow, FlowRun
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    from tasks.servers.kubernetes_worker import ConfinedKubernetesWorker

    [deployment] = [each for each in manifests() if name_of(each) == "Deployment/worker"]
    variables = {
        each["name"]: each.get("value") for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    secret = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET"
    given = {PREFECT_API_URL: "http://prefect:4200/api", PREFECT_API_AUTH_STRING: "planted-auth-string"}
    with temporary_settings(given):
        configuration = asyncio.run(
            KubernetesWorkerJobConfiguration.from_template_and_values(base_job_template=TEMPLATE, values=values)
        )
        run = FlowRun(id=UUID(int=1), flow_id=UUID(int=2), name="icd10 1a2b")
        configuration.prepare_for_flow_run(run, flow=Flow(id=UUID(int=2), name="finetune"))
        hidden = ConfinedKubernetesWorker(TEMPLATE, work_pool_name="burnish")._replace_env_variable_with_secret(
            "PREFECT_API_AUTH_STRING", configuration, variables[f"{secret}_NAME"], variables[f"{secret}_KEY"]
        )
        asyncio.run(hidden)
    manifest: dict[str, Any] = configuration.job_manifest
    # Prefect insists on two fields where Kubernetes has none; Kubernetes drops them, its strict schema doesn't
    for misplaced in ("parallelism", "completions"):
        del manifest["spec"]["template"]["spec"][misplaced]
    return manifest


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl; each manifest is validated without it")
def test_the_kustomization_builds(tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    for example in (tmp_path / "kubernetes").glob("*.env.example"):
        shutil.copyfile(example, example.with_suffix(""))

    built = subprocess.run(
        ["kubectl", "kustomize", str(tmp_path / "kubernetes")], capture_output=True, text=True, check=True
    )

    documents = list(yaml.safe_load_all(built.stdout))
    for document in documents:
        validate(document)
    kinds = [document["kind"] for document in documents]
    assert kinds.count("Deployment") == 3
    assert kinds.count("Secret") == 2
    assert {document["metadata"].get("namespace", "burnish") for document in documents} == {"burnish"}
