//! Messages that carry a secret print without it.
//!
//! Their `Debug` is not generated (see `build.rs`): a message is easily printed, in a log or an error.

use std::fmt;

use crate::{node::v1 as node, v1};

/// Prints the named fields, and says that there are others.
macro_rules! prints_only {
    ($($message:ty: $name:literal, $($field:ident),*;)*) => {$(
        impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct($name)$(.field(stringify!($field), &self.$field))*.finish_non_exhaustive()
            }
        }
    )*};
}

prints_only! {
    node::JoinRequest: "JoinRequest", name, role, computer_id;
    node::JoinResponse: "JoinResponse", cluster_id, node_id, role;
    node::SignIntegrityKeyRequest: "SignIntegrityKeyRequest", ;
    v1::ActivateRequest: "ActivateRequest", kind, tenant, nodes;
    v1::CreateTokenResponse: "CreateTokenResponse", id, expires_at_ms;
    v1::OfflineRequest: "OfflineRequest", nonce, kind, page_url, superseded;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_with_secrets_print_without_them() {
        const SECRET: &str = "qj1-secret";
        let secret = || SECRET.to_owned();
        let bytes = || SECRET.as_bytes().to_vec();
        let printed = [
            format!("{:?}", node::JoinRequest { token: secret(), name: "ms-1".into(), ..Default::default() }),
            format!("{:?}", node::JoinResponse { management_key: bytes().into(), ..Default::default() }),
            format!("{:?}", node::SignIntegrityKeyRequest { integrity_key: bytes().into() }),
            format!("{:?}", v1::ActivateRequest { activation_key: secret(), ..Default::default() }),
            format!("{:?}", v1::CreateTokenResponse { token: secret(), ..Default::default() }),
            format!("{:?}", v1::OfflineRequest { integrity_key: secret(), ..Default::default() }),
        ];
        for text in printed {
            assert!(!text.contains(SECRET) && !text.contains("113, 106, 49"), "{text}");
        }
        assert!(
            format!("{:?}", node::JoinRequest { name: "ms-1".into(), ..Default::default() }).contains("ms-1")
        );
    }
}
