//! Where the cluster is and how to get in: from a database URL or libpq's environment, and from
//! there to the environment of the children. The password travels in a private passfile; it is in
//! no argument, and in no address that a child sees.
//!
//! What a URL says wins over `PG*` variables; those that would contradict it are not handed on.

use super::passfile::PassFile;
use super::route::{Route, Way};
use super::url::{self, KEYWORDS};
use crate::error::{Explained, Usage};
use crate::process::{Command, RunAs};
use crate::secret::Secret;
use anyhow::Context;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;

/// Variables of libpq that belong to no keyword.
const ENVIRONMENT_ONLY: &[&str] = &["PGSERVICEFILE", "PGSYSCONFDIR"];

/// With a host of its own a URL leaves nothing of where `PG*` points to.
const WHERE: &[&str] = &["host", "hostaddr", "port"];

/// How to reach one cluster.
#[derive(Clone, Debug)]
pub struct Connection {
    settings: BTreeMap<&'static str, OsString>,
    environment_only: BTreeMap<&'static str, OsString>,
    password: Option<Secret>,
    raw_password: Option<Secret>,
    passfile: Option<Arc<PassFile>>,
    route: Route,
}

impl Connection {
    /// Reads `url`, else `DATABASE_URL`, and libpq's variables through `env`. Nothing is
    /// connected; a passfile is written when there is a password.
    ///
    /// # Errors
    /// [`Usage`] for an address that cannot be read; a temporary directory that cannot be written.
    pub fn resolve(
        url: Option<&Secret>,
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> anyhow::Result<Connection> {
        let from_env = || {
            let value = env("DATABASE_URL")?.into_string().ok()?;
            Some(Secret::new(value)).filter(|url| !url.is_empty())
        };
        let url = url.cloned().or_else(from_env);
        let parsed = url.map(|url| url::parse(url.expose())).transpose()?;
        let mut settings: BTreeMap<&'static str, OsString> = KEYWORDS
            .iter()
            .filter_map(|(keyword, variable)| Some((*keyword, env((*variable)?)?)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let mut raw_password = None;
        if let Some(parsed) = parsed {
            if parsed.settings.contains_key("service") && parsed.settings.len() > 1 {
                return Err(
                    Usage::new("database URL names a service and something else")
                        .hint(
                            "Put everything into the service file, or write everything in the URL.",
                        )
                        .into(),
                );
            }
            forget_contradictions(&mut settings, &parsed.settings);
            raw_password = parsed.raw_password.map(Secret::new);
            settings.extend(parsed.settings.into_iter().map(|(k, v)| (k, v.into())));
        }
        let password = settings.remove("password").map(into_secret).transpose()?;
        let mut connection = Connection {
            environment_only: ENVIRONMENT_ONLY
                .iter()
                .filter_map(|name| Some((*name, env(name)?)))
                .collect(),
            settings,
            password,
            raw_password,
            passfile: None,
            route: Route::default(),
        };
        connection.passfile = connection.write_passfile(None)?;
        Ok(connection)
    }

    /// The same connection for children that run as another user, who must be able to read the
    /// passfile.
    ///
    /// # Errors
    /// A password and sudo: without being root the file cannot be given away.
    pub fn for_user(mut self, run_as: &RunAs) -> anyhow::Result<Connection> {
        match run_as {
            RunAs::Direct { uid, gid, .. } => {
                self.passfile = self.write_passfile(Some((*uid, *gid)))?;
                Ok(self)
            }
            RunAs::Sudo { name } if self.password.is_some() => Err(Explained::new(
                format!("cannot hand a password to programs that run as {name} through sudo"),
                "Use peer authentication without a password, or run as root.",
            )
            .into()),
            RunAs::Sudo { .. } => Ok(self),
            // No file of ours is there.
            RunAs::Container(_) | RunAs::Ssh(_) => {
                self.passfile = None;
                self.route.password_by_variable = true;
                Ok(self)
            }
        }
    }

    /// The same connection over `way`, which is kept as long as the connection: children are told
    /// `settings` instead of what was asked for. `place` is where hosts and sockets are then.
    pub(super) fn via(
        mut self,
        way: Arc<dyn Way>,
        settings: BTreeMap<&'static str, OsString>,
        place: Option<String>,
    ) -> Connection {
        self.route.add(way, settings, place);
        self
    }

    /// Where hosts and sockets are, when not as seen from here: `user@host`.
    pub fn place(&self) -> Option<&str> {
        self.route.place()
    }

    /// What is wrong on the way to the server, after something on it failed.
    pub fn trouble(&self) -> Option<Explained> {
        self.route.trouble()
    }

    /// The value of a keyword, as it was asked for.
    pub(super) fn setting(&self, keyword: &str) -> Option<&OsStr> {
        self.settings.get(keyword).map(OsString::as_os_str)
    }

    /// Whether there is a password, from wherever it came.
    pub(super) fn has_password(&self) -> bool {
        self.password.is_some()
    }

    fn password_by_variable(&self) -> Option<&Secret> {
        let by_variable = |p: &&Secret| self.route.password_by_variable || needs_variable(p);
        self.password.as_ref().filter(by_variable)
    }

    fn write_passfile(&self, owner: Option<(u32, u32)>) -> anyhow::Result<Option<Arc<PassFile>>> {
        match &self.password {
            Some(password) if !needs_variable(password) => {
                let file = PassFile::write(password, owner)
                    .context("could not write the password for libpq to a private file")?;
                Ok(Some(Arc::new(file)))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// The variables that make libpq connect as this says, without the database.
    pub fn env_for_children(&self) -> BTreeMap<&'static str, OsString> {
        let mut variables = self.environment_only.clone();
        for (keyword, variable) in KEYWORDS {
            let value = self.route.settings.get(keyword);
            let value = value.or_else(|| self.settings.get(keyword));
            if let (Some(value), Some(variable)) = (value, variable)
                && *keyword != "dbname"
            {
                variables.insert(*variable, value.clone());
            }
        }
        // A dead address must not cost the whole run's deadline.
        variables
            .entry("PGCONNECT_TIMEOUT")
            .or_insert_with(|| "15".into());
        variables
            .entry("PGAPPNAME")
            .or_insert_with(|| "backup-action".into());
        if let Some(passfile) = &self.passfile {
            variables.insert("PGPASSFILE", passfile.path().into());
        }
        variables
    }

    /// Hands the connection to `command` and keeps everything else from it that is secret or would
    /// change what it prints. Messages come in English, so that they can be recognised.
    pub fn apply(&self, command: Command) -> Command {
        let mut command = command.scrubbed();
        for (variable, value) in self.env_for_children() {
            command = command.env(variable, value);
        }
        if let Some(password) = self.password_by_variable() {
            command = command.env_secret("PGPASSWORD", password);
        }
        command
    }

    /// The part of the connection that has no variable, as a libpq connection string, with
    /// `database` when given. A bare name would be taken for a connection string when it looks
    /// like one.
    pub fn conninfo(&self, database: Option<&[u8]>) -> OsString {
        let mut text = Vec::new();
        let mut push = |keyword: &str, value: &[u8]| {
            text.extend_from_slice(keyword.as_bytes());
            text.extend_from_slice(b"='");
            for byte in value {
                if matches!(byte, b'\'' | b'\\') {
                    text.push(b'\\');
                }
                text.push(*byte);
            }
            text.extend_from_slice(b"' ");
        };
        for (keyword, variable) in KEYWORDS {
            if let (None, Some(value)) = (variable, self.settings.get(keyword)) {
                push(keyword, value.as_bytes());
            }
        }
        if let Some(database) = database {
            push("dbname", database);
        }
        text.pop();
        OsString::from_vec(text)
    }

    /// The database that was asked for, if any.
    pub fn database(&self) -> Option<&OsStr> {
        self.settings.get("dbname").map(OsString::as_os_str)
    }

    /// The hosts that were asked for: names, addresses, socket directories. Empty for libpq's
    /// default socket.
    pub fn hosts(&self) -> Vec<String> {
        let Some(hosts) = self.settings.get("hostaddr").or(self.settings.get("host")) else {
            return Vec::new();
        };
        let hosts = hosts.to_string_lossy();
        hosts.split(',').map(str::to_owned).collect()
    }

    /// Whether every host is one of the machine that connects.
    pub fn stays_there(&self) -> bool {
        self.hosts().iter().all(|host| {
            host.is_empty()
                || host.starts_with(['/', '@'])
                || host.eq_ignore_ascii_case("localhost")
                || host
                    .parse()
                    .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        })
    }

    /// Whether a service file decides, so that hosts and TLS settings are not known here.
    pub fn uses_service(&self) -> bool {
        self.settings.contains_key("service")
    }

    /// libpq's `sslmode`, when it was set.
    pub fn sslmode(&self) -> Option<String> {
        let mode = self.settings.get("sslmode")?;
        Some(mode.to_string_lossy().into_owned())
    }

    /// The server for people: `host:port`, a socket, or a service, and on which machine. No secret.
    pub fn describe(&self) -> String {
        match self.place() {
            Some(place) => format!("{} of {place}", self.describe_there()),
            None => self.describe_there(),
        }
    }

    fn describe_there(&self) -> String {
        if let Some(service) = self.settings.get("service") {
            return format!("service {}", service.to_string_lossy());
        }
        let ports = self.settings.get("port");
        let ports = ports.map(|ports| ports.to_string_lossy().into_owned());
        let ports: Vec<&str> = ports.as_deref().unwrap_or("5432").split(',').collect();
        let hosts = self.hosts();
        if hosts.is_empty() {
            return format!("local socket, port {}", ports[0]);
        }
        let port = |n: usize| match ports.get(n).or(ports.first()) {
            Some(port) if !port.is_empty() => (*port).to_owned(),
            Some(_) | None => "5432".to_owned(),
        };
        let with_port = hosts
            .iter()
            .enumerate()
            .map(|(n, host)| match host.as_str() {
                "" => format!("local socket, port {}", port(n)),
                host if host.contains(':') => format!("[{host}]:{}", port(n)),
                host => format!("{host}:{}", port(n)),
            });
        with_port.collect::<Vec<_>>().join(",")
    }

    /// Every form of the password that could turn up in a message: decoded, as written in the URL,
    /// percent-encoded. Longest first. For masks and [`redact`](crate::secret::redact).
    pub fn secrets(&self) -> Vec<Secret> {
        let mut forms: Vec<String> = Vec::new();
        if let Some(password) = &self.password {
            let encoded = percent_encoding::utf8_percent_encode(
                password.expose(),
                percent_encoding::NON_ALPHANUMERIC,
            );
            forms.push(password.expose().to_owned());
            forms.push(encoded.to_string());
        }
        forms.extend(self.raw_password.iter().map(|raw| raw.expose().to_owned()));
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        forms.into_iter().map(Secret::new).collect()
    }
}

/// A URL that names a host owns the whole address; one that names the user or a password owns the
/// credentials; any URL overrules a service, which would otherwise win over the variables.
fn forget_contradictions(
    from_env: &mut BTreeMap<&'static str, OsString>,
    from_url: &BTreeMap<&'static str, String>,
) {
    if from_url.contains_key("service") {
        from_env.clear();
    }
    from_env.remove("service");
    if WHERE.iter().any(|keyword| from_url.contains_key(keyword)) {
        for keyword in WHERE {
            from_env.remove(keyword);
        }
    }
    if from_url.contains_key("password") {
        from_env.remove("passfile");
    }
    if from_url.contains_key("passfile") {
        from_env.remove("password");
    }
}

fn into_secret(password: OsString) -> anyhow::Result<Secret> {
    let password = password.into_string();
    let password = password.map_err(|_| Usage::new("password is not UTF-8"))?;
    Ok(Secret::new(password))
}

/// A line break cannot be written in a passfile.
fn needs_variable(password: &Secret) -> bool {
    password.expose().contains(['\n', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::redact;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    fn resolve(url: &str, env: &[(&str, &str)]) -> anyhow::Result<Connection> {
        let env: BTreeMap<String, OsString> = env
            .iter()
            .map(|(k, v)| ((*k).to_owned(), OsString::from(*v)))
            .collect();
        let url = Secret::new(url);
        Connection::resolve(Some(&url).filter(|u| !u.is_empty()), &|key| {
            env.get(key).cloned()
        })
    }

    fn shown(connection: &Connection) -> Vec<String> {
        let variables = connection.env_for_children().into_iter();
        variables
            .filter(|(k, _)| !matches!(*k, "PGCONNECT_TIMEOUT" | "PGAPPNAME"))
            .map(|(k, v)| format!("{k}={}", v.to_string_lossy()))
            .collect()
    }

    #[test]
    fn a_url_wins_and_what_contradicts_it_is_not_handed_on() {
        let env = [
            ("PGHOST", "elsewhere"),
            ("PGHOSTADDR", "10.0.0.1"),
            ("PGPORT", "1"),
            ("PGSERVICE", "other"),
            ("PGUSER", "other"),
            ("PGSSLMODE", "require"),
            ("PGDATABASE", "other"),
            ("PGCLIENTENCODING", "LATIN1"),
        ];
        let connection = resolve("postgres://me@h/d", &env).unwrap();
        assert_eq!(
            shown(&connection),
            ["PGHOST=h", "PGSSLMODE=require", "PGUSER=me"]
        );
        assert_eq!(connection.describe(), "h:5432");
        assert_eq!(connection.database(), Some(OsStr::new("d")));
        let connection = resolve("", &env).unwrap();
        assert_eq!(connection.describe(), "service other");
        assert!(shown(&connection).contains(&"PGHOSTADDR=10.0.0.1".to_owned()));
        let connection = resolve("", &[("DATABASE_URL", "postgres://x:7")]).unwrap();
        assert_eq!(connection.describe(), "x:7");
        assert!(resolve("postgres://h?service=s", &[]).is_err());
    }

    #[test]
    fn the_password_is_in_a_private_file_that_goes_away() {
        let connection = resolve("postgres://u:a%3Ab%5C%20c@h", &[("PGPASSFILE", "/no")]).unwrap();
        let variables = connection.env_for_children();
        assert!(!format!("{connection:?}{variables:?}").contains("a:b"));
        let path = PathBuf::from(&variables["PGPASSFILE"]);
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "*:*:*:*:a\\:b\\\\ c\n"
        );
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path) & 0o777, 0o600);
        assert_eq!(mode(path.parent().unwrap()) & 0o777, 0o700);
        drop(connection.clone());
        assert!(path.exists());
        drop(connection);
        assert!(!path.parent().unwrap().exists());
    }

    #[test]
    fn every_form_of_the_password_is_redacted() {
        let connection = resolve("postgres://u:p%40s@h", &[]).unwrap();
        let secrets = connection.secrets();
        assert_eq!(redact("p@s p%40s ok", &secrets), "*** *** ok");
        assert!(resolve("postgres://h", &[]).unwrap().secrets().is_empty());
    }

    #[test]
    fn connection_strings_quote_any_database_name() {
        let connection = resolve("postgres://h?keepalives_idle=9", &[]).unwrap();
        assert_eq!(
            connection.conninfo(Some(br"a'b\ host=x")),
            r"keepalives_idle='9' dbname='a\'b\\ host=x'"
        );
        assert_eq!(resolve("", &[]).unwrap().conninfo(None), "");
    }

    #[test]
    fn sudo_and_a_password_are_refused() {
        let sudo = RunAs::Sudo {
            name: "postgres".into(),
        };
        assert!(
            resolve("postgres://u:p@h", &[])
                .unwrap()
                .for_user(&sudo)
                .is_err()
        );
        assert!(
            resolve("postgres://u@h", &[])
                .unwrap()
                .for_user(&sudo)
                .is_ok()
        );
    }
}
