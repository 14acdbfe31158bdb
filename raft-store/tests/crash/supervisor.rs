//! The rounds: start a child, kill it, perhaps take the power away, check.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use quorate_raft_store::{disk::OpenError, failpoint::FAILPOINTS, mutant::Mutant};
use tempfile::TempDir;

use crate::{
    child::Task,
    model::{Crash, Model},
    power::{Durable, cut_synced},
    random::Random,
    store::open,
    syscalls::{self, Fault},
};

/// After this many rounds a new store is begun.
const ROUNDS_PER_STORE: u64 = 25;
const STEPS: u64 = 80;
/// With so many kills every failpoint is met.
const ENOUGH_FOR_ALL: u64 = 300;

/// Runs rounds, and counts.
pub(crate) struct Supervisor {
    seed: u64,
    mutant: Option<Mutant>,
    random: Random,
    site: Site,
    round: u64,
    rounds_here: u64,
    counts: BTreeMap<&'static str, u64>,
    points: BTreeMap<&'static str, u64>,
    acknowledged: u64,
}

/// One store, and what is known of it.
struct Site {
    folder: TempDir,
    model: Model,
    durable: Durable,
    /// How much of the notes was read.
    read: usize,
    /// The worst since the last check.
    crash: Crash,
}

impl Site {
    fn new(seed: u64) -> Site {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("copies")).unwrap();
        Site { folder, model: Model::new(seed), durable: Durable::default(), read: 0, crash: Crash::Process }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Reads what a dead child has noted. Returns the last notes of a kind that tells how it ended.
    fn read_notes(&mut self) -> Result<Vec<String>, String> {
        let text = fs::read_to_string(self.folder.path().join("events")).unwrap_or_default();
        let mut endings = Vec::new();
        for note in text[self.read..].lines() {
            self.durable.follow(note);
            self.model.follow(note)?;
            if note.starts_with(['O', 'E', 'F']) {
                endings.push(note.to_owned());
            }
        }
        self.read = text.len();
        Ok(endings)
    }
}

/// A child has long done its task by then.
const CHILD_ENDS_WITHIN: Duration = Duration::from_secs(60);

