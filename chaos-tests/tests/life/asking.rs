//! Products that never stop asking: one on every node, from the start of a step to its end.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use quorate_chaos_tests::{
    Node,
    wait::{self, PATIENCE, Seen},
};

/// Between two questions of a product.
const PAUSE: Duration = Duration::from_millis(10);

/// The products of some nodes.
pub(crate) struct Products {
    done: Arc<AtomicBool>,
    products: Vec<Product>,
}

struct Product {
    node: String,
    gate: Arc<Mutex<()>>,
    asked: Arc<AtomicU64>,
    thread: JoinHandle<Answers>,
}

/// What the product of a node was told.
#[derive(Debug, Default)]
struct Answers {
    reasons: BTreeSet<String>,
    refused: Vec<String>,
}

impl Products {
    /// One for each node; it asks for this much of a feature again and again. Each has asked when this returns.
    pub(crate) fn start(nodes: &[Node], feature: &'static str, quantity: u64) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let start = |node: &Node| Product::start(node, feature, quantity, done.clone());
        let products = Products { products: nodes.iter().map(start).collect(), done };
        products.wait_for_another_answer();
        products
    }

    /// The product of this node asks nothing while the guard lives: the node is down on purpose.
    pub(crate) fn hold(&self, node: usize) -> MutexGuard<'_, ()> {
        self.products[node].gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That every question so far was answered, and each answer was that it may, for one of these reasons. All of
    /// them were given, on every node.
    pub(crate) fn finish_allowed(self, reasons: &[&str]) {
        self.wait_for_another_answer();
        self.done.store(true, Ordering::SeqCst);
        for product in self.products {
            let (node, count) = (product.node, product.asked.load(Ordering::SeqCst));
            let answers = product.thread.join().unwrap();
            assert_eq!(answers.refused, Vec::<String>::new(), "{node} after {count} questions");
            let given: Vec<&str> = answers.reasons.iter().map(String::as_str).collect();
            assert_eq!(given, reasons, "{node} after {count} questions");
        }
    }

    fn wait_for_another_answer(&self) {
        for product in &self.products {
            let before = product.asked.load(Ordering::SeqCst);
            wait::until(&format!("the product of {} to ask", product.node), PATIENCE, || {
                // The one that is being asked may have been asked before.
                let asked = product.asked.load(Ordering::SeqCst) - before;
                Ok(Seen::when(asked >= 2, || format!("{asked} questions")))
            })
            .unwrap();
        }
    }
}

impl Product {
    fn start(node: &Node, feature: &'static str, quantity: u64, done: Arc<AtomicBool>) -> Self {
        let (gate, asked) = (Arc::new(Mutex::new(())), Arc::new(AtomicU64::new(0)));
        let (its_gate, its_asked, product) = (gate.clone(), asked.clone(), node.product());
        let thread = thread::spawn(move || {
            let mut answers = Answers::default();
            while !done.load(Ordering::SeqCst) {
                let open = its_gate.lock().unwrap_or_else(PoisonError::into_inner);
                let said = product.check(feature, quantity);
                drop(open);
                match said {
                    Ok(check) if check.allowed => {
                        answers.reasons.insert(check.reason);
                    }
                    Ok(check) => answers.refused.push(format!("{}: {}", check.reason, check.message)),
                    Err(failure) => answers.refused.push(failure.to_string()),
                }
                its_asked.fetch_add(1, Ordering::SeqCst);
                thread::sleep(PAUSE);
            }
            answers
        });
        Product { node: node.name.clone(), gate, asked, thread }
    }
}
