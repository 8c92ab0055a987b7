"""The Helm chart: linted, rendered, each object held against Kubernetes' own schema, and the proxy reads what it renders."""

from __future__ import annotations

import pathlib
from typing import Any, Final

import pytest
import yaml

from proxy.settings import load
from tests.deploy.running import DEPLOY, program, run

CHART: Final = DEPLOY / "helm" / "scim-witness"
LEAST, EVERYTHING = (CHART / "ci" / f"{name}-values.yaml" for name in ("least", "everything"))
OPERATOR: Final = {"ServiceMonitor", "PrometheusRule"}
"""Kinds of the Prometheus operator: kubernetes-validate has no schema for them."""


def render(*arguments: str | pathlib.Path) -> dict[str, Any]:
    done = run(program("helm"), "template", "release", CHART, *arguments)
    assert 0 == done.returncode, done.stdout
    objects = [found for found in yaml.safe_load_all(done.stdout) if found]
    return {f"{found['kind']}/{found['metadata']['name']}": found for found in objects}


def pod(objects: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = objects["StatefulSet/release-scim-witness"]["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("name", ["recording.yml", "alerts.yml"])
def test_the_charts_rules_are_those_of_prometheus(name: str) -> None:
    assert (DEPLOY / "prometheus" / name).read_text() == (CHART / "files" / name).read_text()


@pytest.mark.deploy
@pytest.mark.parametrize("values", [LEAST, EVERYTHING], ids=lambda path: path.stem)
def test_helm_lints_and_kubernetes_takes_every_object(values: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done = run(program("helm"), "lint", "--strict", CHART, "-f", values)
    assert 0 == done.returncode, done.stdout
    objects = [found for found in render("-f", values).values() if found["kind"] not in OPERATOR]
    (tmp_path / "objects.yaml").write_text(yaml.safe_dump_all(objects))
    done = run(program("kubernetes-validate"), "--strict", "-k", "1.37", tmp_path / "objects.yaml")
    assert 0 == done.returncode, done.stdout
    assert len(objects) == done.stdout.count(" passed ")


@pytest.mark.deploy
def test_the_validator_would_see_a_field_that_does_not_exist(tmp_path: pathlib.Path) -> None:
    objects = render("-f", LEAST)
    pod(objects)["containers"][0]["imagePullPolice"] = "Always"
    (tmp_path / "objects.yaml").write_text(yaml.safe_dump_all(objects.values()))
    assert 0 != run(program("kubernetes-validate"), "--strict", "-k", "1.37", tmp_path / "objects.yaml").returncode


@pytest.mark.deploy
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-f", LEAST, "--set", "existingSecret="),
        ("-f", LEAST, "--set", "replicas=0"),
        ("-f", LEAST, "--set", "replica=2"),
        ("-f", LEAST, "--set", "ingress.enabled=true"),
        ("-f", LEAST, "--set", "secretKeys.dsn=x"),
        ("-f", LEAST, "--set", "opsTls.clientCA=ca.crt"),
    ],
    ids=lambda arguments: " ".join(str(part) for part in arguments[2:]) or "nothing given",
)
def test_the_schema_refuses(arguments: tuple[str | pathlib.Path, ...]) -> None:
    done = run(program("helm"), "template", "release", CHART, *arguments)
    assert 0 != done.returncode
    assert "schema" in done.stdout


@pytest.mark.deploy
@pytest.mark.parametrize("values", [LEAST, EVERYTHING], ids=lambda path: path.stem)
def test_the_proxy_takes_the_rendered_settings(values: pathlib.Path, tmp_path: pathlib.Path) -> None:
    objects = render("-f", values)
    (tmp_path / "proxy.toml").write_text(objects["ConfigMap/release-scim-witness"]["data"]["proxy.toml"])
    secrets = {
        "ops-token": "an-ops-token-of-the-test",
        "fingerprint-key": "a-fingerprint-key-of-the-test",
        "dsn": "postgresql://scim_witness:x@db/app",
        "store-url": "redis://redis:6379/0",
    }
    for name, value in secrets.items():
        (tmp_path / name).write_text(value)
    environment = {
        entry["name"]: entry.get("value", "pod-0").replace("/run/secrets/scim-witness", str(tmp_path))
        for entry in pod(objects)["containers"][0]["env"]
    }
    settings = load(tmp_path / "proxy.toml", environment)
    assert ("0.0.0.0", 8080, "0.0.0.0", 9090) == (
        settings.listen.host,
        settings.listen.port,
        settings.ops.host,
        settings.ops.port,
    )
    assert "pod-0" == settings.instance
    grace = pod(objects)["terminationGracePeriodSeconds"]
    assert grace > settings.listen.drain_seconds + 5


@pytest.mark.deploy
def test_the_pod_is_closed_and_what_it_writes_survives_it() -> None:
    spec = pod(render("-f", LEAST))
    security = spec["containers"][0]["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert not spec["automountServiceAccountToken"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert ["ALL"] == security["capabilities"]["drop"]
    assert {"/var/lib/scim-witness", "/tmp"} == {
        mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"] if not mount.get("readOnly")
    }


@pytest.mark.deploy
def test_everything_switched_on_is_there_and_the_runbooks_are_links() -> None:
    objects = render("-f", EVERYTHING)
    kinds = {name.partition("/")[0] for name in objects}
    assert {"HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "Ingress", *OPERATOR} <= kinds
    assert "replicas" not in objects["StatefulSet/release-scim-witness"]["spec"]
    groups = objects["PrometheusRule/release-scim-witness"]["spec"]["groups"]
    links = {rule["annotations"]["runbook_url"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert all(link.startswith("https://git.example.com/scim-witness/docs/runbooks/") for link in links)


@pytest.mark.deploy
@pytest.mark.parametrize(
    "scheme, scraped, settings, arguments",
    [
        ("HTTP", {"authorization"}, {"TOKEN_FILE"}, ()),
        ("HTTPS", {"scheme", "authorization"}, {"TOKEN_FILE", "TLS__CERT_FILE", "TLS__KEY_FILE"}, ("--set", "opsTls.secret=s")),
        (
            "HTTPS",
            {"scheme"},
            {"TLS__CERT_FILE", "TLS__KEY_FILE", "TLS__CLIENT_CA_FILE", "TLS__OPEN_PROBES"},
            ("--set", "opsTls.secret=s,opsTls.clientCA=ca.crt"),
        ),
    ],
    ids=["token", "token and tls", "certificates"],
)
def test_credential_of_the_ops_listener(scheme: str, scraped: set[str], settings: set[str], arguments: tuple[str, ...]) -> None:
    objects = render("-f", LEAST, "--set", "serviceMonitor.enabled=true", *arguments)
    (proxy,) = pod(objects)["containers"]
    probes = [proxy[f"{name}Probe"]["httpGet"]["scheme"] for name in ("liveness", "readiness", "startup")]
    assert [scheme] * 3 == probes
    named = {entry["name"].partition("_OPS__")[2] for entry in proxy["env"]}
    assert settings == named - {"", "HOST", "PORT"}
    (endpoint,) = objects["ServiceMonitor/release-scim-witness"]["spec"]["endpoints"]
    assert scraped == set(endpoint) - {"port", "path", "interval"}


@pytest.mark.deploy
def test_metrics_are_closed_unless_somebody_is_named() -> None:
    ports = [rule["ports"] for rule in render("-f", LEAST)["NetworkPolicy/release-scim-witness"]["spec"]["ingress"]]
    assert [[{"port": 8080, "protocol": "TCP"}]] == ports


@pytest.mark.deploy
def test_a_source_without_a_dsn_is_told_of_none() -> None:
    objects = render("-f", LEAST, "--set", "secretKeys.source\\.dsn_file=null")
    names = {entry["name"] for entry in pod(objects)["containers"][0]["env"]}
    assert {"SCIM_WITNESS_STORE__URL_FILE"} == names & {"SCIM_WITNESS_STORE__URL_FILE", "SCIM_WITNESS_SOURCE__DSN_FILE"}


@pytest.mark.deploy
@pytest.mark.parametrize("ports", ["null", "[]"])
def test_no_port_of_egress_does_not_open_them_all(ports: str, tmp_path: pathlib.Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(f"networkPolicy: {{egressPorts: {ports}}}\n")
    (policy,) = [found for name, found in render("-f", LEAST, "-f", values).items() if name.startswith("NetworkPolicy/")]
    assert [[53, 53]] == [[port["port"] for port in rule["ports"]] for rule in policy["spec"]["egress"]]
