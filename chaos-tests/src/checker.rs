//! A product that never stops asking: each answer is compared with what the node's own license file says.

use std::{
    cell::RefCell,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use quorate_license::{
    ComputerId, ComputerIdSource, FeatureName, License, LicenseFile, MachineId, TrustRoots, VerifiedLicense,
    VerifyInput, verify_file,
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
    /// The texts that were verified last, and what they hold: signatures are checked once for each text.
    verified: RefCell<Option<(String, String, Held)>>,
}

/// What verified files hold.
#[derive(Clone)]
enum Held {
    Proven(Box<VerifiedLicense>),
    Read(Box<License>),
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
            verified: RefCell::new(None),
        }
    }

    /// Verifies the files without any agent and decides.
    ///
    /// # Errors
    /// The files can't be read, or are refused.
    pub fn decide(&self, feature: &str, quantity: u64) -> Result<(bool, &'static str)> {
        let name: FeatureName = feature.parse().map_err(|cause| self.refused(&cause))?;
        Ok(match self.held()? {
            Held::Proven(verified) => {
                let decision = verified.check(&name, quantity);
                (decision.allowed, decision.reason.code())
            }
            Held::Read(license) => match license.entitlement(&name) {
                None => (false, "feature_not_licensed"),
                Some(entitlement) if entitlement.covers(quantity) => (true, "licensed"),
                Some(_) => (false, "quantity_exceeded"),
            },
        })
    }

    fn held(&self) -> Result<Held> {
        let file = files::read(&self.license)?;
        let receipt = if self.bound { files::read(&self.receipt)? } else { String::new() };
        let mut verified = self.verified.borrow_mut();
        if let Some((_, _, held)) = verified.as_ref().filter(|(a, b, _)| *a == file && *b == receipt) {
            return Ok(held.clone());
        }
        let held = self.verify(&file, &receipt)?;
        *verified = Some((file, receipt, held.clone()));
        Ok(held)
    }

    fn verify(&self, file: &str, receipt: &str) -> Result<Held> {
        if !self.bound {
            let opened = LicenseFile::from_text(file).and_then(|file| file.open(&self.roots));
            return Ok(Held::Read(Box::new(opened.map_err(|cause| self.refused(&cause))?.0.claims)));
        }
        let machine_id = MachineId::parse(&files::read(&self.machine_id)?);
        let machine_id = machine_id.map_err(|cause| self.refused(&cause))?;
        let verified = verify_file(&VerifyInput {
            file,
            receipt: Some(receipt),
            roots: &self.roots,
            computer_id: &ComputerId::derive(&machine_id, ComputerIdSource::Host),
            build: None,
            now: now(),
            min_serial: None,
        });
        Ok(Held::Proven(Box::new(verified.map_err(|cause| self.refused(&cause))?)))
    }

    fn refused(&self, cause: &dyn std::fmt::Display) -> Failure {
        Failure::wrong(format!("{} is refused: {cause}", self.license.display()))
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
