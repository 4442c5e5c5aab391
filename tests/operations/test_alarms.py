"""Every alarm has a page, every page an alarm, and every metric they speak of is emitted."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.template.expanded import ROOT, of_type, properties, resources

RUNBOOK = ROOT / "docs" / "runbook"
WITHOUT_ALARM = {"README.md", "restore.md", "rotate-secrets.md"}


def alarms() -> dict[str, dict[str, Any]]:
    return {name: r["Properties"] for name, r in of_type("AWS::CloudWatch::Alarm").items()}


def emitted() -> set[str]:
    """Names of our own metrics, as the code writes them."""
    found: set[str] = set()
    for folder in ("functions", "shared"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call):
                    continue
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in ("count", "_count") and node.args:
                    found.update(_texts(node.args[0]))
                elif name == "add_metric":
                    found.update(_texts(next(k.value for k in node.keywords if k.arg == "name")))
    # Two names are made from a result and a table.
    return found | {"EventApplied", "EventIgnored", "AccessRemoved", "AccessKept"}


def _texts(node: ast.expr) -> set[str]:
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def test_every_alarm_names_its_page_and_every_page_has_an_alarm() -> None:
    named = {alarm["AlarmDescription"] for alarm in alarms().values()}
    pages = {f"docs/runbook/{p.name}" for p in RUNBOOK.glob("*.md") if p.name not in WITHOUT_ALARM}
    assert named == pages


@pytest.mark.parametrize("page", sorted(RUNBOOK.glob("*.md")), ids=lambda p: p.name)
def test_a_page_says_what_it_means_where_to_look_and_what_mends_it(page: Path) -> None:
    text = page.read_text()
    if page.name not in WITHOUT_ALARM:
        assert "**Means.**" in text
        assert "**Look.**" in text
        assert re.search(r"\*\*(Mend\.|Then)\*\*| mend \|", text)
    for target in re.findall(r"\]\(([\w./-]+)\)", text):
        assert (page.parent / target).exists(), target
    made = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = set(re.findall(r"`make ([a-z]+)", text))
    assert commands <= made


def test_our_own_alarms_watch_metrics_that_are_emitted() -> None:
    ours = {
        alarm["MetricName"] for alarm in alarms().values() if "Fn::Sub" in str(alarm["Namespace"])
    }
    assert ours
    assert ours <= emitted()


def test_the_dashboard_shows_every_metric_of_ours() -> None:
    (dashboard,) = of_type("AWS::CloudWatch::Dashboard").values()
    text, _ = dashboard["Properties"]["DashboardBody"]["Fn::Sub"]
    widgets = json.loads(text)["widgets"]
    shown = {
        metric[1]
        for widget in widgets
        for metric in widget["properties"]["metrics"]
        if metric[0].startswith("Customers/")
    }
    assert shown <= emitted()
    assert {"EventApplied", "EventParked", "Cancels", "AccessRemoved", "RemovalFailed"} <= shown
    assert "OldestDueSeconds" in shown


def test_every_alarm_tells_somebody_and_says_when_it_is_over() -> None:
    for alarm in alarms().values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}]


def test_each_function_each_table_and_each_queue_is_watched() -> None:
    watched = {
        (alarm["MetricName"], json.dumps(dimension["Value"]))
        for alarm in alarms().values()
        for dimension in alarm["Dimensions"]
    }
    for name in of_type("AWS::Lambda::Function"):
        for metric in ("Errors", "Throttles"):
            assert (metric, json.dumps({"Ref": name})) in watched
    for name in of_type("AWS::DynamoDB::Table"):
        for metric in ("ReadThrottleEvents", "WriteThrottleEvents"):
            assert (metric, json.dumps({"Ref": name})) in watched
    for name, queue in of_type("AWS::SQS::Queue").items():
        value = json.dumps({"Fn::GetAtt": [name, "QueueName"]})
        # A function works on the one that has dead letters of its own; the others should be empty.
        waits = "RedrivePolicy" in queue["Properties"]
        metric = f"Approximate{'AgeOfOldestMessage' if waits else 'NumberOfMessagesVisible'}"
        assert (metric, value) in watched


def test_what_is_made_under_a_condition_is_watched_under_the_same() -> None:
    made = {name: r.get("Condition") for name, r in resources().items()}
    for alarm in of_type("AWS::CloudWatch::Alarm").values():
        for dimension in alarm["Properties"]["Dimensions"]:
            value = dimension["Value"]
            if isinstance(value, dict):
                (named,) = value.values()
                name = named if isinstance(named, str) else named[0]
                assert alarm.get("Condition") == made.get(name)


def test_a_sweep_that_does_not_run_is_an_alarm() -> None:
    silent = properties("SweepSilentAlarm")
    assert silent["TreatMissingData"] == "breaching"
    assert silent["EvaluationPeriods"] == {"Ref": "SweepMinutes"}
    assert silent["Period"] == 180


def test_metrics_are_kept_apart_by_deployment() -> None:
    for function in of_type("AWS::Lambda::Function").values():
        namespace = function["Properties"]["Environment"]["Variables"]
        assert namespace["POWERTOOLS_METRICS_NAMESPACE"] == {
            "Fn::Sub": "Customers/${AWS::StackName}"
        }
