//! The use case: an integrity key in, a license key out (design: "Activation", "The portal pins").
//!
//! ```text
//! body -> request.rs: read, name, digests          no database, no clock
//!      -> the same bytes answered before?           the stored answer, again
//!      -> verify.rs: signatures, duplicates         no database, no clock
//!      -> rules/, in one serializable transaction: order, installation, fence; one file for each kind
//!      -> issue.rs: binding and license, signed; rows; commit
//! ```
//!
//! Whatever fails in between, the same request can be sent again: it has either left nothing behind
//! or its stored answer.

mod entitled;
mod issue;
mod refusal;
mod request;
mod rules;
mod service;
mod terms;
mod verify;

pub use refusal::Refusal;
pub use request::RequestBody;
pub use service::{ActivationError, ActivationService, Answer};
pub(crate) use terms::{added, renew};
