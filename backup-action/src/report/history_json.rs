//! History as JSON: exact numbers, one object a cluster.

use super::json;
use crate::history::series::{History, Identity, Series};
use serde_json::{Value, json};

/// The whole history.
///
/// # Errors
/// Never for histories that this program makes.
pub fn render(history: &History) -> anyhow::Result<String> {
    let clusters: Vec<Value> = history.series.iter().map(series).collect();
    json::inert(&json!({
        "format": super::FORMAT,
        "command": "history",
        "since": history.since,
        "clusters": clusters,
        "not_counted": history.not_counted,
        "foreign_objects": history.foreign_objects,
    }))
}

fn series(series: &Series) -> Value {
    let tenants: Vec<Value> = series
        .tenants()
        .iter()
        .map(|tenant| {
            json!({
                "database": tenant.database,
                "schema": tenant.schema,
                "bytes": tenant.now.bytes,
                "rows": tenant.now.rows,
                "bytes_before": tenant.before.map(|amount| amount.bytes),
                "bytes_over_time": tenant.trend,
            })
        })
        .collect();
    let databases: Vec<Value> = series
        .newest()
        .iter()
        .flat_map(|newest| &newest.databases)
        .map(|database| {
            json!({ "name": database.name, "bytes": database.bytes, "rows": database.rows })
        })
        .collect();
    json!({
        "cluster": series.cluster,
        "system_identifier": match &series.identity {
            Identity::System(id) => Some(id),
            Identity::Name(_) => None,
        },
        "backups": series.backups,
        "months": series.months(),
        "baseline": series.baseline().map(|baseline| &baseline.key),
        "databases": databases,
        "schemas": tenants,
        "drills": series.drills,
        "failed_gates": series.failed_gates,
    })
}
