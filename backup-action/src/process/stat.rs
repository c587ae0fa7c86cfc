//! Who is whose child, as `/proc` tells it. Only asks; ends nobody.

use std::collections::{BTreeMap, BTreeSet};

/// The process groups of `leader` and of all its descendants, as far as anything lives in them.
/// Without `/proc` its own.
pub(super) fn descendant_groups(leader: i32) -> BTreeSet<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return BTreeSet::from([leader]);
    };
    let mut children: BTreeMap<i32, Vec<(i32, i32)>> = BTreeMap::new();
    let mut groups = BTreeSet::new();
    for entry in entries.flatten() {
        let stat = std::fs::read_to_string(entry.path().join("stat"));
        if let Some((pid, parent, group)) = stat.ok().as_deref().and_then(parse_stat) {
            children.entry(parent).or_default().push((pid, group));
            if group == leader {
                groups.insert(leader);
            }
        }
    }
    let mut waiting = vec![leader];
    while let Some(parent) = waiting.pop() {
        for (pid, group) in children.remove(&parent).unwrap_or_default() {
            groups.insert(group);
            waiting.push(pid);
        }
    }
    groups
}

/// Process, parent and group of a line of `/proc/PID/stat`, unless it is a zombie. The name in
/// the line may hold anything.
pub(super) fn parse_stat(stat: &str) -> Option<(i32, i32, i32)> {
    let (pid, rest) = stat.split_once(" (")?;
    let mut fields = rest.rsplit_once(") ")?.1.split(' ');
    fields.next().filter(|state| *state != "Z")?;
    let mut number = || fields.next()?.parse().ok();
    Some((pid.parse().ok()?, number()?, number()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_forges_no_field_of_a_process() {
        assert_eq!(parse_stat("7 (a) S 1 (b) R 3 4 5"), Some((7, 3, 4)));
        assert_eq!(parse_stat("7 (sleep) S 2 6 6 0"), Some((7, 2, 6)));
        assert_eq!(parse_stat("7 (sleep) Z 2 6 6 0"), None);
        assert_eq!(parse_stat("7 (sleep"), None);
    }
}
