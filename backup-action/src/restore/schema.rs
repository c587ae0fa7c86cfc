//! One schema in one transaction of one psql: BEGIN, the caller's SQL, the schema, the caller's SQL,
//! and COMMIT only when everything was counted. The scripts, which hold no rows, are private files,
//! because stdin carries the rows; the last thing psql reads from there is our COMMIT or nothing.

use super::copy::{Rows, actions, counts};
use super::load::place;
use super::plan::{DatabasePlan, Phase};
use super::reader::Reader;
use super::script::{Lines, Place};
use super::session::{Action, Ended, Output, Session, as_argument, restrict_key};
use super::settings::InForce;
use super::work::{Load, Loaded, OnFailure, Work, object};
use crate::error::Explained;
use crate::pipeline::progress::Progress;
use crate::pipeline::scratch::Scratch;
use crate::process::RunAs;
use crate::report::words::Step;
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// What runs in the same transaction around the entries; plain SQL.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Before the first entry: to move or drop what is there, to limit waiting for locks.
    pub before: Vec<u8>,
    /// Behind the last.
    pub after: Vec<u8>,
}

/// Replays a plan of one schema (or one database that exists) in one transaction. Whatever fails,
/// nothing has changed.
///
/// # Errors
/// See [`super::load::load`]; a failure always ends it. An end of which it is not known whether the
/// server committed says so.
pub async fn load_schema(
    load: Load,
    around: Around,
    progress: &Arc<Progress>,
) -> anyhow::Result<Loaded> {
    let load = Load {
        on_failure: OnFailure::Stop,
        ..load
    };
    let work = Work::new(load, progress);
    progress.begin(Step::Restore, work.dump_bytes());
    let [plan] = work.load.plan.databases.as_slice() else {
        bail!("cannot restore several databases in one transaction");
    };
    ensure!(
        work.load.plan.globals.is_empty() && plan.create.is_empty(),
        "cannot create databases or roles in the transaction of a schema"
    );
    let begun = Instant::now();
    let place = place(&work, plan).await?;
    let scripts = Scripts::write(&place, plan, &around).await?;
    work.took(Phase::BeforeData, begun);
    transaction(&place, plan, scripts).await?;
    Ok(work.loaded())
}

async fn transaction(place: &Place, plan: &DatabasePlan, scripts: Scripts) -> anyhow::Result<()> {
    let work = &place.work;
    let begun = Instant::now();
    let tables: Vec<usize> = plan
        .data
        .iter()
        .copied()
        .filter(|n| !work.skips(*n))
        .collect();
    let mut rows = Rows::open(work, &tables).await?;
    let marker = restrict_key()?;
    let mut all = vec![Action::Statement("BEGIN".into())];
    all.extend(scripts.before.iter().cloned().map(Action::File));
    all.extend(actions(place, &tables, &rows.statements)?);
    all.extend(scripts.after.iter().cloned().map(Action::File));
    let select = format!("SELECT '{marker}'").into_bytes();
    all.push(Action::Statement(as_argument(select)?));
    all.push(Action::Input);
    let mut session = Session::start(work, &place.database, all, Output::Tags)?;
    let mut alive = true;
    for table in &tables {
        alive = alive && rows.feed(work, *table, &mut session).await?;
    }
    work.took(Phase::Data, begun);
    let begun = Instant::now();
    let mut output = Vec::new();
    while alive {
        match session.line().await? {
            Some(line) if line == marker => break,
            Some(line) => output.push(line),
            None => alive = false,
        }
    }
    if !alive {
        let ended = session.end().await?;
        output.extend_from_slice(&ended.output);
        return Err(scripts.failure(work, &tables, &ended, &output)?);
    }
    check_counts(work, &tables, &output)?;
    let sent = session.send(Bytes::from_static(b"COMMIT;\n")).await?;
    let ended = session.end().await?;
    work.took(Phase::AfterData, begun);
    if sent && ended.is_success() && ended.output.iter().any(|line| line == "COMMIT") {
        return Ok(());
    }
    // A constraint that waited until now is refused here, and nothing was changed.
    match ended.refusal() {
        Ok(refusal) => {
            Err(anyhow::anyhow!(refusal.message).context("could not commit the transaction"))
        }
        Err(error) => Err(anyhow::Error::new(CommitUnknown(crate::error::one_line(
            &error,
        )))),
    }
}

/// The connection was lost behind COMMIT: the server may have done it or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitUnknown(String);

impl fmt::Display for CommitUnknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "it is not known whether the server committed the transaction: {}",
            self.0
        )
    }
}

impl std::error::Error for CommitUnknown {}

fn check_counts(work: &Work, tables: &[usize], output: &[String]) -> anyhow::Result<()> {
    let counted = counts(output);
    ensure!(
        counted.len() == tables.len(),
        "psql counts {} tables instead of {}",
        counted.len(),
        tables.len()
    );
    for (table, counted) in tables.iter().zip(counted) {
        super::copy::check_count(work, *table, counted)?;
    }
    Ok(())
}

/// The scripts of a transaction, in a private directory that goes away with them.
struct Scripts {
    before: Vec<PathBuf>,
    after: Vec<PathBuf>,
    /// What each file's lines belong to.
    lines: Vec<(PathBuf, Lines)>,
    _dir: Scratch,
}

/// The caller's SQL has no entry.
const AROUND: usize = usize::MAX;

