//! Roles come first: which are missing, how they are made from the archive's globals, and what of
//! the globals a cluster that has some of them already is spared.

use super::needs::Needs;
use crate::archive::index::Name;
use crate::archive::named::{self, Global};
use crate::archive::statements::Statement;
use crate::postgres::target::TargetServer;
use crate::restore::plan::Plan;
use std::collections::{BTreeMap, BTreeSet};

/// What is done about roles.
#[derive(Default)]
pub(super) struct Roles {
    /// Roles that are created, in the order of the dump.
    pub(super) create: Vec<Name>,
    /// Roles that are needed and that neither the server nor the archive has.
    pub(super) unknown: Vec<Name>,
    /// Entries of the globals that create them.
    entries: Vec<usize>,
    /// Entry → statement in its place.
    pub(super) replace: BTreeMap<usize, Vec<u8>>,
}

impl Roles {
    /// What to replay before anything else.
    pub(super) fn plan(&self) -> Plan {
        Plan {
            globals: self.entries.clone(),
            databases: Vec::new(),
        }
    }
}

/// The roles that `needs` names and `server` does not have, with the roles that those are members
/// of, so that they may do what they may do at home.
pub(super) fn missing(needs: &Needs, server: &TargetServer) -> Roles {
    let there: BTreeSet<&Name> = server.roles.iter().collect();
    let mut wanted: BTreeSet<Name> = needs.roles.clone();
    loop {
        let before = wanted.len();
        for (_, global, _) in &needs.globals {
            if let Global::Membership { role, member, .. } = global
                && wanted.contains(member)
                && !there.contains(member)
            {
                wanted.insert(role.clone());
            }
        }
        if wanted.len() == before {
            break;
        }
    }
    wanted.retain(|role| !there.contains(role));
    let mut roles = Roles {
        unknown: wanted
            .iter()
            .filter(|role| !needs.has_role(role))
            .cloned()
            .collect(),
        ..Roles::default()
    };
    for (number, global, statement) in &needs.globals {
        let is_part = match global {
            Global::CreateRole(role) => {
                if wanted.contains(role) {
                    roles.create.push(role.clone());
                }
                wanted.contains(role)
            }
            Global::RoleOptions { role, .. } | Global::OfRole(role) => wanted.contains(role),
            Global::Membership { member, .. } => wanted.contains(member),
            Global::Tablespace(_) | Global::Other => false,
        };
        if is_part {
            roles.entries.push(*number);
            ungranted(&mut roles.replace, *number, global, statement, |_| true);
        }
    }
    roles
}

/// What of the globals a whole cluster skips: roles and tablespaces that exist are left as they are.
pub(super) struct Spared {
    /// Entries that are not replayed.
    pub(super) skip: BTreeSet<usize>,
    /// Entry → statement in its place.
    pub(super) replace: BTreeMap<usize, Vec<u8>>,
    /// The roles that exist already.
    pub(super) roles: Vec<Name>,
}

/// See [`Spared`].
pub(super) fn spared(needs: &Needs, server: &TargetServer) -> Spared {
    let roles: BTreeSet<&Name> = server.roles.iter().collect();
    let tablespaces: BTreeSet<&Name> = server.tablespaces.iter().collect();
    let superusers: BTreeSet<&Name> = needs
        .globals
        .iter()
        .filter_map(|(_, global, _)| match global {
            Global::RoleOptions {
                role,
                superuser: true,
            } => Some(role),
            _ => None,
        })
        .collect();
    let mut spared = Spared {
        skip: BTreeSet::new(),
        replace: BTreeMap::new(),
        roles: Vec::new(),
    };
    for (number, global, statement) in &needs.globals {
        let exists = match global {
            Global::CreateRole(role) => {
                if roles.contains(role) {
                    spared.roles.push(role.clone());
                }
                roles.contains(role)
            }
            Global::RoleOptions { role, .. } | Global::OfRole(role) => roles.contains(role),
            Global::Membership { role, member, .. } => {
                roles.contains(role) && roles.contains(member)
            }
            Global::Tablespace(name) => tablespaces.contains(name),
            Global::Other => false,
        };
        if exists {
            spared.skip.insert(*number);
        } else {
            let by_superuser = |grantor: &Name| superusers.contains(grantor);
            ungranted(
                &mut spared.replace,
                *number,
                global,
                statement,
                by_superuser,
            );
        }
    }
    spared
}

/// A membership that a superuser granted is granted by whoever restores: the superuser of another
/// cluster has no ADMIN OPTION here, and would be refused as a grantor.
fn ungranted(
    replace: &mut BTreeMap<usize, Vec<u8>>,
    number: usize,
    global: &Global,
    statement: &Statement,
    is_changed: impl Fn(&Name) -> bool,
) {
    if let Global::Membership {
        grantor: Some(grantor),
        ..
    } = global
        && is_changed(grantor)
    {
        replace.insert(number, named::without_grantor(statement));
    }
}
