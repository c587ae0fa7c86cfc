//! The signals that a run hears, and the exit codes that go with them.

use super::ExitStatus;
use tokio::signal::unix::{Signal, SignalKind, signal};

const SIGXFSZ: i32 = 25; // on Linux and macOS

/// A signal that ends the run.
pub(super) struct Interrupt {
    pub(super) name: &'static str,
    pub(super) exit_code: u8,
}

/// Waits for SIGINT, SIGTERM, SIGHUP or SIGQUIT.
pub(super) async fn interrupted() -> Interrupt {
    let wait = async |kind| match signal(kind) {
        Ok(mut stream) => stream.recv().await,
        // Without a handler the signal ends the process by itself.
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        _ = wait(SignalKind::interrupt()) => Interrupt { name: "SIGINT", exit_code: 130 },
        _ = wait(SignalKind::terminate()) => Interrupt { name: "SIGTERM", exit_code: 143 },
        _ = wait(SignalKind::hangup()) => Interrupt { name: "SIGHUP", exit_code: 129 },
        _ = wait(SignalKind::quit()) => Interrupt { name: "SIGQUIT", exit_code: 131 },
    }
}

/// A command without a verdict; a signal ends it at once, it has nothing to clean up.
pub(super) async fn interruptible(
    run: impl Future<Output = anyhow::Result<ExitStatus>>,
) -> anyhow::Result<ExitStatus> {
    tokio::select! {
        ended = run => ended,
        signal = interrupted() => Ok(ExitStatus(signal.exit_code)),
    }
}

/// While this is held, a file above the limit of `ulimit -f` is an error of the write, which is
/// reported, instead of the end of the process.
pub(super) fn file_size_limit() -> std::io::Result<Signal> {
    signal(SignalKind::from_raw(SIGXFSZ))
}
