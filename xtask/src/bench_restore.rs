//! `cargo xtask bench-restore`: a drill's restore against `gunzip | psql`, and one tenant out of a
//! full backup in S3 against the whole of it; in one run, in turns, on servers with the same
//! settings. The numbers are for people; nothing is judged here.

use crate::bench::Fresh;
use crate::cluster::Cluster;
use crate::gate::{self, Profile};
use crate::measure::{self, Sample};
use crate::s3::S3;
use crate::sample::{self, Size};
use crate::{paths, proc, setup, table, tools};
use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// The size of the experiment.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Size of the dump, in megabytes
    #[arg(long, default_value_t = 1000)]
    size_mb: u64,
    /// Tenant schemas
    #[arg(long, default_value_t = 24)]
    tenants: u32,
    /// Turns; the medians count
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Use this program instead of building one
    #[arg(long)]
    program: Option<PathBuf>,
}

/// What is measured with.
struct Bench {
    program: PathBuf,
    bin_dir: PathBuf,
    settings: Vec<String>,
    scratch: PathBuf,
    s3: S3,
}

/// One turn, in seconds.
struct Turn {
    psql: f64,
    drill: f64,
    drill_peak_bytes: u64,
    whole: f64,
    whole_bytes: f64,
    tenant: f64,
    tenant_bytes: f64,
}

/// Measures and reports.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::print_missing(&setup::run()?);
    ensure!(args.runs > 0, "--runs must be at least 1");
    let bin_dir = tools::postgres().context("the benchmark needs a PostgreSQL server")?;
    let program = gate::program(args.program.as_deref(), Profile::Release)?;
    let scratch = paths::private().join(format!("bench-restore-{}", std::process::id()));
    let fresh = Fresh::make(&scratch)?;
    let s3 = S3::start(&scratch.join("s3"), "nostromo-backups")?;
    let bench = Bench {
        settings: settings(&program)?,
        program,
        bin_dir,
        scratch,
        s3,
    };
    let archive = bench.back_up(args)?;
    let mut turns = Vec::new();
    for turn in 1..=args.runs {
        let done = bench.turn(&archive)?;
        println!(
            "turn {turn}: gunzip | psql {:.1} s, drill {:.1} s, whole from S3 {:.1} s, one tenant {:.2} s",
            done.psql, done.drill, done.whole, done.tenant
        );
        turns.push(done);
    }
    print!("{}", report(&turns));
    // The S3 server lives in the directory: it ends first.
    drop(bench);
    drop(fresh);
    Ok(ExitCode::SUCCESS)
}

/// The settings of a drill's server, as the program says them, one a line.
fn settings(program: &Path) -> Result<Vec<String>> {
    let said = proc::read(proc::command(program).args(["internals", "drill-settings"]))?;
    Ok(said.lines().map(str::to_owned).collect())
}

impl Bench {
    fn store(&self) -> PathBuf {
        self.scratch.join("store")
    }

    /// Makes the cluster, and a backup of it in both stores.
    fn back_up(&self, args: &Args) -> Result<PathBuf> {
        println!("making a cluster with about {} MB of dump …", args.size_mb);
        let cluster = Cluster::start(&self.bin_dir, "bench", "postgres")?;
        sample::load(
            &cluster,
            Size::of_dump(args.size_mb * 1_000_000, args.tenants),
        )?;
        let mut gate = gate::command(&self.program, &cluster, &self.store());
        self.remote(&mut gate);
        gate.arg("--pg-bin-dir")
            .arg(cluster.bin_dir())
            .stdout(File::create(self.scratch.join("gate.log"))?);
        proc::run(&mut gate).context("could not back up the cluster")?;
        let manifest = gate::manifests(&self.store())?
            .pop()
            .context("the gate published nothing")?;
        Ok(gate::archive(&manifest))
    }

    fn remote(&self, command: &mut Command) {
        command
            .arg("--remote")
            .arg(format!("s3://{}/nostromo", self.s3.bucket))
            .args(["--s3-endpoint", &self.s3.endpoint(), "--s3-path-style"])
            .envs(self.s3.env());
    }

    fn turn(&self, archive: &Path) -> Result<Turn> {
        let psql = self.plain(archive)?;
        let (drill, peak) = self.drill()?;
        let target = self.empty("whole")?;
        let (whole, whole_bytes) = self.restore(&target, &[])?;
        let tenant = ["--schema", "tenant_empresa_7", "--database", "nostromo"];
        let (tenant, tenant_bytes) = self.restore(&target, &tenant)?;
        Ok(Turn {
            psql,
            drill,
            drill_peak_bytes: peak.peak_bytes,
            whole,
            whole_bytes,
            tenant,
            tenant_bytes,
        })
    }

