//! Whether an integrity key is what its nodes said: their statements and signatures.

use super::IntegrityKey;
use crate::{ComputerId, NodeId, NodeRole, NodeRow, SignatureDomain};

/// An integrity key is well-formed, but its nodes don't stand behind it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntegrityKeyRefusal {
    /// A node's statement is not signed by the key that it names, or for another activation.
    #[error(
        "the statement of node {node} is not signed by its key for this activation; start the activation again"
    )]
    Statement {
        /// Whose statement.
        node: NodeId,
    },
    /// Two nodes run on one computer, or on copies of one.
    #[error(
        "nodes {first} and {second} have the same computer ID {computer_id}; give the copy a machine id of its own and set it up anew"
    )]
    SameComputerId {
        /// One of them.
        first: NodeId,
        /// The other.
        second: NodeId,
        /// What they share.
        computer_id: ComputerId,
    },
    /// Two nodes have the same identity key: one's data directory is a copy of the other's.
    #[error(
        "nodes {first} and {second} have the same identity key; set up the one whose data directory was copied anew"
    )]
    SameKey {
        /// One of them.
        first: NodeId,
        /// The other.
        second: NodeId,
    },
    /// A signature by someone who is no Management Server in this key.
    #[error("node {node} signed the integrity key, but is no Management Server in it")]
    ForeignSigner {
        /// Who signed.
        node: NodeId,
    },
    /// A Management Server's signature doesn't match the content.
    #[error(
        "the signature of Management Server {node} doesn't match the integrity key; start the activation again"
    )]
    ManagementSignature {
        /// Whose signature.
        node: NodeId,
    },
    /// Some Management Servers have not signed.
    #[error("the integrity key is not signed by the Management Servers {}; have them sign it", list(nodes))]
    NotSignedBy {
        /// Which ones.
        nodes: Vec<NodeId>,
    },
}

