//! From what the operating system says about a file to what a person can do.

use super::error::{StoreErrorKind, store_error, store_error_from};
use rustix::io::Errno;

/// Puts what the operating system said into words and a kind.
pub(super) fn failed(what: &str, error: std::io::Error) -> anyhow::Error {
    use std::io::ErrorKind as Io;
    let (kind, hint) = match error.kind() {
        Io::NotFound => (
            StoreErrorKind::NotFound,
            "Check the name, and that nobody removed it meanwhile.",
        ),
        Io::AlreadyExists => (
            StoreErrorKind::AlreadyExists,
            "Nothing was overwritten. Start the backup again: its name holds the time.",
        ),
        Io::PermissionDenied => (
            StoreErrorKind::Denied,
            "Give the user that runs the backup read and write permission on the directory.",
        ),
        Io::ReadOnlyFilesystem => (
            StoreErrorKind::Denied,
            "The file system is mounted read-only. Remount it, or give another --local directory.",
        ),
        Io::StorageFull | Io::QuotaExceeded => (
            StoreErrorKind::Full,
            "Free some space, or give a --local directory on a larger file system.",
        ),
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
            || error.raw_os_error() == Some(Errno::NOTDIR.raw_os_error()) =>
        {
            (
                StoreErrorKind::Other,
                "A symbolic link or a file stands where the store keeps a directory or an object. \
                 Links inside the store are never followed: remove it.",
            )
        }
        Io::UnexpectedEof => (
            StoreErrorKind::Other,
            "The file is shorter than its manifest says: the backup is damaged, use another one.",
        ),
        _ => (
            StoreErrorKind::Other,
            "Check the disk and the kernel's log (dmesg), then try again.",
        ),
    };
    store_error_from(kind, what, hint, error)
}

/// What went wrong at the root of a store, which the user named.
pub(super) fn root_failed(what: &str, error: std::io::Error) -> anyhow::Error {
    use std::io::ErrorKind as Io;
    match error.kind() {
        // Making a directory finds a file or a link to nothing in its place.
        Io::AlreadyExists | Io::NotADirectory => store_error_from(
            StoreErrorKind::Other,
            format!("{what}: it is not a directory, or lies below something that is none"),
            "Name another --local directory.",
            error,
        ),
        _ => failed(what, error),
    }
}

/// The same for both kinds of store.
pub(super) fn too_large(what: &str, max_bytes: u64) -> anyhow::Error {
    store_error(
        StoreErrorKind::Other,
        format!("cannot use {what}: it is larger than {max_bytes} bytes"),
        "A file of that name should be far smaller; look at what it is.",
    )
}
