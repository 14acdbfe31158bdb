//! The one place that asks the operating system for randomness.

use zeroize::Zeroizing;

use crate::console;

/// The operating system has no randomness to give; nothing that needs a secret can go on.
///
/// Linux has it from shortly after its start on, so this is met only on a broken host.
fn fill(bytes: &mut [u8]) {
    if let Err(cause) = getrandom::fill(bytes) {
        // A guessable key would be worse than no portal.
        console::complain(&format!(
            "quorate-portal: the operating system gives no random numbers ({cause}); stopping"
        ));
        std::process::abort();
    }
}

/// Random bytes for a secret, wiped when dropped.
pub fn secret<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    fill(bytes.as_mut_slice());
    bytes
}

/// Random bytes for an id.
pub fn id<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

/// A number from 0 to `limit - 1` (0 if `limit` is 0), for pauses; its slight bias doesn't matter there.
pub fn below(limit: u64) -> u64 {
    u64::from_le_bytes(id()) % limit.max(1)
}
