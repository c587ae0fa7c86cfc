//! Whether the connection is safe from listeners and impostors. Pure.

use super::survey::ClusterSurvey;
use crate::check::{Check, CheckId, Severity};
use crate::postgres::connection::Connection;

/// What decides whether a connection is safe from listeners and impostors.
pub(super) struct Link {
    named: bool,
    local: bool,
    place: Option<String>,
    uses_service: bool,
    sslmode: Option<String>,
    tls: bool,
    gss_encrypted: bool,
    unix_socket: bool,
}

impl Link {
    pub(super) fn of(connection: &Connection, cluster: &ClusterSurvey) -> Link {
        Link {
            named: !connection.hosts().is_empty(),
            local: connection.stays_there(),
            place: connection.place().map(str::to_owned),
            uses_service: connection.uses_service(),
            sslmode: connection.sslmode(),
            tls: cluster.tls,
            gss_encrypted: cluster.gss_encrypted,
            unix_socket: cluster.unix_socket,
        }
    }

    fn stays_here(&self) -> bool {
        // A pooler on another machine may itself use a socket: the host that we named decides.
        if !self.named {
            return !self.uses_service || self.unix_socket;
        }
        self.local
    }
}

pub(super) fn connection_verified(link: &Link, severity: &dyn Fn(CheckId) -> Severity) -> Check {
    let id = CheckId::ConnectionVerified;
    if link.stays_here() {
        let evidence = match &link.place {
            Some(place) => {
                format!("the connection stays on {place}, reached by SSH with a known host key")
            }
            None => "the connection stays on this machine".to_owned(),
        };
        return Check::passed(id, evidence);
    }
    if link.gss_encrypted {
        return Check::passed(id, "encrypted and authenticated by GSSAPI");
    }
    let mode = link.sslmode.as_deref();
    let evidence = match (link.tls, mode) {
        (true, Some("verify-full")) => {
            return Check::passed(id, "TLS, certificate and host name verified (verify-full)");
        }
        (true, Some("verify-ca")) => "TLS, but the host name is not verified (verify-ca)",
        (true, Some(_) | None) if link.uses_service => {
            "TLS; whether the certificate is verified is in the service file"
        }
        (true, Some(_) | None) => "TLS, but the server's certificate is not verified",
        (false, Some(_) | None) => "not encrypted: the network can read and change the dump",
    };
    Check::no(
        id,
        severity(id),
        evidence,
        "Set PGSSLMODE=verify-full and PGSSLROOTCERT to the certificate authority of the server.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    #[test]
    fn only_local_or_fully_verified_connections_pass() {
        let outcome = |hosts: &[&str], sslmode: Option<&str>, tls| {
            let url = crate::secret::Secret::new(format!("postgres:///?host={}", hosts.join(",")));
            let connection = Connection::resolve(Some(&url), &|_| None).unwrap();
            let link = Link {
                named: !hosts.is_empty(),
                local: connection.stays_there(),
                place: None,
                uses_service: false,
                sslmode: sslmode.map(str::to_owned),
                tls,
                gss_encrypted: false,
                unix_socket: false,
            };
            connection_verified(&link, &|_| Severity::Block).outcome
        };
        for hosts in [&[][..], &["/run"], &["127.0.0.1"], &["::1", "localhost"]] {
            assert_eq!(outcome(hosts, None, false), Outcome::Passed, "{hosts:?}");
        }
        assert_eq!(outcome(&["db"], Some("verify-full"), true), Outcome::Passed);
        for (hosts, mode, tls) in [
            (&["db"][..], None, false),
            (&["db"], Some("verify-full"), false),
            (&["db"], Some("require"), true),
            (&["db"], Some("verify-ca"), true),
            (&["127.0.0.1", "10.0.0.1"], None, true),
        ] {
            assert_eq!(
                outcome(hosts, mode, tls),
                Outcome::Failed,
                "{hosts:?} {mode:?}"
            );
        }
    }
}
