//! `cargo xtask bench`: the gate against pg_dumpall alone and against the shell runbook, on one
//! cluster, in one run, in turns. Prints a table and writes it with the raw numbers as JSON.

use crate::cluster::Cluster;
use crate::gate::{self, Profile};
use crate::measure::{self, Sample};
use crate::sample::{self, Size};
use crate::{paths, proc, setup, table, tools};
use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
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
    /// Also measure the gate's memory at four times the size
    #[arg(long)]
    big: bool,
    /// Use this program instead of building one
    #[arg(long)]
    program: Option<PathBuf>,
}

/// One turn.
struct Turn {
    dumpall: Duration,
    runbook: Duration,
    gate: Sample,
    gzip_bytes: u64,
    archive_bytes: u64,
}

/// Measures and reports. Nothing is judged here: the numbers are for people.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::print_missing(&setup::run()?);
    ensure!(args.runs > 0, "--runs must be at least 1");
    let bin_dir = tools::postgres().context("the benchmark needs a PostgreSQL server")?;
    let program = gate::program(args.program.as_deref(), Profile::Release)?;
    let dir = paths::private().join("bench");
    fs::create_dir_all(&dir).with_context(|| format!("could not create {}", dir.display()))?;
    let scratch = dir.join(format!("scratch-{}", std::process::id()));

    let bytes = args.size_mb * 1_000_000;
    let cluster = make_cluster(&bin_dir, "bench", bytes, args.tenants)?;
    let version = cluster.version()?;
    let dump_bytes = dump_size(&cluster)?;
    println!(
        "dump: {} over {} tenants, PostgreSQL {version}",
        megabytes(dump_bytes),
        args.tenants
    );
    let mut turns = Vec::new();
    for turn in 1..=args.runs {
        let done = one_turn(&program, &cluster, &scratch)?;
        println!(
            "turn {turn}: pg_dumpall {}, runbook {}, gate {}",
            table::seconds(done.dumpall),
            table::seconds(done.runbook),
            table::seconds(done.gate.took),
        );
        turns.push(done);
    }
    drop(cluster);
    let big = match args.big {
        true => Some(memory_at(
            &program,
            &bin_dir,
            bytes * 4,
            args.tenants,
            &scratch,
        )?),
        false => None,
    };
    let result = Outcome {
        dump_bytes,
        tenants: args.tenants,
        version,
        turns,
        big,
    };
    let (markdown, json) = (result.markdown(), result.json());
    fs::write(dir.join("results.md"), &markdown)?;
    fs::write(dir.join("results.json"), &json)?;
    println!(
        "\n{markdown}\nNumbers: {}",
        dir.join("results.json").display()
    );
    Ok(ExitCode::SUCCESS)
}

fn make_cluster(bin_dir: &Path, name: &str, bytes: u64, tenants: u32) -> Result<Cluster> {
    println!("making a cluster with about {} of dump …", megabytes(bytes));
    let start = Instant::now();
    let cluster = Cluster::start(bin_dir, name, "postgres")?;
    sample::load(&cluster, Size::of_dump(bytes, tenants))?;
    proc::run(cluster.psql("postgres").args(["-c", "CHECKPOINT"]))?;
    println!("made in {}", table::seconds(start.elapsed()));
    Ok(cluster)
}

/// The bytes that pg_dumpall writes; also warms the caches for everybody.
fn dump_size(cluster: &Cluster) -> Result<u64> {
    let mut dump = cluster.tool("pg_dumpall");
    let mut child = dump
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start pg_dumpall")?;
    let mut stdout = child
        .stdout
        .take()
        .context("pg_dumpall has no standard output")?;
    let bytes = std::io::copy(&mut stdout, &mut std::io::sink())?;
    ensure!(child.wait()?.success(), "pg_dumpall failed");
    Ok(bytes)
}