fn list(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl IntegrityKey {
    /// Checks that every node signed its statement for this activation, that no two nodes share a
    /// computer ID or an identity key, and that exactly the Management Servers among the nodes signed
    /// the whole.
    ///
    /// # Errors
    ///
    /// [`IntegrityKeyRefusal`], in the order of its variants.
    pub fn verify_signatures(&self) -> Result<(), IntegrityKeyRefusal> {
        self.verify_statements()?;
        let digest = self.digest();
        for signature in &self.signatures {
            let node = signature.node;
            let row = self.management_row(node).ok_or(IntegrityKeyRefusal::ForeignSigner { node })?;
            row.key
                .verify(SignatureDomain::IntegrityKey, &digest, &signature.signature)
                .map_err(|_| IntegrityKeyRefusal::ManagementSignature { node })?;
        }
        let nodes = self.not_signed_by();
        if nodes.is_empty() { Ok(()) } else { Err(IntegrityKeyRefusal::NotSignedBy { nodes }) }
    }

    /// Checks that every node signed its statement for this activation, and that no two nodes share a computer ID or an
    /// identity key: what a Management Server looks at before it signs.
    ///
    /// # Errors
    ///
    /// [`IntegrityKeyRefusal`], the first three of its variants.
    pub fn verify_statements(&self) -> Result<(), IntegrityKeyRefusal> {
        let context = self.context();
        for statement in &self.nodes {
            let refused = |_| IntegrityKeyRefusal::Statement { node: statement.row.id };
            statement.verify(&context).map_err(refused)?;
        }
        self.verify_distinct()
    }

    /// The Management Servers among the nodes that have not signed yet, by id.
    pub fn not_signed_by(&self) -> Vec<NodeId> {
        let unsigned = |node: &NodeId| !self.signatures.iter().any(|signature| signature.node == *node);
        let management = self.nodes.iter().filter(|statement| statement.row.role == NodeRole::Management);
        let mut nodes: Vec<_> = management.map(|statement| statement.row.id).filter(unsigned).collect();
        nodes.sort_unstable();
        nodes
    }

    fn management_row(&self, node: NodeId) -> Option<&NodeRow> {
        let rows = self.nodes.iter().map(|statement| &statement.row);
        rows.into_iter().find(|row| row.id == node && row.role == NodeRole::Management)
    }

    fn verify_distinct(&self) -> Result<(), IntegrityKeyRefusal> {
        for (index, second) in self.nodes.iter().map(|statement| &statement.row).enumerate() {
            for first in self.nodes[..index].iter().map(|statement| &statement.row) {
                let (first_id, second_id, computer_id) = (first.id, second.id, second.computer_id);
                if first.computer_id == computer_id {
                    return Err(IntegrityKeyRefusal::SameComputerId {
                        first: first_id,
                        second: second_id,
                        computer_id,
                    });
                }
                if first.key == second.key {
                    return Err(IntegrityKeyRefusal::SameKey { first: first_id, second: second_id });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NodeStatement, samples};

    /// Replaces node `index` by `row`, which signs with the key of node `signer`.
    fn restate(key: &mut IntegrityKey, index: usize, row: NodeRow, signer: u8) {
        key.nodes[index] = NodeStatement::sign(&key.context(), row, &samples::node_key(signer));
    }

    fn sign_all(key: &mut IntegrityKey) {
        key.signatures.clear();
        for index in 1..=3 {
            key.add_signature(key.signature_by(samples::node_id(index), &samples::node_key(index)));
        }
    }

    #[test]
    fn a_key_that_everyone_signed_is_accepted() {
        assert_eq!(samples::integrity_key().verify_signatures(), Ok(()));
    }

    #[test]
    fn missing_management_signatures_are_named() {
        let mut key = samples::integrity_key();
        key.signatures.remove(1);
        let nodes = vec![samples::node_id(2)];
        assert_eq!(key.verify_signatures(), Err(IntegrityKeyRefusal::NotSignedBy { nodes }));
        key.signatures.clear();
        assert_eq!(key.not_signed_by(), [1, 2, 3].map(samples::node_id));
    }

    #[test]
    fn a_statement_of_another_activation_is_named() {
        let mut key = samples::integrity_key();
        key.nonce = crate::Nonce([0xbb; 16]);
        let node = samples::node_id(1);
        assert_eq!(key.verify_signatures(), Err(IntegrityKeyRefusal::Statement { node }));
    }

    #[test]
    fn clones_are_named() {
        let mut key = samples::integrity_key();
        let computer_id = samples::computer_id(1);
        restate(&mut key, 3, NodeRow { computer_id, ..samples::row(4) }, 4);
        let (first, second) = (samples::node_id(1), samples::node_id(4));
        let refusal = IntegrityKeyRefusal::SameComputerId { first, second, computer_id };
        assert_eq!(key.verify_signatures(), Err(refusal));
        let public = samples::node_key(1).public();
        restate(&mut key, 3, NodeRow { key: public, ..samples::row(4) }, 1);
        assert_eq!(key.verify_signatures(), Err(IntegrityKeyRefusal::SameKey { first, second }));
    }

    #[test]
    fn only_management_servers_in_the_key_may_sign_it() {
        let mut key = samples::integrity_key();
        let node = samples::node_id(4);
        key.add_signature(key.signature_by(node, &samples::node_key(4)));
        assert_eq!(key.verify_signatures(), Err(IntegrityKeyRefusal::ForeignSigner { node }));
        let mut key = samples::integrity_key();
        let node = samples::node_id(2);
        key.add_signature(key.signature_by(node, &samples::node_key(3)));
        assert_eq!(key.verify_signatures(), Err(IntegrityKeyRefusal::ManagementSignature { node }));
    }

    #[test]
    fn the_digest_covers_every_field() {
        let changes: [fn(&mut IntegrityKey); 10] = [
            |k| k.fence = crate::Fence(9),
            |k| k.first_license_node = samples::node_id(2),
            |k| k.activation_key = Some(crate::ActivationKey::from_entropy([1; 15])),
            |k| k.support_id = None,
            |k| k.serials.clear(),
            |k| k.binding_serial = crate::Serial(9),
            |k| k.superseded.clear(),
            |k| k.telemetry = false,
            |k| k.epoch.number = 2,
            |k| k.nodes.truncate(3),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut key = samples::integrity_key();
            let before = key.digest();
            change(&mut key);
            assert_ne!(key.digest(), before, "change {index}");
            assert!(key.verify_signatures().is_err(), "change {index}");
        }
        let mut key = samples::integrity_key();
        let before = key.digest();
        sign_all(&mut key);
        assert_eq!(key.digest(), before);
    }
}
