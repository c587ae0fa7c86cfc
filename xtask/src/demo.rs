//! `cargo xtask demo`: the story in six acts, on a throw-away cluster. The gate opens; a dump is
//! killed in the middle and the gate closes; a drill restores the good backup and proves it; it is
//! restored with gunzip and psql alone; the row counts are compared; the past is shown. The demo
//! fails when an act does not end as it should.

use crate::cluster::Cluster;
use crate::gate::{self, Profile};
use crate::s3::S3;
use crate::sample::{self, Size};
use crate::{paths, proc, setup, table, tools};
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// How much to show.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also store the backup in an S3 server that the demo starts on loopback
    #[arg(long)]
    s3: bool,
    /// Build with the release profile; takes minutes longer the first time
    #[arg(long)]
    release: bool,
    /// Use this program instead of building one
    #[arg(long)]
    program: Option<PathBuf>,
}

/// Everything the acts need.
struct Stage {
    program: PathBuf,
    cluster: Cluster,
    s3: Option<S3>,
    dir: PathBuf,
}

/// Plays the acts.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let missing = setup::run()?;
    setup::print_missing(&missing);
    let bin_dir = tools::postgres().context("the demo needs a PostgreSQL server")?;
    // One demo at a time: they share a directory.
    let dir = paths::private().join("demo");
    fs::create_dir_all(&dir).with_context(|| format!("could not create {}", dir.display()))?;
    let lock = File::create(dir.join("lock"))?;
    ensure!(
        lock.try_lock().is_ok(),
        "another demo is running in this checkout"
    );
    empty(&dir)?;

    let profile = if args.release {
        Profile::Release
    } else {
        Profile::Dev
    };
    act("build backup-action");
    let program = gate::program(args.program.as_deref(), profile)?;
    act("start a throw-away PostgreSQL, load the sample: six tenants of the database nostromo");
    let cluster = Cluster::start(&bin_dir, "demo", "postgres")?;
    sample::load(&cluster, Size::DEMO)?;
    println!(
        "PostgreSQL {} on 127.0.0.1:{}",
        cluster.version()?,
        cluster.port()
    );
    let s3 = if args.s3 {
        act("start an S3 server (SeaweedFS), with a bucket and an identity that may use only it");
        let s3 = S3::start(&dir.join("s3"), "nostromo-backups")?;
        println!("{}, bucket {}", s3.endpoint(), s3.bucket);
        Some(s3)
    } else {
        None
    };
    let stage = Stage {
        program,
        cluster,
        s3,
        dir,
    };
    let backup = gate_opens(&stage)?;
    gate_closes(&stage, &backup)?;
    drill_proves(&stage)?;
    let tables = restore(&stage, &backup)?;
    past(&stage)?;
    recap(&stage, &backup, tables);
    Ok(ExitCode::SUCCESS)
}