impl Scripts {
    async fn write(place: &Place, plan: &DatabasePlan, around: &Around) -> anyhow::Result<Scripts> {
        let owner = match &place.work.load.psql.run_as {
            None => None,
            Some(RunAs::Direct { uid, gid, .. }) => Some((*uid, *gid)),
            Some(other @ (RunAs::Sudo { .. } | RunAs::Container(_) | RunAs::Ssh(_))) => {
                return Err(Explained::new(
                    format!(
                        "cannot hand private scripts to a psql that runs as {} elsewhere",
                        other.name()
                    ),
                    "Run as that user or as root.",
                )
                .into());
            }
        };
        let dir = Scratch::new("backup-action-restore-")?;
        give(dir.path(), owner)?;
        let mut files = Files::new(place, dir.path().to_owned(), owner);
        let guard = format!("\\restrict {}\n", restrict_key()?);
        files.write(guard.as_bytes(), AROUND)?;
        files.write(&around.before, AROUND)?;
        files.write(b"\n;\n", AROUND)?;
        let before: Vec<usize> = plan.before_data.concat();
        files.entries(&before).await?;
        let first = files.close()?;
        let mut after = [plan.keys.as_slice(), &plan.after_data].concat();
        after.sort_unstable();
        files.settings_of(plan.data.last().copied());
        files.entries(&after).await?;
        files.write(&around.after, AROUND)?;
        files.write(b"\n;\n", AROUND)?;
        let second = files.close()?;
        Ok(Scripts {
            before: first,
            after: second,
            lines: files.lines,
            _dir: dir,
        })
    }

    /// The error of a psql that gave up.
    fn failure(
        &self,
        work: &Work,
        tables: &[usize],
        ended: &Ended,
        output: &[String],
    ) -> anyhow::Result<anyhow::Error> {
        let refusal = ended.refusal()?;
        let entry = match &refusal.place {
            Some((file, line)) => {
                let named = |(path, _): &&(PathBuf, Lines)| path.to_string_lossy() == *file;
                let lines = self.lines.iter().find(named);
                lines
                    .and_then(|(_, lines)| lines.find(*line))
                    .map(|found| found.0)
            }
            None => tables.get(counts(output).len()).copied(),
        };
        let what = match entry.filter(|entry| *entry != AROUND) {
            Some(entry) => object(work.entry(entry)),
            None => "the schema: its statements around the archive's failed".to_owned(),
        };
        Ok(anyhow::anyhow!(refusal.message).context(format!("could not restore {what}")))
    }
}

/// Writes scripts; a new file behind each statement whose end psql does not see.
struct Files<'a> {
    place: &'a Place,
    dir: PathBuf,
    owner: Option<(u32, u32)>,
    open: Option<(BufWriter<File>, PathBuf, Lines)>,
    done: Vec<PathBuf>,
    lines: Vec<(PathBuf, Lines)>,
    in_force: InForce,
}

impl<'a> Files<'a> {
    fn new(place: &'a Place, dir: PathBuf, owner: Option<(u32, u32)>) -> Files<'a> {
        Files {
            place,
            dir,
            owner,
            open: None,
            done: Vec::new(),
            lines: Vec::new(),
            in_force: InForce::new(),
        }
    }

    /// The settings that the COPY statements leave in force.
    fn settings_of(&mut self, last_table: Option<usize>) {
        if let Some(table) = last_table {
            let mut cursor = super::settings::Cursor::default();
            self.place.settings.advance(&mut cursor, table);
            self.in_force = cursor.in_force;
        }
    }

    async fn entries(&mut self, entries: &[usize]) -> anyhow::Result<()> {
        let work = &self.place.work;
        let entries: Vec<usize> = entries
            .iter()
            .copied()
            .filter(|n| !work.skips(*n))
            .collect();
        let mut reader = Reader::new(self.place, &entries);
        for number in entries {
            let statements = reader.read(number).await?;
            for setting in self
                .place
                .settings
                .missing(&self.in_force, &reader.cursor.in_force)
            {
                if !work.skips(setting) {
                    let text = self.place.settings.text(setting)?;
                    self.write(&[&text[..], b"\n"].concat(), setting)?;
                }
            }
            self.in_force.clone_from(&reader.cursor.in_force);
            if let Some(sql) = work.load.replace.get(&number) {
                self.write(&[sql.as_slice(), b"\n;\n"].concat(), number)?;
                continue;
            }
            for statement in statements {
                let mut text = statement.for_psql();
                text.push(b'\n');
                self.write(&text, number)?;
                if statement.psql_loses_track {
                    self.end_file()?;
                }
            }
            work.progress.advance(work.entry(number).bytes());
        }
        Ok(())
    }

    fn write(&mut self, text: &[u8], entry: usize) -> anyhow::Result<()> {
        const FAULT: &str = "could not write a temporary script";
        if self.open.is_none() {
            let path = self.dir.join(format!("{}.sql", self.lines.len()));
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            let file = file.context(FAULT)?;
            give(&path, self.owner)?;
            self.open = Some((BufWriter::new(file), path, Lines::default()));
        }
        if let Some((file, _, lines)) = &mut self.open {
            lines.mark(text, entry, 0);
            file.write_all(text).context(FAULT)?;
        }
        Ok(())
    }

    fn end_file(&mut self) -> anyhow::Result<()> {
        if let Some((mut file, path, lines)) = self.open.take() {
            file.flush().context("could not write a temporary script")?;
            self.done.push(path.clone());
            self.lines.push((path, lines));
        }
        Ok(())
    }

    fn close(&mut self) -> anyhow::Result<Vec<PathBuf>> {
        self.end_file()?;
        Ok(std::mem::take(&mut self.done))
    }
}

/// Gives a file to the user that psql runs as.
fn give(path: &Path, owner: Option<(u32, u32)>) -> anyhow::Result<()> {
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::chown(path, Some(uid), Some(gid))
            .context("could not give a temporary script to the user of psql")?;
    }
    Ok(())
}
