"""The rules of deploy/prometheus: checked, tested and evaluated by Prometheus itself, and each alert has its page."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
import yaml

from proxy.observe.families import FAMILIES, PREFIX, Type
from tests.deploy.running import DEPLOY, ROOT, Prometheus, program, run

RULES: Final = DEPLOY / "prometheus"
SUFFIXES: Final = {Type.HISTOGRAM: ("_bucket", "_sum", "_count")}
SERIES: Final = {PREFIX + family.name + suffix for family in FAMILIES for suffix in SUFFIXES.get(family.type, ("",))}
AUDIT: Final = {"scim_witness_audit_first_failure_timestamp_seconds"}
"""Written by `scim-witness audit --metrics-file`."""


def rules(name: str) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load((RULES / name).read_text())["groups"] for rule in group["rules"]]


ALERTS: Final = {rule["alert"]: rule for rule in rules("alerts.yml")}
RECORDED: Final = {rule["record"] for rule in rules("recording.yml")}


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    }


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_a_severity_its_words_and_a_page_that_names_it(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert {"summary", "description", "runbook_url"} == set(rule["annotations"])
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert anchor in anchors(page)
    text = (ROOT / page).read_text()
    assert alert in text.splitlines()[0]
    assert {"what-it-means", "how-to-look", "what-to-do"} <= anchors(page)
    assert f"]({page.rpartition('/')[2]})" in (ROOT / "docs/runbooks/README.md").read_text()


def test_rules_ask_only_for_metrics_that_there_are() -> None:
    expressions = "\n".join(rule["expr"] for name in ("recording.yml", "alerts.yml") for rule in rules(name))
    asked = set(re.findall(r"\bscim_witness_\w+", expressions))
    assert set() == asked - SERIES - AUDIT
    assert set() == set(re.findall(r"\bscim_witness:[\w:]+", expressions)) - RECORDED


def test_each_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    cases = {case["name"] for case in yaml.safe_load((RULES / "tests.yml").read_text())["tests"]}
    assert [] == [alert for alert in ALERTS if not {f"{alert} fires", f"{alert} is quiet"} <= cases]


@pytest.mark.prometheus
@pytest.mark.timeout(300)
def test_promtool_checks_and_tests_the_rules() -> None:
    promtool = program("promtool")
    for arguments in (
        ("check", "rules", "recording.yml", "alerts.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("test", "rules", "tests.yml"),
    ):
        done = run(promtool, *arguments, cwd=RULES)
        assert 0 == done.returncode, done.stdout


@pytest.mark.prometheus
@pytest.mark.timeout(240)
def test_a_real_prometheus_evaluates_every_rule_and_no_alert_fires_for_the_healthy_demo(scraping: Prometheus) -> None:
    found = [rule for group in scraping.api("rules")["groups"] for rule in group["rules"]]
    assert len(ALERTS) + len(rules("recording.yml")) == len(found)
    assert [] == [(rule["name"], rule["lastError"]) for rule in found if rule["health"] != "ok"]
    assert set() == {alert["labels"]["alertname"] for alert in scraping.api("alerts")["alerts"] if alert["state"] == "firing"}


@pytest.mark.prometheus
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "record", sorted(RECORDED - {"scim_witness:disagreements:increase1h"})
)  # no backend of the demo disagrees
def test_each_recording_has_data_from_the_running_demo(record: str, scraping: Prometheus) -> None:
    assert [] != scraping.query(record)
