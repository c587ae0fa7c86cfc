//! The commands that install PostgreSQL's programs on this platform. Text only; nothing is run.

/// What the system says it is.
pub(super) fn os_release() -> String {
    // Without it the line is a general one.
    std::fs::read_to_string("/etc/os-release").unwrap_or_default()
}

/// What is to be installed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Package {
    Client,
    Server,
}

/// The line that installs a package of `major` on the platform that `os_release` describes.
pub(super) fn install_line(os_release: &str, os: &str, major: u32, package: Package) -> String {
    let client = package == Package::Client;
    let field = |name: &str| {
        os_release.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix('=')?;
            Some(value.trim_matches('"').to_owned())
        })
    };
    if os == "macos" {
        return format!("brew install postgresql@{major}");
    }
    let ids = format!(
        "{} {}",
        field("ID").unwrap_or_default(),
        field("ID_LIKE").unwrap_or_default()
    );
    let version = field("VERSION_ID").unwrap_or_default();
    let is = |name: &str| ids.split_whitespace().any(|id| id == name);
    if is("debian") || is("ubuntu") {
        let own = match (ids.split_whitespace().next(), version.as_str()) {
            (Some("debian"), "11") => Some(13),
            (Some("debian"), "12") => Some(15),
            (Some("debian"), "13") => Some(17),
            (Some("ubuntu"), "22.04") => Some(14),
            (Some("ubuntu"), "24.04") => Some(16),
            (Some("ubuntu"), "26.04") => Some(18),
            _ => None,
        };
        let name = if client {
            "postgresql-client"
        } else {
            "postgresql"
        };
        let install = format!("sudo apt-get install -y {name}-{major}");
        return if own == Some(major) {
            format!("sudo apt-get update && {install}")
        } else {
            // PGDG's own script, which adds its repository.
            format!(
                "sudo apt-get update && sudo apt-get install -y postgresql-common && sudo /usr/share/postgresql-common/pgdg/apt*.sh -y && {install}"
            )
        };
    }
    if is("alpine") {
        let suffix = if client { "-client" } else { "" };
        return format!("apk add postgresql{major}{suffix}");
    }
    if is("fedora") || is("rhel") || is("centos") {
        let suffix = if client { "" } else { "-server" };
        return format!(
            "sudo dnf install -y postgresql{major}{suffix} (from PostgreSQL's own repository, https://www.postgresql.org/download/linux/redhat/)"
        );
    }
    format!("PostgreSQL {major} from https://www.postgresql.org/download/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_install_line_fits_the_platform() {
        let bookworm = "ID=debian\nVERSION_ID=\"12\"\n";
        assert_eq!(
            install_line(bookworm, "linux", 15, Package::Client),
            "sudo apt-get update && sudo apt-get install -y postgresql-client-15"
        );
        assert!(install_line(bookworm, "linux", 17, Package::Client).contains("pgdg"));
        let mint = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_ID=\"22\"\n";
        assert!(install_line(mint, "linux", 16, Package::Client).contains("postgresql-client-16"));
        assert_eq!(
            install_line("ID=alpine", "linux", 17, Package::Client),
            "apk add postgresql17-client"
        );
        assert!(
            install_line(
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"",
                "linux",
                17,
                Package::Client
            )
            .starts_with("sudo dnf install -y postgresql17")
        );
        assert_eq!(
            install_line("", "macos", 17, Package::Client),
            "brew install postgresql@17"
        );
        assert_eq!(
            install_line(bookworm, "linux", 15, Package::Server),
            "sudo apt-get update && sudo apt-get install -y postgresql-15"
        );
        assert!(install_line("", "linux", 17, Package::Client).starts_with("PostgreSQL 17"));
    }
}
