//! Alerts: what the product promises to raise is there, and an operator is told what to do about it.

use std::collections::BTreeSet;

use super::super::model::Deployment;

/// What must be raised: each promise with the alerts that keep it.
const PROMISED: [(&str, &[&str]); 9] = [
    ("an instance faults", &["instance-faulted"]),
    ("faulted instances pile up", &["faulted-backlog"]),
    ("a message is poisoned", &["message-poisoned"]),
    ("a dead letter is written", &["dead-letter-kept"]),
    ("the gauge is silent", &["gauge-silent", "gauge-incomplete"]),
    ("the handler restarts", &["handler-restarting"]),
    ("publishing fails", &["publish-failing", "event-grid-refuses"]),
    ("storage throttles", &["storage-throttled"]),
    ("a poison message grows old", &["poison-old", "poison-depth"]),
];

pub(super) fn alerts(deployment: &Deployment) -> Vec<String> {
    let text = |path: &str| deployment.sources.get(path).map(String::as_str).unwrap_or_default();
    // One rule is on a metric: it is a resource of its own.
    let mut there = deployment.alerts.clone();
    there.extend(
        text("infra/modules/alerts.bicep")
            .contains("event-grid-refuses")
            .then(|| "event-grid-refuses".to_owned()),
    );
    let page = text("docs/OPERATIONS.md");
    let table =
        page.split("## Alerts").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
    let rows = table.lines().filter(|line| line.starts_with("| `")).filter_map(|row| row.split('|').nth(1));
    let told: BTreeSet<_> = rows
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let mut findings = Vec::new();
    for (what, names) in PROMISED {
        for name in names.iter().filter(|name| !there.contains(**name)) {
            findings.push(format!("there is no alert {name}, so that nobody hears when {what}"));
        }
    }
    findings.extend(
        there
            .difference(&told)
            .map(|name| format!("docs/OPERATIONS.md does not say what to do about the alert {name}")),
    );
    findings.extend(
        told.difference(&there)
            .map(|name| format!("docs/OPERATIONS.md tells of the alert {name}, which Bicep does not make")),
    );
    findings
}
