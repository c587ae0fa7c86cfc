//! The schemas of the newest backup, largest first: a table that is its own chart.

use super::name;
use super::plot::HEIGHT;
use crate::history::series::Series;
use crate::history::tenants::Tenant;
use crate::report::format;

/// Rows that stand open, and rows at all.
const OPEN: usize = 10;
const MOST: usize = 200;

/// The tenants of a cluster.
pub(super) fn section(series: &Series, id: &str) -> String {
    let tenants = series.tenants();
    let Some(largest) = tenants.first().map(|tenant| tenant.now.bytes) else {
        return String::new();
    };
    let several = tenants
        .iter()
        .any(|tenant| tenant.database != tenants[0].database);
    let baseline = series.baseline();
    let then = match baseline {
        Some(then) => format!("Change since {}.", format::minute(then.started_at)),
        None => "There is no earlier backup to compare with.".to_owned(),
    };
    let rows = |from: usize, to: usize| -> String {
        let shown = tenants.iter().enumerate();
        shown
            .take(to)
            .skip(from)
            .map(|(number, tenant)| {
                let change = match (tenant.before, baseline) {
                    (Some(then), _) => format::change_percent(then.bytes, tenant.now.bytes),
                    (None, Some(_)) => "new".to_owned(),
                    (None, None) => String::new(),
                };
                row(
                    tenant,
                    &change,
                    largest,
                    several,
                    &format!("{id}-trend{number}"),
                )
            })
            .collect()
    };
    let mut out = format!(
        "<section class=\"card\" aria-labelledby=\"{id}-tenants\"><h3 id=\"{id}-tenants\">Largest schemas</h3>\
         <p class=\"note\">{} of the newest backup, by their share of the dump. {then}</p>\n{}",
        format::counted(tenants.len() as u64, "schema"),
        table("Largest schemas", &rows(0, OPEN))
    );
    if tenants.len() > OPEN {
        let shown = tenants.len().min(MOST);
        let title = format!("{} more", format::count((shown - OPEN) as u64));
        out.push_str(&format!(
            "<details><summary>{title}</summary>\n{}</details>\n",
            table(&title, &rows(OPEN, MOST))
        ));
    }
    if tenants.len() > MOST {
        out.push_str(&format!(
            "<p class=\"note\">{} smaller ones are left out; the JSON has them.</p>\n",
            format::count((tenants.len() - MOST) as u64)
        ));
    }
    out.push_str("</section>\n");
    out
}

fn table(about: &str, rows: &str) -> String {
    format!(
        "<div class=\"scroll tenants\" role=\"region\" tabindex=\"0\" aria-label=\"{about}\"><table>\n\
         <thead><tr><th scope=\"col\">schema</th><th scope=\"col\">size</th><th scope=\"col\">change</th>\
         <th scope=\"col\" class=\"less\">rows</th><th scope=\"col\" class=\"less\">over time</th></tr></thead>\n\
         <tbody>\n{rows}</tbody></table></div>\n"
    )
}

fn row(tenant: &Tenant, change: &str, largest: u64, several: bool, id: &str) -> String {
    let schema = name(&tenant.schema.to_lossy());
    let database = match several {
        true => format!(
            " <span class=\"muted\">of {}</span>",
            name(&tenant.database.to_lossy())
        ),
        false => String::new(),
    };
    let share = 100.0 * tenant.now.bytes as f64 / largest.max(1) as f64;
    format!(
        "<tr><th scope=\"row\">{schema}{database}<svg class=\"share\" viewBox=\"0 0 100 1\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <rect class=\"rest\" width=\"100\" height=\"1\"/><rect width=\"{share:.1}\" height=\"1\"/></svg></th>\
         <td>{}</td><td>{change}</td><td class=\"less\">{}</td><td class=\"less\">{}</td></tr>\n",
        format::bytes(tenant.now.bytes),
        format::count(tenant.now.rows),
        trend(tenant, id)
    )
}

/// A line of its sizes.
fn trend(tenant: &Tenant, id: &str) -> String {
    const WIDTH: f64 = 400.0;
    let most = tenant.trend.iter().copied().max().unwrap_or(0).max(1);
    let last = tenant.trend.len().saturating_sub(1);
    let points: Vec<String> = tenant
        .trend
        .iter()
        .enumerate()
        .map(|(at, bytes)| {
            let x = match last {
                0 => WIDTH,
                last => WIDTH * at as f64 / last as f64,
            };
            let y = HEIGHT * (1.0 - *bytes as f64 / most as f64);
            format!("{x:.0},{y:.0}")
        })
        .collect();
    let end = points.last().cloned().unwrap_or_default();
    let figures: Vec<String> = tenant
        .trend
        .iter()
        .map(|bytes| format::bytes(*bytes))
        .collect();
    format!(
        "<svg class=\"trend\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
         <title id=\"{id}-t\">Size over time</title><desc id=\"{id}-d\">{}</desc>\
         <polyline class=\"line\" points=\"{}\"/><path class=\"dot raw\" d=\"M{end}h0\"/></svg>",
        figures.join(", "),
        points.join(" ")
    )
}