    /// An empty cluster as a drill makes it.
    fn empty(&self, name: &str) -> Result<Cluster> {
        Cluster::tuned(&self.bin_dir, name, "bench_admin", &self.settings)
    }

    /// `gunzip -c archive | psql`.
    fn plain(&self, archive: &Path) -> Result<f64> {
        let cluster = self.empty("plain")?;
        let start = Instant::now();
        let mut gunzip = proc::command("gunzip")
            .arg("-c")
            .arg(archive)
            .stdout(Stdio::piped())
            .spawn()
            .context("could not start gunzip")?;
        let sql = gunzip.stdout.take().context("gunzip has no output")?;
        proc::run(cluster.psql("postgres").stdin(sql).stdout(Stdio::null()))?;
        ensure!(gunzip.wait()?.success(), "gunzip failed");
        Ok(start.elapsed().as_secs_f64())
    }

    /// A drill; the seconds of its restore.
    fn drill(&self) -> Result<(f64, Sample)> {
        let report = self.scratch.join("drill.json");
        let mut drill = proc::command(&self.program);
        drill
            .args(["drill", "--engine", "local", "--local"])
            .arg(self.store())
            .arg("--pg-bin-dir")
            .arg(&self.bin_dir)
            .arg("--report")
            .arg(&report)
            .stdin(Stdio::null())
            .stdout(File::create(self.scratch.join("drill.log"))?);
        let sample = measure::run(&mut drill, &self.scratch.join("none"))?;
        ensure!(
            sample.status.success(),
            "the drill failed: {}",
            fs::read_to_string(self.scratch.join("drill.log"))?
        );
        Ok((number(&report, "restore_seconds")?, sample))
    }

    /// A restore from S3; its seconds, and the bytes of archive that it read.
    fn restore(&self, target: &Cluster, narrow: &[&str]) -> Result<(f64, f64)> {
        let report = self.scratch.join("restore.json");
        let log = self.scratch.join("restore.log");
        let mut restore = proc::command(&self.program);
        restore.arg("restore").args(narrow);
        self.remote(&mut restore);
        restore
            .args(["--yes", "--report"])
            .arg(&report)
            .env("BACKUP_ACTION_INTO", target.url())
            .env("BACKUP_ACTION_PG_BIN_DIR", &self.bin_dir)
            .stdin(Stdio::null())
            .stdout(File::create(&log)?);
        let start = Instant::now();
        let status = restore.status().context("could not start the restore")?;
        let took = start.elapsed().as_secs_f64();
        ensure!(
            status.success(),
            "the restore failed: {}",
            fs::read_to_string(&log)?
        );
        let loaded = number(&report, "restore_seconds").unwrap_or(took);
        Ok((loaded, number(&report, "archive_bytes_read")?))
    }
}

/// The first number of that name behind the durations in a JSON file of ours.
fn number(file: &Path, name: &str) -> Result<f64> {
    let text = fs::read_to_string(file)?;
    let from = text.find("\"durations\"").unwrap_or(0);
    let text = &text[from..];
    let key = format!("\"{name}\":");
    let at = text
        .find(&key)
        .with_context(|| format!("no {name} in {}", file.display()))?;
    let rest = text[at + key.len()..].trim_start();
    let end = rest
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(rest.len());
    rest[..end]
        .parse()
        .with_context(|| format!("{name} is no number"))
}

fn report(turns: &[Turn]) -> String {
    let median = |of: &dyn Fn(&Turn) -> f64| {
        let mut values: Vec<f64> = turns.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let seconds = |n: f64| table::seconds(Duration::from_secs_f64(n));
    let (psql, drill) = (median(&|t| t.psql), median(&|t| t.drill));
    let (whole, tenant) = (median(&|t| t.whole), median(&|t| t.tenant));
    let bytes = median(&|t| t.tenant_bytes) / median(&|t| t.whole_bytes);
    let peak = turns.iter().map(|t| t.drill_peak_bytes).max().unwrap_or(0);
    let rows = [
        ("A: gunzip -c | psql, same settings", seconds(psql)),
        ("B: the drill's restore", seconds(drill)),
        ("A / B", format!("{:.2} ×", psql / drill)),
        ("C: the whole cluster from S3", seconds(whole)),
        ("D: one tenant from S3", seconds(tenant)),
        ("C / D, time", format!("{:.1} ×", whole / tenant)),
        ("C / D, bytes read", format!("{:.1} ×", 1.0 / bytes)),
        (
            "peak memory of the drill",
            format!("{:.1} MiB", peak as f64 / 1_048_576.0),
        ),
    ];
    let rows: Vec<_> = rows.map(|(what, said)| vec![what.to_owned(), said]).into();
    table::render(&["what", ">median"], &rows)
}
