//! The dump as pg_dumpall lays it out: header, globals, one section a database, trailer; and the
//! `\restrict` keys around them. Decides which database is being read and whether anything is missing.
//! Only comments and meta-commands outside of rows, literals and statements arrive here.

use super::index::Name;
use super::scanned::Completeness;

const CLUSTER_HEADER: &[u8] = b"--\n-- PostgreSQL database cluster dump\n--\n";
const CLUSTER_TRAILER: &[u8] = b"--\n-- PostgreSQL database cluster dump complete\n--\n";
const DATABASE_TRAILER: &[u8] = b"--\n-- PostgreSQL database dump complete\n--\n";

const HEADER_LINE: &[u8] = b"-- PostgreSQL database cluster dump";

/// What a run of comment lines says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Meaning {
    /// The cluster's header.
    ClusterHeader,
    /// The cluster's trailer.
    ClusterTrailer,
    /// The trailer of a database.
    DatabaseTrailer,
    /// Nothing about completeness.
    Other,
}

/// How far the dump is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sections {
    database: Option<Name>,
    /// Each with whether its trailer is the last thing in it.
    databases: Vec<(Name, bool)>,
    /// The key of the `\restrict` that is open.
    restrict: Option<Vec<u8>>,
    restrict_fault: Option<String>,
    cluster_header: bool,
    /// The end of the cluster's trailer, while nothing came behind it.
    trailer_end: Option<u64>,
    /// What tells that several dumps, or a dump and more, stand in one stream. It stays: a second
    /// trailer does not make the first the last thing again.
    more_than_one: Option<String>,
}

impl Sections {
    /// The database that is being read; none in the globals and at the trailer.
    pub(crate) fn database(&self) -> Option<&Name> {
        self.database.as_ref()
    }

    /// A run of comment lines that ended at `end`. `first`: nothing stands before it.
    pub(crate) fn comment(&mut self, text: &[u8], end: u64, first: bool) -> Meaning {
        match text {
            CLUSTER_HEADER if first => {
                self.cluster_header = true;
                Meaning::ClusterHeader
            }
            CLUSTER_TRAILER => {
                self.trailer_end = Some(end);
                self.database = None;
                Meaning::ClusterTrailer
            }
            DATABASE_TRAILER => {
                self.set_complete(true);
                Meaning::DatabaseTrailer
            }
            // By its line: the comments of two dumps run into one another where a blank line is lost.
            _ => {
                if text.split(|byte| *byte == b'\n').any(|l| l == HEADER_LINE) {
                    self.more_than_one.get_or_insert_with(|| {
                        format!("the cluster header before byte {end} is not the first thing")
                    });
                }
                Meaning::Other
            }
        }
    }

    /// Another entry follows: what stood before was not the end of the dump.
    pub(crate) fn something_follows(&mut self) {
        if let Some(end) = self.trailer_end.take() {
            self.more_than_one.get_or_insert_with(|| {
                format!("something follows the cluster trailer that ends at byte {end}")
            });
        }
    }

    /// An object or a statement follows: what stood before was not the end of the database either.
    pub(crate) fn more(&mut self) {
        self.something_follows();
        self.set_complete(false);
    }

    /// What follows belongs to `name`, whose trailer is still to come.
    pub(crate) fn enter(&mut self, name: Name) {
        if !self.databases.iter().any(|(known, _)| *known == name) {
            self.databases.push((name.clone(), false));
        }
        self.database = Some(name);
        self.more();
    }

    /// `\connect`: psql refuses it while restricted.
    pub(crate) fn connect(&mut self) {
        if self.restrict.is_some() {
            self.fault("\\connect between \\restrict and \\unrestrict");
        }
    }

    /// `\restrict KEY`
    pub(crate) fn restrict(&mut self, key: &[u8]) {
        if self.restrict.replace(key.to_vec()).is_some() {
            self.fault("\\restrict inside \\restrict");
        }
    }

    /// `\unrestrict KEY`
    pub(crate) fn unrestrict(&mut self, key: &[u8]) {
        if self.restrict.take().as_deref() != Some(key) {
            self.fault("\\unrestrict with another key than its \\restrict");
        }
    }

    /// Whether a dump of `end` bytes, cut neither in a statement nor in a comment, is whole.
    pub(crate) fn cluster_is_complete(&self, end: u64) -> bool {
        // pg_dumpall writes an empty line behind its trailer: without one the dump was cut.
        self.trailer_end.is_some_and(|trailer| trailer < end)
            && self.restrict.is_none()
            && self.restrict_fault.is_none()
            && self.more_than_one.is_none()
    }

    /// What is known at the end.
    pub(crate) fn finish(mut self, cluster_trailer: bool, ended_in: String) -> Completeness {
        if self.restrict.is_some() {
            self.fault("\\restrict without its \\unrestrict");
        }
        let ended_in = match &self.more_than_one {
            Some(why) => format!("{ended_in}; {why}"),
            None => ended_in,
        };
        Completeness {
            cluster_header: self.cluster_header,
            cluster_trailer,
            databases: self.databases,
            ended_in,
            restrict_fault: self.restrict_fault,
        }
    }

    fn set_complete(&mut self, value: bool) {
        if let Some(name) = &self.database
            && let Some((_, complete)) = self.databases.iter_mut().rfind(|(n, _)| n == name)
        {
            *complete = value;
        }
    }

    fn fault(&mut self, message: &str) {
        self.restrict_fault
            .get_or_insert_with(|| message.to_owned());
    }
}
