//! The line of a comment that says how far away the last gate and drill are. What was not found is said
//! of the receipts that were looked at: there may have been others.

use super::format;
use super::sizes::{Run, Sizes};

/// `the last 20 receipts of gates`; none when there was none to look at.
fn in_receipts(count: u64, of: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("the last receipt of a {of}")),
        n => Some(format!("the last {} receipts of {of}s", format::count(n))),
    }
}

/// `Last gate ✅ 3 h ago · last drill ✅ 9 days ago`, or what was not found.
pub(super) fn runs(sizes: &Sizes) -> String {
    // Receipts are looked at for the cluster of a backup.
    if sizes.comparison.is_none() {
        return String::new();
    }
    let age = |run: &Run| {
        let age = format::age(sizes.now.duration_since(run.finished_at).as_secs());
        let age = if age.starts_with("from") {
            age
        } else {
            format!("{age} ago")
        };
        match run.url.as_deref().and_then(link) {
            Some(url) => format!("[{age}]({url})"),
            None => age,
        }
    };
    let gate = match &sizes.last_gate {
        Some(gate) => format!("Last gate ✅ {}", age(gate)),
        None => match in_receipts(sizes.gate_receipts, "gate") {
            None => "No receipt of a gate was found".to_owned(),
            Some(receipts) => format!("⚠️ No passed gate of this cluster in {receipts}"),
        },
    };
    let drill = match &sizes.last_drill {
        Some(drill) => {
            let restored = drill.restore_seconds.map_or(String::new(), |seconds| {
                format!(" (restore {})", format::duration(seconds))
            });
            format!("last drill ✅ {}{restored}", age(drill))
        }
        None => match in_receipts(sizes.drill_receipts, "drill") {
            None => "⚠️ no receipt of a drill was found".to_owned(),
            Some(receipts) => format!("⚠️ no passed drill of this cluster in {receipts}"),
        },
    };
    format!("{gate} · {drill}\n")
}

/// An address that can stand in a link as it is; a receipt is no trusted source of one.
pub(super) fn link(url: &str) -> Option<&str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:%".contains(&b);
    (url.starts_with("https://") && url.len() < 500 && url.bytes().all(plain)).then_some(url)
}
