//! What a process uses: memory, processor time, disk.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{Failure, Result, wait};

/// The kernel counts processor time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// What a process has used at some time.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Resident memory, in KiB.
    pub resident_kib: u64,
    /// The part of it that is the process's own, not the program's text.
    pub anonymous_kib: u64,
    /// The most that was resident since the start, or since [`forget_peak`].
    pub peak_kib: u64,
    cpu: Duration,
    at: Instant,
}

/// What a process uses while nobody asks it anything.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Idle {
    /// Resident memory, in KiB.
    pub resident_kib: u64,
    /// The part of it that is the process's own, not the program's text.
    pub anonymous_kib: u64,
    /// Hundredths of one processor.
    pub cpu_percent: f64,
    /// Bytes of its data directory.
    pub disk_bytes: u64,
}

/// Looks at a process.
pub fn usage(pid: u32) -> Result<Usage> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).map_err(Failure::file("read", &path))?;
    let kib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).map_err(Failure::file("read", &path))?;
    // Behind the name, which may hold spaces: user and system time are the 12th and 13th fields.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok()).unwrap_or(0);
    Ok(Usage {
        resident_kib: kib("VmRSS:"),
        anonymous_kib: kib("RssAnon:"),
        peak_kib: kib("VmHWM:"),
        cpu: TICK * (ticks(11) + ticks(12)),
        at: Instant::now(),
    })
}

impl Usage {
    /// Hundredths of one processor that were used since `before`.
    pub fn cpu_percent_since(&self, before: &Usage) -> f64 {
        let passed = self.at.duration_since(before.at).as_secs_f64();
        100.0 * self.cpu.saturating_sub(before.cpu).as_secs_f64() / passed.max(f64::MIN_POSITIVE)
    }
}

/// Lets the peak of a process begin anew.
pub fn forget_peak(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").map_err(Failure::file("write", &path))
}

/// Bytes of all files in a folder.
pub fn disk_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            // It was deleted meanwhile.
            Err(_) => 0,
        })
        .sum()
}

/// Watches a process for a while.
pub fn idle(pid: u32, data: &Path, duration: Duration) -> Result<Idle> {
    let before = usage(pid)?;
    wait::pass(duration);
    let after = usage(pid)?;
    Ok(Idle {
        resident_kib: after.resident_kib,
        anonymous_kib: after.anonymous_kib,
        cpu_percent: after.cpu_percent_since(&before),
        disk_bytes: disk_bytes(data),
    })
}