/// A, B, C in turn.
fn one_turn(program: &Path, cluster: &Cluster, scratch: &Path) -> Result<Turn> {
    let fresh = Fresh::make(scratch)?;
    let start = Instant::now();
    proc::run(cluster.tool("pg_dumpall").stdout(Stdio::null()))?;
    let dumpall = start.elapsed();
    let (runbook, gzip_bytes) = runbook(cluster, scratch)?;
    let (gate, archive_bytes) = one_gate(program, cluster, scratch)?;
    drop(fresh);
    Ok(Turn {
        dumpall,
        runbook,
        gate,
        gzip_bytes,
        archive_bytes,
    })
}

/// `pg_dumpall > f && gzip f && gunzip -t f.gz`; the time and the size of the result.
fn runbook(cluster: &Cluster, scratch: &Path) -> Result<(Duration, u64)> {
    let file = scratch.join("runbook.sql");
    let start = Instant::now();
    proc::run(cluster.tool("pg_dumpall").stdout(File::create(&file)?))?;
    proc::run(proc::command("gzip").arg(&file))?;
    let zipped = scratch.join("runbook.sql.gz");
    proc::run(proc::command("gunzip").arg("-t").arg(&zipped))?;
    let took = start.elapsed();
    let bytes = fs::metadata(&zipped)?.len();
    fs::remove_file(&zipped)?;
    Ok((took, bytes))
}

/// The gate into an empty directory store; the size of its archive.
fn one_gate(program: &Path, cluster: &Cluster, scratch: &Path) -> Result<(Sample, u64)> {
    let store = scratch.join("store");
    let temporary = scratch.join("tmp");
    fs::create_dir_all(&temporary)?;
    let log = scratch.join("gate.log");
    let mut gate = gate::command(program, cluster, &store);
    gate.arg("--pg-bin-dir")
        .arg(cluster.bin_dir())
        .env("TMPDIR", &temporary)
        .stdin(Stdio::null())
        .stdout(File::create(&log)?)
        .stderr(File::create(scratch.join("gate.err"))?);
    let sample = measure::run(&mut gate, &temporary)?;
    ensure!(
        sample.status.success(),
        "the gate failed ({}): {}",
        sample.status,
        {
            let screen = fs::read_to_string(&log).unwrap_or_default();
            let errors = fs::read_to_string(scratch.join("gate.err")).unwrap_or_default();
            proc::tail(&format!("{screen}\n{errors}"))
        }
    );
    let manifest = gate::manifests(&store)?
        .pop()
        .context("the gate published nothing")?;
    let bytes = fs::metadata(gate::archive(&manifest))?.len();
    fs::remove_dir_all(&store)?;
    Ok((sample, bytes))
}

/// The gate alone, on a cluster of `bytes`.
fn memory_at(
    program: &Path,
    bin_dir: &Path,
    bytes: u64,
    tenants: u32,
    scratch: &Path,
) -> Result<(u64, Sample)> {
    let cluster = make_cluster(bin_dir, "bench-big", bytes, tenants)?;
    let dump_bytes = dump_size(&cluster)?;
    let fresh = Fresh::make(scratch)?;
    let (sample, _) = one_gate(program, &cluster, scratch)?;
    drop(fresh);
    Ok((dump_bytes, sample))
}

/// A directory that is empty at the start and gone at the end, also after an error.
pub(crate) struct Fresh(PathBuf);

impl Fresh {
    pub(crate) fn make(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("could not create {}", dir.display()))?;
        Ok(Self(dir.to_path_buf()))
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("could not remove {}: {error}", self.0.display());
        }
    }
}

/// Everything that was measured.
struct Outcome {
    dump_bytes: u64,
    tenants: u32,
    version: String,
    turns: Vec<Turn>,
    big: Option<(u64, Sample)>,
}

impl Outcome {
    fn median(&self, of: impl Fn(&Turn) -> f64) -> f64 {
        let mut values: Vec<f64> = self.turns.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() % 2 {
            1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        }
    }

