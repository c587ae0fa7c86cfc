//! The round trip: the index of an archive against the index of a dump of what was restored from
//! it. Pure; whoever restores, dumps and decides what a difference means is above.
//!
//! Entries are matched by database, kind, schema and name, and compared by the digest of their
//! statements; the rows of a table by their digests. Comments and psql's meta-commands are not
//! compared: they hold versions and random keys. Of the settings of a session it is compared which
//! there are, and for a table or index which tablespace and access method they put it into. Every
//! difference is listed by name.
//!
//! What differs without harm is this list, and nothing else; each occurrence is listed as well:
//!
//! - [`Rule::DrillSuperuser`]: the statements that make the role that the drill's server was
//!   initialised with, when the archive has no role of that name.
//! - [`Rule::BootstrapOwner`]: the owner that the dump names in the comment of an object which has
//!   no `OWNER TO` of its own because PostgreSQL made it, when the statements are equal, the
//!   restored owner is the drill's superuser, all archived owners in that place are one and the
//!   same role, and that role is a superuser.
//! - [`Rule::RowOrder`]: the same rows of the same columns in another order (heap order is no
//!   promise; parallel loads and synchronised scans change it).
//! - [`Rule::ColumnOrder`]: the same rows with the columns of COPY in another order, as happens
//!   to a child table whose parent was altered after it was made. Needs the rows: see [`Undecided`].
//! - [`Rule::HashPartitions`]: rows loaded through the root of their partitions that came to lie
//!   in other leaves, when all leaves together hold the same rows.
//! - [`Rule::Replaced`]: a statement that the restore changed on purpose, when what came back is
//!   exactly what it was changed to: see [`Context::replaced`].

mod compare;
mod place;
mod rows;
mod scope;

pub use compare::compare;
pub use scope::is_data;

use crate::archive::index::{Name, RowsDigest, Sha256Digest};
use crate::archive::reorder::Reordered;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What was done, as far as the comparison needs to know.
#[derive(Clone, Debug)]
pub struct Context {
    /// The role that the restored server was initialised with.
    pub drill_superuser: Name,
    /// The superusers of the restored cluster, which are those of the archive when its roles came
    /// back: only one of them can be the archived cluster's own first role.
    pub superusers: BTreeSet<Name>,
    /// Statements that were changed on purpose, by position in the archive's index.
    pub replaced: BTreeMap<usize, Replacement>,
    /// How much was restored.
    pub scope: Scope,
    /// Whether rows were restored: not after `--schema-only`.
    pub rows: bool,
    /// The archived name of the database, and the name it was restored under.
    pub renamed: Option<(Name, Name)>,
}

/// What a statement was changed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// SHA-256 of the statement that a dump has to print, from its first byte to its semicolon.
    pub sha256: Sha256Digest,
    /// What was changed: `the location of the tablespace`.
    pub what: String,
}

/// How much was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Cluster,
    /// One database.
    Database(Name),
    /// One schema of one database.
    Schema {
        /// The database, by its archived name.
        database: Name,
        /// The schema.
        schema: Name,
    },
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Databases.
    pub databases: u64,
    /// Schemas with something in them.
    pub schemas: u64,
    /// Entries that are compared.
    pub entries: u64,
    /// Tables with data.
    pub tables: u64,
    /// Their rows.
    pub rows: u64,
}

/// What the comparison found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proof {
    /// What the archive holds.
    pub archived: Counts,
    /// What came back.
    pub restored: Counts,
    /// What is not equal, in the order of the archive; then what was added.
    pub differences: Vec<Difference>,
    /// What differs without harm.
    pub harmless: Vec<Harmless>,
    /// What can only be decided with the rows.
    pub undecided: Vec<Undecided>,
}

/// One object that did not come back as it went in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// In which way.
    pub kind: DifferenceKind,
    /// Its name, see [`crate::archive::object::Objects`]. Hostile text.
    pub object: String,
    /// What is different, as a clause. May hold text from the database.
    pub detail: String,
}

/// In which way an object differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// It did not come back.
    Missing,
    /// It was not in the archive.
    Added,
    /// Its statements are others.
    Statement,
    /// Its owner is another.
    Owner,
    /// It has more or fewer rows.
    Rows,
    /// It has as many rows, but others.
    Data,
    /// It has other columns.
    Columns,
}

/// One object that differs without harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Harmless {
    /// Why it is harmless.
    pub rule: Rule,
    /// Its name.
    pub object: String,
    /// What is different, as a clause.
    pub detail: String,
}

/// The known harmless differences; what each of them needs is said at the top of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The role of the drill's own server.
    DrillSuperuser,
    /// The owner of what PostgreSQL made.
    BootstrapOwner,
    /// The same rows in another order.
    RowOrder,
    /// The same rows with their columns in another order.
    ColumnOrder,
    /// The same rows in other leaves.
    HashPartitions,
    /// What the restore changed on purpose.
    Replaced,
}

impl Rule {
    /// The name in JSON and on screens.
    pub fn name(self) -> &'static str {
        match self {
            Rule::DrillSuperuser => "drill-superuser",
            Rule::BootstrapOwner => "bootstrap-owner",
            Rule::RowOrder => "row-order",
            Rule::ColumnOrder => "column-order",
            Rule::HashPartitions => "hash-partitions",
            Rule::Replaced => "replaced",
        }
    }
}

/// A table whose columns came back in another order. Its archived rows have to be read to know
/// whether they are the restored ones: give them to [`Undecided::reader`], and its digest to
/// [`Proof::decide`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided {
    /// Its name.
    pub object: String,
    /// Position of its TABLE DATA in the archive's index.
    pub archive: usize,
    order: Vec<usize>,
    wanted: RowsDigest,
}

impl Undecided {
    /// Takes the rows as the archive has them.
    pub fn reader(&self) -> Reordered {
        Reordered::new(self.order.clone())
    }
}

impl Proof {
    /// Whether everything came back as it went in.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty() && self.undecided.is_empty()
    }

    /// Settles what [`compare`] left open; `rows` is what the reader of `open` ended with.
    pub fn decide(&mut self, open: &Undecided, rows: Option<RowsDigest>) {
        self.undecided.retain(|other| other != open);
        if rows == Some(open.wanted) {
            self.harmless.push(Harmless {
                rule: Rule::ColumnOrder,
                object: open.object.clone(),
                detail: "the same rows with their columns in another order".to_owned(),
            });
        } else {
            self.differences.push(Difference {
                kind: DifferenceKind::Data,
                object: open.object.clone(),
                detail: "the columns have another order, and the rows are others".to_owned(),
            });
        }
    }
}
