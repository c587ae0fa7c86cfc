//! Who assumes a role: what a store needs to know of somebody else's tokens. No I/O.

use crate::secret::Secret;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Says who we are, to somebody who trusts those who say it.
pub trait WebIdentity: Debug + Send + Sync {
    /// A new token.
    fn token(&self) -> TokenFuture<'_>;

    /// Secrets that were made just now, before they are used: they must not be shown.
    fn hide(&self, secrets: &[Secret]);
}

/// What [`WebIdentity::token`] gives.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = anyhow::Result<IdentityToken>> + Send + 'a>>;

/// A token, and what it says of itself.
#[derive(Clone, Debug)]
pub struct IdentityToken {
    /// The token.
    pub token: Secret,
    /// Whom it names.
    pub subject: Option<String>,
    /// For whom it is.
    pub audience: Option<String>,
}

/// The role, and who assumes it.
#[derive(Clone, Debug)]
pub struct RoleToAssume {
    /// `arn:aws:iam::123456789012:role/name`.
    pub arn: String,
    /// What CloudTrail shows: 2 to 64 letters, digits and `+=,.@-`.
    pub session: String,
    /// Who.
    pub identity: Arc<dyn WebIdentity>,
}
