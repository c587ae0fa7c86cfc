//! The sample data of the demo and the benchmark: a database `nostromo` with a schema for each
//! tenant. The SQL is in `fixtures/sample`.

use crate::cluster::Cluster;
use crate::{paths, proc};
use anyhow::{Context, Result};

/// How much of it.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// Tenant schemas.
    pub(crate) tenants: u32,
    /// Employees of the first tenant; the others have 60 % to 140 % of it.
    pub(crate) employees: u32,
    /// Payroll rows for each employee.
    pub(crate) months: u32,
    /// Audit rows for each employee.
    pub(crate) audits: u32,
}

impl Size {
    /// Loads in a second or two.
    pub(crate) const DEMO: Size = Size {
        tenants: 6,
        employees: 120,
        months: 12,
        audits: 20,
    };

    /// Bytes of dump for each employee with 24 payroll and 32 audit rows; measured.
    const BYTES_EACH: u64 = 12_750;

    /// About `bytes` of dump over `tenants` schemas.
    pub(crate) fn of_dump(bytes: u64, tenants: u32) -> Self {
        let employees = bytes / Self::BYTES_EACH / u64::from(tenants.max(1));
        Self {
            tenants,
            employees: u32::try_from(employees.max(1)).unwrap_or(u32::MAX),
            months: 24,
            audits: 32,
        }
    }
}

/// Loads roles, database and tenants into an empty cluster.
pub(crate) fn load(cluster: &Cluster, size: Size) -> Result<()> {
    let dir = paths::root().join("fixtures/sample");
    proc::run(
        cluster
            .psql("postgres")
            .arg("-f")
            .arg(dir.join("roles.sql")),
    )
    .context("could not load the roles of the sample")?;
    let variables = [
        ("tenants", size.tenants),
        ("employees", size.employees),
        ("months", size.months),
        ("audits", size.audits),
    ];
    let mut psql = cluster.psql("nostromo");
    for (name, value) in variables {
        psql.arg("-v").arg(format!("{name}={value}"));
    }
    proc::run(psql.arg("-f").arg(dir.join("nostromo.sql"))).context("could not load the sample")
}

/// `(schema.table, rows)` of every table of the sample's database, sorted by name.
pub(crate) fn row_counts(cluster: &Cluster) -> Result<Vec<(String, u64)>> {
    let file = paths::root().join("fixtures/sample/row-counts.sql");
    let text = proc::read(cluster.psql("nostromo").arg("-f").arg(file))
        .context("could not count the rows of the sample")?;
    text.lines()
        .map(|line| {
            let (table, rows) = line.rsplit_once('|').context("psql printed no column")?;
            Ok((table.to_owned(), rows.parse()?))
        })
        .collect()
}
