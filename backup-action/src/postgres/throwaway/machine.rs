//! What this machine has: memory, as far as this process may use it.

use std::path::Path;

/// When nothing can be found out.
const ASSUMED: u64 = 2 << 30;

/// Bytes of memory that this process may use: the machine's, or less when a control group says so.
pub(super) fn memory_bytes() -> u64 {
    let total = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| meminfo_total(&text))
        .unwrap_or(ASSUMED);
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limits(&groups, &|file| std::fs::read_to_string(file).ok())
        .into_iter()
        .fold(total, u64::min)
}

/// `MemTotal` of /proc/meminfo, in bytes.
fn meminfo_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The limits of this process's control groups and of all above them: version 2 and version 1.
fn limits(groups: &str, read: &dyn Fn(&Path) -> Option<String>) -> Vec<u64> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|c| c == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // In a container the path is often that of the host, and only the root can be seen.
        for dir in Path::new(group).ancestors() {
            let dir = dir.strip_prefix("/").unwrap_or(dir);
            let text = read(&Path::new(root).join(dir).join(file));
            limits.extend(text.and_then(|text| text.trim().parse::<u64>().ok()));
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_machines_or_less() {
        assert_eq!(
            meminfo_total("MemTotal:       24683968 kB\nMemFree: 1 kB\n"),
            Some(24_683_968 * 1024)
        );
        assert_eq!(meminfo_total("MemTotal: x kB"), None);
        let read = |path: &Path| {
            Some(match path.to_str()? {
                "/sys/fs/cgroup/a/b/memory.max" => "max\n".to_owned(),
                "/sys/fs/cgroup/a/memory.max" => "1000\n".to_owned(),
                "/sys/fs/cgroup/memory/memory.limit_in_bytes" => "2000\n".to_owned(),
                _ => return None,
            })
        };
        assert_eq!(limits("0::/a/b\n", &read), [1000]);
        assert_eq!(limits("7:cpu,memory:/docker/x\n3:cpu:/\n", &read), [2000]);
        assert!(limits("garbage", &read).is_empty());
        assert!(memory_bytes() > 1 << 26);
    }
}
