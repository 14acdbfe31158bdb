//! Node statements: what each node says of itself in an activation, signed by its identity key.
//!
//! The signature covers the activation's context and the node's whole row, as the canonical protobuf
//! message `IntegrityKey.StatementBody` (see `proto/quorate/v1/integrity_key.proto`). So a statement
//! can't be carried over to another activation, cluster, epoch or tenant.

use prost::Message;

use crate::{
    ActivationKind, BadSignature, ClusterId, Epoch, NodeKey, NodeRow, NodeSignature, Nonce, SignatureDomain,
    TenantId, wire,
};

/// The activation that a statement is made for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StatementContext {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// Its current epoch.
    pub epoch: Epoch,
    /// Names the activation.
    pub nonce: Nonce,
    /// What kind it is of.
    pub kind: ActivationKind,
    /// The licensee.
    pub tenant: TenantId,
}

impl StatementContext {
    /// The bytes that a node signs.
    fn message(&self, row: &NodeRow) -> Vec<u8> {
        wire::StatementBody {
            cluster_id: self.cluster_id.0.to_vec(),
            epoch: Some(self.epoch.into()),
            nonce: self.nonce.0.to_vec(),
            kind: wire::Kind::from(self.kind).into(),
            tenant: self.tenant.to_string(),
            row: Some(row.into()),
        }
        .encode_to_vec()
    }
}

/// A node's row with its signature.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NodeStatement {
    /// What the node says of itself.
    pub row: NodeRow,
    /// By the key in the row.
    pub signature: NodeSignature,
}

impl NodeStatement {
    /// A node's statement about itself for one activation.
    pub fn sign(context: &StatementContext, row: NodeRow, key: &NodeKey) -> Self {
        let signature = key.sign(SignatureDomain::NodeStatement, &context.message(&row));
        NodeStatement { row, signature }
    }

    /// Checks that the key in the row signed this row for this activation.
    ///
    /// # Errors
    ///
    /// [`BadSignature`] if it didn't.
    pub fn verify(&self, context: &StatementContext) -> Result<(), BadSignature> {
        self.row.key.verify(SignatureDomain::NodeStatement, &context.message(&self.row), &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EpochId, samples};

    #[test]
    fn a_statement_holds_in_its_context_only() {
        let context = samples::integrity_key().context();
        let statement = NodeStatement::sign(&context, samples::row(1), &samples::node_key(1));
        assert_eq!(statement.verify(&context), Ok(()));
        let others = [
            StatementContext { cluster_id: ClusterId([9; 16]), ..context.clone() },
            StatementContext { epoch: Epoch { number: 2, ..context.epoch }, ..context.clone() },
            StatementContext { epoch: Epoch { id: EpochId([9; 16]), ..context.epoch }, ..context.clone() },
            StatementContext { nonce: Nonce([9; 16]), ..context.clone() },
            StatementContext { kind: ActivationKind::Trial, ..context.clone() },
            StatementContext { tenant: "other".parse().unwrap(), ..context.clone() },
        ];
        for other in others {
            assert!(statement.verify(&other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn every_field_of_the_row_is_signed() {
        let context = samples::integrity_key().context();
        let statement = NodeStatement::sign(&context, samples::row(1), &samples::node_key(1));
        let changes: [fn(&mut NodeRow); 7] = [
            |row| row.id = samples::node_id(2),
            |row| row.role = crate::NodeRole::Spooler,
            |row| row.computer_id = samples::computer_id(2),
            |row| row.build = None,
            |row| row.agent_version.push('1'),
            |row| row.key = samples::node_key(2).public(),
            |row| row.start_counter += 1,
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut changed = statement.clone();
            change(&mut changed.row);
            assert!(changed.verify(&context).is_err(), "change {index}");
        }
    }
}
