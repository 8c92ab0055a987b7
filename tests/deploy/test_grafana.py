"""The dashboards: written by their generator, whole in themselves, and every expression has data from the running demo.

Grafana itself is not run here.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any, Final

import promql_parser
import pytest
import yaml

from tests.deploy.running import DEPLOY, ROOT, Prometheus, run, until
from tests.servers.process import missing

GRAFANA: Final = DEPLOY / "grafana"
BOARDS: Final = {path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}
FILLED: Final = {"$job": "scim-witness", "$tenant": "globex", "$__rate_interval": "30s"}


def expressions(board: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Panel title and expression with the variables filled in."""
    for panel in board["panels"]:
        for target in panel["targets"]:
            text = target["expr"]
            for variable, value in FILLED.items():
                text = text.replace(variable, value)
            yield panel["title"], text


EACH: Final = [
    pytest.param(text, id=f"{name}: {title}: {i}")
    for name, board in BOARDS.items()
    for i, (title, text) in enumerate(expressions(board))
]


def notes(board: dict[str, Any]) -> dict[str, str]:
    """The annotations' expressions by name, with the variables filled in."""
    found = {}
    for query in board["annotations"]["list"]:
        text = query["expr"]
        for variable, value in FILLED.items():
            text = text.replace(variable, value)
        found[query["name"]] = text
    return found


def test_there_are_three() -> None:
    assert {"fleet", "tenant", "incident"} == set(BOARDS)


@pytest.mark.deploy
def test_they_are_what_the_generator_writes() -> None:
    python = ROOT / "build" / "deploy-tools" / "bin" / "python"
    if not python.exists():
        missing("python -m tests.deploy.install_tools installs grafana-foundation-sdk")
    done = run(python, GRAFANA / "generate.py", "--check")
    assert (0, "") == (done.returncode, done.stdout)


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_is_whole_in_itself(name: str) -> None:
    board = BOARDS[name]
    assert f"scim-witness-{name}" == board["uid"]
    panels = board["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(ids) == len(set(ids))
    assert "datasource" in {variable["type"] for variable in board["templating"]["list"]}
    for panel in panels:
        assert "${datasource}" == panel["datasource"]["uid"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]


@pytest.mark.parametrize("name", BOARDS)
def test_no_two_panels_lie_upon_each_other(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]


@pytest.mark.parametrize("expression", EACH)
def test_each_expression_is_promql(expression: str) -> None:
    assert "$" not in expression
    promql_parser.parse(expression)


@pytest.mark.parametrize("name", BOARDS)
def test_incidents_are_drawn_through_every_panel(name: str) -> None:
    assert {"Alerts", "Incidents", "Backend refused"} == set(notes(BOARDS[name]))
    for expression in notes(BOARDS[name]).values():
        assert "$" not in expression
        promql_parser.parse(expression)
    for query in BOARDS[name]["annotations"]["list"]:
        assert "${datasource}" == query["datasource"]["uid"]
        assert set(re.findall(r"{{(\w+)}}", query["titleFormat"])) <= set(query["tagKeys"].split(","))
        assert (True, "60s") == (query["enable"], query["step"])


@pytest.mark.parametrize("name", BOARDS)
def test_variables_that_are_used_are_there(name: str) -> None:
    text = json.dumps([BOARDS[name]["panels"], BOARDS[name]["annotations"]])
    used = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval"}
    assert used == {variable["name"] for variable in BOARDS[name]["templating"]["list"]}


def test_provisioning_names_the_folder_that_compose_mounts() -> None:
    provider = yaml.safe_load((GRAFANA / "provisioning/dashboards/scim-witness.yml").read_text())["providers"][0]
    volumes = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["grafana"]["volumes"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in volumes
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    assert "prometheus" == source["type"]


@pytest.mark.prometheus
@pytest.mark.timeout(240)
@pytest.mark.parametrize("expression", EACH)
def test_each_expression_has_data_from_the_running_demo(expression: str, scraping: Prometheus) -> None:
    until(lambda: scraping.query(expression), f"data for {expression}", 40)


@pytest.mark.prometheus
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", BOARDS)
def test_the_demos_incidents_are_annotations(name: str, scraping: Prometheus) -> None:
    """As Grafana asks: over the time shown, a step apart. Its five customers were refused while Prometheus looked on."""
    expression = notes(BOARDS[name])["Incidents"]

    def drawn() -> set[tuple[str, str]]:
        now = time.time()
        series = scraping.api("query_range", query=expression, start=str(now - 600), end=str(now), step="1")["result"]
        return {(one["metric"]["tenant"], one["metric"]["reason"]) for one in series}

    expected = {("globex", "expired")} | ({("acme", "revoked"), ("hooli", "unknown")} if name != "tenant" else set())
    until(lambda: expected <= drawn(), f"annotations for {expected}", 40)
    assert name != "tenant" or {tenant for tenant, _ in drawn()} == {"globex"}
