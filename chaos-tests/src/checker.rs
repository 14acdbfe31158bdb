//! A product that never stops asking: each answer is compared with what the node's own license file says.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use quorate_license::{
    ComputerId, ComputerIdSource, FeatureName, LicenseFile, MachineId, TrustRoots, VerifyInput, verify_file,
};

use crate::{
    Failure, Node, Result,
    client::Product,
    fake_portal::now,
    files,
    portal::{COUNTED_FEATURE, DEVICES, UNLICENSED_FEATURE, UNLIMITED_FEATURE},
};

const PAUSE: Duration = Duration::from_millis(10);

/// What a product asks: a licensed feature, one without a limit, one that is not licensed, too large a quantity.
const QUESTIONS: [(&str, u64); 5] = [
    (COUNTED_FEATURE, 1),
    (COUNTED_FEATURE, DEVICES),
    (UNLIMITED_FEATURE, 1_000_000),
    (UNLICENSED_FEATURE, 1),
    (COUNTED_FEATURE, DEVICES + 1),
];

/// What a node's own files say about a feature: whether it is allowed, and the reason's code.
pub struct OwnFiles {
    license: PathBuf,
    receipt: PathBuf,
    machine_id: PathBuf,
    /// The node's host is in the binding. One that is not can't prove its file, only read it.
    bound: bool,
    roots: TrustRoots,
}

/// A thread that asks a node, from its start until [`Checker::finish`].
pub struct Checker {
    name: String,
    gate: Arc<Mutex<()>>,
    held: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    thread: JoinHandle<Findings>,
}

/// What a checker found.
#[derive(Debug, Default)]
pub struct Findings {
    /// The node.
    pub node: String,
    /// Rounds of all questions that were answered.
    pub rounds: u64,
    /// The longest time without a complete round, while the node was not held down.
    pub longest_gap: Duration,
    /// Answers that were missing or differ from the node's own file.
    pub wrong: Vec<String>,
}

impl OwnFiles {
    /// The files of a node.
    pub fn of(node: &Node, roots: TrustRoots, bound: bool) -> Self {
        OwnFiles {
            license: node.license_file(),
            receipt: node.receipt_file(),
            machine_id: node.machine_id_file.clone(),
            bound,
            roots,
        }
    }

    /// Verifies the files without any agent and decides.
    ///
    /// # Errors
    /// The files can't be read, or are refused.
    pub fn decide(&self, feature: &str, quantity: u64) -> Result<(bool, &'static str)> {
        let refused = |cause: &dyn std::fmt::Display| {
            Failure::wrong(format!("{} is refused: {cause}", self.license.display()))
        };
        let name: FeatureName = feature.parse().map_err(|cause| refused(&cause))?;
        let file = files::read(&self.license)?;
        if !self.bound {
            let opened = LicenseFile::from_text(&file).and_then(|file| file.open(&self.roots));
            let license = opened.map_err(|cause| refused(&cause))?.0.claims;
            return Ok(match license.entitlement(&name) {
                None => (false, "feature_not_licensed"),
                Some(entitlement) if entitlement.covers(quantity) => (true, "licensed"),
                Some(_) => (false, "quantity_exceeded"),
            });
        }
        let machine_id =
            MachineId::parse(&files::read(&self.machine_id)?).map_err(|cause| refused(&cause))?;
        let verified = verify_file(&VerifyInput {
            file: &file,
            receipt: Some(&files::read(&self.receipt)?),
            roots: &self.roots,
            computer_id: &ComputerId::derive(&machine_id, ComputerIdSource::Host),
            build: None,
            now: now(),
            min_serial: None,
        });
        let decision = verified.map_err(|cause| refused(&cause))?.check(&name, quantity);
        Ok((decision.allowed, decision.reason.code()))
    }
}

impl Checker {
    /// Begins to ask a node that runs and has its license.
    pub fn start(node: &Node, own: OwnFiles) -> Self {
        let (gate, held) = (Arc::new(Mutex::new(())), Arc::new(AtomicU64::new(0)));
        let done = Arc::new(AtomicBool::new(false));
        let (name, product) = (node.name.clone(), node.product());
        let (its_gate, its_held, its_done) = (Arc::clone(&gate), Arc::clone(&held), Arc::clone(&done));
        let mut findings = Findings { node: name.clone(), ..Findings::default() };
        let thread = thread::spawn(move || {
            let (mut last, mut last_held) = (Instant::now(), its_held.load(Ordering::SeqCst));
            while !its_done.load(Ordering::SeqCst) {
                {
                    let _open = its_gate.lock().unwrap_or_else(PoisonError::into_inner);
                    let holds = its_held.load(Ordering::SeqCst);
                    if holds != last_held {
                        (last, last_held) = (Instant::now(), holds);
                    }
                    findings.round(&product, &own);
                    findings.longest_gap = findings.longest_gap.max(last.elapsed());
                    last = Instant::now();
                }
                thread::sleep(PAUSE);
            }
            findings
        });
        Checker { name, gate, held, done, thread }
    }

    /// Nothing is asked while the guard lives: the node is down on purpose.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        let guard = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.held.fetch_add(1, Ordering::SeqCst);
        guard
    }

    /// Stops asking.
    ///
    /// # Errors
    /// The thread failed.
    pub fn finish(self) -> Result<Findings> {
        self.done.store(true, Ordering::SeqCst);
        self.thread.join().map_err(|_| Failure::wrong(format!("the checker of {} failed", self.name)))
    }
}

impl Findings {
    fn round(&mut self, product: &Product, own: &OwnFiles) {
        for (feature, quantity) in QUESTIONS {
            let said = match (product.check(feature, quantity), own.decide(feature, quantity)) {
                (Ok(answer), Ok((allowed, code))) if answer.allowed == allowed && answer.reason == code => {
                    continue;
                }
                (Ok(answer), Ok((allowed, code))) => format!(
                    "{feature} x {quantity}: the agent says {} ({}), the file says {allowed} ({code})",
                    answer.allowed, answer.reason
                ),
                (Err(failure), _) | (_, Err(failure)) => format!("{feature} x {quantity}: {failure}"),
            };
            // Enough to understand what is wrong.
            if self.wrong.len() < 10 {
                self.wrong.push(said);
            }
        }
        self.rounds += 1;
    }
}
