//! Parse, run, report, exit code: the only place that ends the process.

use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    // Two threads carry the I/O; compressing, decoding and digesting have threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let status = match runtime {
        Ok(runtime) => {
            let status =
                runtime.block_on(backup_action::command::main(std::env::args_os().collect()));
            // A thread that still waits for a pipe must not keep the process alive.
            runtime.shutdown_timeout(Duration::from_millis(500));
            status
        }
        Err(_) => backup_action::command::ExitStatus::ERROR,
    };
    ExitCode::from(status.0)
}