/// Removes what the last demo left, but not the lock that we hold.
fn empty(dir: &Path) -> Result<()> {
    for name in ["store", "s3", "broken-bin"] {
        let path = dir.join(name);
        if path.exists() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("could not remove {}", path.display()))?;
        }
    }
    let plays = ["good", "broken", "drill"];
    let kinds = ["report.json", "report.html", "summary.md"];
    let of = |play: &str| kinds.map(|kind| format!("{play}-{kind}"));
    for name in plays
        .into_iter()
        .flat_map(of)
        .chain(["history.html".to_owned()])
    {
        let path = dir.join(name);
        if path.exists() {
            fs::remove_file(&path)
                .with_context(|| format!("could not remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn act(title: &str) {
    println!("\n━━ {title}");
}

/// Act one. Returns the manifest of the backup.
fn gate_opens(stage: &Stage) -> Result<PathBuf> {
    act("1. the gate, on a healthy cluster: it should open");
    let code = play(stage, "good", &[])?;
    ensure!(
        code == 0,
        "the gate should have opened, but its exit code is {code}"
    );
    let manifest = gate::manifests(&store(stage))?
        .pop()
        .context("the gate opened, but there is no manifest in the store")?;
    act("the job summary that GitHub would show");
    let summary = fs::read_to_string(stage.dir.join("good-summary.md")).unwrap_or_default();
    ensure!(!summary.trim().is_empty(), "the gate wrote no job summary");
    println!("{summary}");
    Ok(manifest)
}

/// Act two.
fn gate_closes(stage: &Stage, backup: &Path) -> Result<()> {
    act("2. pg_dumpall is killed in the middle: the gate should close");
    let bin_dir = broken_bin_dir(stage)?;
    // Backups are named by the second; two gates within one would be told apart by closing.
    std::thread::sleep(Duration::from_secs(1));
    let code = play(
        stage,
        "broken",
        &["--pg-bin-dir", &bin_dir.to_string_lossy()],
    )?;
    println!("\nexit code {code}: a deploy job that needs the gate does not start");
    ensure!(code == 1, "the gate should have closed with exit code 1");
    let summary = fs::read_to_string(stage.dir.join("broken-summary.md"))?;
    ensure!(
        summary.contains("SIGKILL"),
        "the gate should have closed because pg_dumpall was killed"
    );
    let manifests = gate::manifests(&store(stage))?;
    ensure!(
        manifests == [backup],
        "the failed gate changed the store: {manifests:?}"
    );
    println!("nothing was published; the good backup is untouched");
    Ok(())
}

/// Act three: restore, dump again, compare.
fn drill_proves(stage: &Stage) -> Result<()> {
    act("3. a restore drill: the backup into a throw-away cluster, dumped again and compared");
    let mut drill = proc::command(&stage.program);
    drill.args(["drill", "--engine", "local", "--local"]);
    drill.arg(store(stage)).arg("--pg-bin-dir");
    drill.arg(stage.cluster.bin_dir());
    let code = run_play(stage, "drill", drill, &[])?;
    ensure!(
        code == 0,
        "the drill should have passed, but its exit code is {code}"
    );
    act("the job summary of the drill");
    println!(
        "{}",
        fs::read_to_string(stage.dir.join("drill-summary.md"))?
    );
    Ok(())
}

/// Runs the gate with its screen on ours; returns its exit code.
fn play(stage: &Stage, name: &str, args: &[&str]) -> Result<i32> {
    let gate = gate::command(&stage.program, &stage.cluster, &store(stage));
    run_play(stage, name, gate, args)
}

fn run_play(stage: &Stage, name: &str, mut gate: Command, args: &[&str]) -> Result<i32> {
    let report = stage.dir.join(format!("{name}-report.json"));
    let summary = stage.dir.join(format!("{name}-summary.md"));
    with_s3(stage, &mut gate);
    gate.arg("--report")
        .arg(&report)
        .arg("--summary")
        .arg(&summary)
        .arg("--html")
        .arg(stage.dir.join(format!("{name}-report.html")))
        .args(args);
    seen(gate)
}

fn with_s3(stage: &Stage, command: &mut Command) {
    if let Some(s3) = &stage.s3 {
        command
            .arg("--remote")
            .arg(format!("s3://{}/nostromo", s3.bucket))
            .args(["--s3-endpoint", &s3.endpoint(), "--s3-path-style"])
            .envs(s3.env());
    }
}

/// Shows a command and what it prints; returns its exit code.
fn seen(mut command: Command) -> Result<i32> {
    println!("$ {}", shown(&command));
    let status = command.status().context("could not start the program")?;
    status
        .code()
        .with_context(|| format!("the program was killed ({status})"))
}

/// The command as a person would type it; the environment holds the secrets and is left out.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn store(stage: &Stage) -> PathBuf {
    stage.dir.join("store")
}

/// PostgreSQL's programs, but pg_dumpall stops after 200 kB and dies as the kernel's out-of-memory
/// killer would have it.
fn broken_bin_dir(stage: &Stage) -> Result<PathBuf> {
    let dir = stage.dir.join("broken-bin");
    fs::create_dir_all(&dir)?;
    let real = stage.cluster.bin_dir();
    for entry in fs::read_dir(real)? {
        let entry = entry?;
        if entry.file_name() != "pg_dumpall" {
            symlink(entry.path(), dir.join(entry.file_name()))?;
        }
    }
    let script = dir.join("pg_dumpall");
    let real = real.join("pg_dumpall");
    let text = format!(
        "#!/bin/sh\ncase \" $* \" in *\" --version \"* | *\" -V \"*) exec '{0}' \"$@\" ;; esac\n'{0}' \"$@\" | head -c 200000\nkill -KILL $$\n",
        real.display()
    );
    fs::write(&script, text)?;
    fs::set_permissions(&script, Permissions::from_mode(0o755))?;
    Ok(dir)
}

/// Acts four and five. Returns the number of tables compared.
fn restore(stage: &Stage, manifest: &Path) -> Result<usize> {
    act("4. restore into a second cluster, with gunzip and psql alone");
    let archive = gate::archive(manifest);
    // The bootstrap superuser has another name, or `CREATE ROLE postgres` would fail.
    let second = Cluster::start(stage.cluster.bin_dir(), "restored", "demo_admin")?;
    println!(
        "$ gunzip -c {} | psql -X -v ON_ERROR_STOP=1 -d postgres",
        archive.display()
    );
    pipe(&archive, &second)?;

    act("5. compare the two clusters");
    let before = sample::row_counts(&stage.cluster)?;
    let after = sample::row_counts(&second)?;
    let rows: Vec<Vec<String>> = before
        .iter()
        .map(|(name, rows)| {
            let restored = after.iter().find(|(other, _)| other == name);
            let restored = restored.map_or("missing".to_owned(), |(_, rows)| rows.to_string());
            vec![name.clone(), rows.to_string(), restored]
        })
        .collect();
    print!("{}", table::render(&["table", ">rows", ">restored"], &rows));
    ensure!(before == after, "the restored cluster differs");
    let total: u64 = before.iter().map(|(_, rows)| rows).sum();
    ensure!(total > 0, "there are no rows to compare");
    println!("equal: {} tables, {total} rows", before.len());
    Ok(before.len())
}

fn pipe(archive: &Path, cluster: &Cluster) -> Result<()> {
    let mut gunzip = proc::command("gunzip")
        .arg("-c")
        .arg(archive)
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start gunzip")?;
    let sql = gunzip
        .stdout
        .take()
        .context("gunzip has no standard output")?;
    let mut psql = cluster.psql("postgres");
    let restored = proc::run(psql.stdin(sql).stdout(Stdio::null()));
    // The command holds the reading end of the pipe; gunzip would wait for it after an error.
    drop(psql);
    let unzipped = gunzip.wait().context("could not wait for gunzip")?;
    restored.context("could not restore the archive")?;
    if !unzipped.success() {
        bail!("gunzip failed ({unzipped})");
    }
    Ok(())
}

/// Act six: what the stores tell of the past, and what the retention would do about it.
fn past(stage: &Stage) -> Result<()> {
    act("6. the past: sizes, the drill, the closed gate; and what the retention would do");
    let page = stage.dir.join("history.html");
    let page = page.to_string_lossy();
    for (name, args) in [
        ("history", ["--html", &page].as_slice()),
        ("prune", &["--dry-run"]),
    ] {
        let mut command = proc::command(&stage.program);
        command.arg(name).arg("--local").arg(store(stage));
        with_s3(stage, &mut command);
        command.args(args);
        let code = seen(command)?;
        ensure!(code == 0, "{name} ended with exit code {code}");
    }
    Ok(())
}

fn recap(stage: &Stage, manifest: &Path, tables: usize) {
    act("what was shown");
    let rows = [
        ("the gate opened on a healthy cluster", "exit 0"),
        ("the gate closed on a dump killed in the middle", "exit 1"),
        ("a drill restored it and proved it equal", "exit 0"),
        ("gunzip and psql restored the archive", "no error"),
        (
            "every table has its rows again",
            &format!("{tables} tables"),
        ),
    ];
    let rows: Vec<_> = rows
        .map(|(what, how)| vec![what.to_owned(), how.to_owned()])
        .into();
    print!("{}", table::render(&["what", "seen"], &rows));
    println!("\nLook at it: {}", stage.dir.display());
    println!("  {}", gate::archive(manifest).display());
    println!("  good-, broken- and drill-report.json, -report.html and -summary.md; history.html");
}