    fn figures(&self) -> Vec<Figure> {
        let a = self.median(|t| t.dumpall.as_secs_f64());
        let b = self.median(|t| t.runbook.as_secs_f64());
        let c = self.median(|t| t.gate.took.as_secs_f64());
        let size = self.median(|t| t.archive_bytes as f64 / t.gzip_bytes as f64);
        let peaks = self.turns.iter().map(|t| t.gate.peak_bytes);
        let peak = peaks.max().unwrap_or(0);
        let seconds = |n: f64| format!("{n:.2} s");
        let times = |n: f64| format!("{n:.2} ×");
        let mut figures = vec![
            Figure::new(
                "pg_dumpall_seconds",
                "A: pg_dumpall > /dev/null",
                a,
                seconds(a),
            ),
            Figure::new(
                "runbook_seconds",
                "B: pg_dumpall > f && gzip f && gunzip -t f.gz",
                b,
                seconds(b),
            ),
            Figure::new(
                "gate_seconds",
                "C: the gate, directory store, read-back included",
                c,
                seconds(c),
            ),
            Figure::new("gate_to_pg_dumpall", "C / A", c / a, times(c / a)),
            Figure::new("runbook_to_gate", "B / C", b / c, times(b / c)),
            Figure::new(
                "archive_to_gzip",
                "archive against gzip -6",
                size,
                format!("{size:.3} ×"),
            ),
            Figure::new(
                "gate_peak_bytes",
                "peak memory of the gate",
                peak as f64,
                mebibytes(peak),
            ),
        ];
        if let Some((bytes, sample)) = &self.big {
            let peak = sample.peak_bytes;
            let text = format!("{} at {}", mebibytes(peak), megabytes(*bytes));
            let what = "peak memory at four times the size";
            figures.push(Figure::new("big_gate_peak_bytes", what, peak as f64, text));
        }
        figures.push(self.temporary_files());
        figures
    }

    fn temporary_files(&self) -> Figure {
        let samples = self.turns.iter().map(|turn| &turn.gate);
        let samples = samples.chain(self.big.iter().map(|(_, sample)| sample));
        let seen: Vec<&str> = samples.flat_map(Sample::temporary).collect();
        let text = if seen.is_empty() {
            "none".to_owned()
        } else {
            seen.join(", ")
        };
        Figure::new(
            "temporary_files",
            "temporary files seen",
            seen.len() as f64,
            text,
        )
    }

    fn markdown(&self) -> String {
        let rows: Vec<_> = self
            .figures()
            .into_iter()
            .map(|figure| vec![figure.what.to_owned(), figure.text])
            .collect();
        format!(
            "Dump of {}, {} tenants, PostgreSQL {}, medians of {} turns:\n\n{}",
            megabytes(self.dump_bytes),
            self.tenants,
            self.version,
            self.turns.len(),
            table::render(&["what", ">measured"], &rows)
        )
    }

    /// Names and numbers only, nothing that needs escaping.
    fn json(&self) -> String {
        let turn = |t: &Turn| {
            format!(
                "    {{\"pg_dumpall_seconds\": {:.3}, \"runbook_seconds\": {:.3}, \"gate_seconds\": {:.3}, \"gate_peak_bytes\": {}, \"archive_bytes\": {}, \"gzip_bytes\": {}}}",
                t.dumpall.as_secs_f64(),
                t.runbook.as_secs_f64(),
                t.gate.took.as_secs_f64(),
                t.gate.peak_bytes,
                t.archive_bytes,
                t.gzip_bytes
            )
        };
        let figure = |f: &Figure| format!("    \"{}\": {:.3}", f.key, f.number);
        format!(
            "{{\n  \"dump_bytes\": {},\n  \"tenants\": {},\n  \"server\": \"{}\",\n  \"medians\": {{\n{}\n  }},\n  \"turns\": [\n{}\n  ]\n}}\n",
            self.dump_bytes,
            self.tenants,
            self.version,
            self.figures()
                .iter()
                .map(figure)
                .collect::<Vec<_>>()
                .join(",\n"),
            self.turns.iter().map(turn).collect::<Vec<_>>().join(",\n")
        )
    }
}

/// One line of the report.
struct Figure {
    key: &'static str,
    what: &'static str,
    number: f64,
    text: String,
}

impl Figure {
    fn new(key: &'static str, what: &'static str, number: f64, text: String) -> Self {
        Self {
            key,
            what,
            number,
            text,
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0))
}
