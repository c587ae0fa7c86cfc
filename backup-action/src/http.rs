//! The one client of ours for plain HTTP: goes where it was told and nowhere else (no redirect is
//! followed), through the proxy of the environment (HTTPS_PROXY, NO_PROXY), trusting the certificates
//! of this machine (SSL_CERT_FILE). What is asked, and what an answer means, is its users'.

use std::sync::{Arc, OnceLock};
use std::time::Duration;
use ureq::Agent;
use ureq::config::Config;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// How long the rest of an answer may take once its status is known.
const REST: Duration = Duration::from_secs(2);

/// A client whose requests end within `limit`. A status that says no is an answer, not an error.
pub fn agent(limit: Duration) -> Agent {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::Specific(roots()))
        .build();
    Config::builder()
        .timeout_global(Some(limit))
        .timeout_recv_body(Some(REST))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("backup-action/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build()
        .new_agent()
}

/// The certificates that this machine trusts, read once.
fn roots() -> Arc<Vec<Certificate<'static>>> {
    static ROOTS: OnceLock<Arc<Vec<Certificate<'static>>>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs().certs;
        let owned = |der: &rustls::pki_types::CertificateDer<'_>| {
            Certificate::from_der(der.as_ref()).to_owned()
        };
        Arc::new(found.iter().map(owned).collect())
    });
    Arc::clone(roots)
}