/// Waits for the end of a child, and ends it if it hangs: whether it ended by itself.
fn ends_in_time(child: &mut Child) -> std::io::Result<bool> {
    let begun = Instant::now();
    while child.try_wait()?.is_none() {
        if begun.elapsed() > CHILD_ENDS_WITHIN {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        #[allow(clippy::disallowed_methods, reason = "a process is looked at until it has ended")]
        thread::sleep(Duration::from_millis(1));
    }
    Ok(true)
}

/// How a child is killed.
#[derive(Debug)]
enum Kill {
    At(&'static str, u64),
    After(Duration),
    Never,
}

impl Supervisor {
    pub(crate) fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        Supervisor {
            seed,
            mutant,
            random: Random::of(seed, &[0x5ba7]),
            site: Site::new(seed),
            round: 0,
            rounds_here: 0,
            counts: BTreeMap::new(),
            points: BTreeMap::new(),
            acknowledged: 0,
        }
    }

    /// What was done, in words.
    pub(crate) fn told(&self) -> String {
        let mut parts: Vec<String> =
            self.counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
        parts.push(format!("{} of {} failpoints met", self.points.len(), FAILPOINTS.len()));
        parts.push(format!("{} acknowledged entries", self.acknowledged + self.site.model.acknowledgements));
        parts.join(", ")
    }

    /// Keeps the store for whoever looks into a violation.
    pub(crate) fn keep(self) -> PathBuf {
        self.site.folder.keep()
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// A new store, once the old one has seen enough.
    fn renew(&mut self, at_once: bool) {
        self.rounds_here += 1;
        if at_once || self.rounds_here > ROUNDS_PER_STORE {
            self.acknowledged += self.site.model.acknowledgements;
            self.site = Site::new(self.seed);
            self.rounds_here = 0;
        }
    }

    fn some_kill(&mut self) -> Kill {
        if self.random.one(3) {
            return Kill::After(Duration::from_micros(2_000 + self.random.below(60_000)));
        }
        // The points that were met least often come first.
        let least =
            FAILPOINTS.iter().map(|name| self.points.get(name).copied().unwrap_or(0)).min().unwrap_or(0);
        let rare: Vec<&'static str> = FAILPOINTS
            .into_iter()
            .filter(|name| self.points.get(name).copied().unwrap_or(0) <= least + 1)
            .collect();
        let name = rare[self.random.below(rare.len() as u64) as usize];
        let often = name.starts_with("store.append")
            || name.starts_with("store.apply")
            || name == "store.floor.written";
        let skip =
            if name.starts_with("store.open") { 0 } else { self.random.below(if often { 40 } else { 5 }) };
        Kill::At(name, skip)
    }

    /// Runs a child until it ends or is killed. Returns whether it was killed, and its last notes.
    fn child(&mut self, kill: &Kill, fault: Option<Fault>) -> Result<(bool, Vec<String>), String> {
        self.round += 1;
        let slow = self.random.one(3);
        let delay = if slow { self.random.below(2_500) } else { 0 };
        let task = Task {
            folder: self.site.folder.path().to_owned(),
            seed: self.seed,
            round: self.round,
            steps: STEPS,
            sync_delay: Duration::from_micros(delay),
            fault,
        };
        let (variable, value) = task.to_environment();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(variable, value).env_remove("FAILPOINTS").stdout(Stdio::null()).stderr(Stdio::piped());
        if let Kill::At(name, skip) = kill {
            command.env("FAILPOINTS", format!("{name}={skip}*off->return"));
        }
        if let Some(mutant) = self.mutant {
            command.env("QUORATE_MUTANT", mutant.name());
        }
        let mut child = command.spawn().map_err(harness)?;
        if let Kill::After(time) = kill {
            #[allow(
                clippy::disallowed_methods,
                reason = "the kill comes at any time: nothing is waited for"
            )]
            thread::sleep(*time);
            child.kill().map_err(harness)?;
        }
        if !ends_in_time(&mut child).map_err(harness)? {
            return Err(format!("{HARNESS}a child does not end: {kill:?}"));
        }
        let output = child.wait_with_output().map_err(harness)?;
        let endings = self.site.read_notes()?;
        let killed = match (output.status.signal(), kill) {
            (Some(6), Kill::At(name, _)) => {
                *self.points.entry(name).or_default() += 1;
                true
            }
            (Some(9), _) => true,
            (None, _) if output.status.success() => false,
            _ => {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(format!("a child ended by itself ({}): {said}", output.status));
            }
        };
        match endings.iter().find_map(|note| note.strip_prefix("O ")) {
            Some(refusal) if fault.is_none() => Err(format!("the store refused to open: {refusal}")),
            _ => Ok((killed, endings)),
        }
    }

    /// Opens the store and compares it with the model.
    fn check(&mut self) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let folder = self.site.folder.path();
        // Opening makes files and syncs them, and that counts as well.
        syscalls::watch(&folder.join("events"), &folder.join("copies"), Duration::ZERO, None);
        let checked = match open(&self.site.store()) {
            Ok(mut store) => runtime.block_on(self.site.model.check(&mut store, self.site.crash)),
            Err(error) => Err(format!("the store refused to open: {error}")),
        };
        syscalls::unwatch();
        self.site.read_notes()?;
        self.site.crash = Crash::Process;
        self.count("checks");
        checked
    }

    /// Every killed store holds what it promised.
    pub(crate) fn kills(&mut self, count: u64) -> Result<(), String> {
        let mut killed = 0;
        while killed < count {
            let kill = self.some_kill();
            let (was_killed, _) = self.child(&kill, None)?;
            if was_killed {
                killed += 1;
                self.count("kills");
            }
            // Sometimes the next one finds what was left, without a check in between.
            if !self.random.one(3) {
                self.check()?;
            }
            self.renew(false);
        }
        let unmet: Vec<_> = FAILPOINTS.iter().filter(|name| !self.points.contains_key(**name)).collect();
        if count >= ENOUGH_FOR_ALL && !unmet.is_empty() {
            return Err(format!("nobody was killed at {unmet:?}"));
        }
        Ok(())
    }

    /// Every store that lost its power holds what it promised.
    pub(crate) fn power_losses(&mut self, count: u64) -> Result<(), String> {
        let mut lost = 0;
        while lost < count {
            let kill = self.some_kill();
            if !self.child(&kill, None)?.0 {
                continue;
            }
            let (store, copies) = (self.site.store(), self.site.folder.path().join("copies"));
            let durable = self.site.durable.clone();
            let suffered = durable.lose_power(&store, &copies, &mut self.random).map_err(harness)?;
            if suffered > 0 {
                lost += 1;
                self.count("power losses");
            }
            self.site.durable = Durable::after_power_loss(&store).map_err(harness)?;
            self.site.crash = Crash::Power;
            if !self.random.one(3) {
                self.check()?;
            }
            self.renew(false);
        }
        Ok(())
    }

    /// A store whose synced bytes were cut is refused, or has lost nothing by it.
    pub(crate) fn cuts(&mut self, count: u64) -> Result<(), String> {
        for _ in 0..count {
            let kill = Kill::At("store.append.synced", 4 + self.random.below(40));
            self.child(&kill, None)?;
            let store = self.site.store();
            if !cut_synced(&self.site.durable, &store, &mut self.random).map_err(harness)? {
                continue;
            }
            self.site.crash = Crash::Power;
            match open(&store) {
                Ok(opened) => {
                    drop(opened);
                    self.check()?;
                    self.count("cuts that took nothing promised");
                }
                Err(OpenError::Damaged { .. }) => {
                    self.count("cuts refused");
                    self.stays_refused()?;
                }
                Err(other) => return Err(format!("refused, but not as damaged: {other}")),
            }
            self.renew(true);
        }
        match self.counts.get("cuts refused") {
            Some(_) => Ok(()),
            None => Err("no cut was refused".to_owned()),
        }
    }

    /// A refused store is refused again, with its reason, and nothing of it is deleted.
    fn stays_refused(&self) -> Result<(), String> {
        let store: PathBuf = self.site.store();
        if !store.join("quarantine").exists() || !store.join("db").exists() {
            return Err("there is no note of a quarantine, or no database any more".to_owned());
        }
        match open(&store) {
            Err(OpenError::Damaged { reason, files, .. }) if !reason.is_empty() && !files.is_empty() => {
                Ok(())
            }
            Err(other) => Err(format!("refused differently the second time: {other}")),
            Ok(_) => Err("opened at the second attempt".to_owned()),
        }
    }

    /// A call that failed while the store was opened: the reason is told, and it is no damage.
    fn refused_for(&mut self, fault: Fault, refusal: &str) -> Result<(), String> {
        let told = refusal.contains("No space left") || refusal.contains("Input/output error");
        if !told || self.site.store().join("quarantine").exists() {
            return Err(format!("{fault:?}: refused at the start, but so: {refusal}"));
        }
        self.count("failed calls at the start");
        self.check()?;
        self.renew(true);
        Ok(())
    }

    /// A failed write or sync is final: nothing is tried again, everybody hears the first reason.
    pub(crate) fn faults(&mut self, count: u64) -> Result<(), String> {
        for number in 0..count {
            let at = 1 + self.random.below(30);
            let fault = match number % 4 {
                0 => Fault::Sync(at),
                1 => Fault::Full(at),
                2 => Fault::FloorSync(1 + at % 4),
                _ => Fault::Table(1 + at % 3),
            };
            let (_, endings) = self.child(&Kill::Never, Some(fault))?;
            if let Some(refusal) = endings.iter().find_map(|note| note.strip_prefix("O ")) {
                self.refused_for(fault, refusal)?;
                continue;
            }
            let Some(told) = endings.iter().find_map(|note| note.strip_prefix("F ")) else {
                // It was over before.
                continue;
            };
            self.count("failed calls");
            let mut fields = told.splitn(3, ' ');
            let mut number = || fields.next().and_then(|field| field.parse::<u64>().ok()).unwrap();
            let (failed, after) = (number(), number());
            let said = fields.next().unwrap_or_default();
            // Tables are written in the background, which is noticed with the next applied entries.
            let counts = matches!(fault, Fault::Table(_)) || (failed == 1 && after == 0);
            if !counts || said.contains("ACCEPTED") {
                return Err(format!("{fault:?}: {failed} calls failed, {after} came after: {said}"));
            }
            let reasons = ["No space left", "Input/output error", "in writing its tables"];
            if !reasons.iter().any(|reason| said.contains(reason)) {
                return Err(format!("{fault:?}: the reason is not told: {said}"));
            }
            // A restart finds what was acknowledged before.
            self.check()?;
            self.renew(true);
        }
        Ok(())
    }
}

/// What went wrong with the test itself says nothing of the store.
pub(crate) const HARNESS: &str = "the test itself: ";

fn harness(error: std::io::Error) -> String {
    format!("{HARNESS}{error}")
}
