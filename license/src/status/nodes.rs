//! The installation as bound against the installation as it is.

use super::{IntegrityScope, ReactivationReason, RegisteredNode, UnboundNode};
use crate::{Binding, BoundNode, NodeId};

/// What differs between binding and registered nodes.
pub(super) struct Difference {
    /// Changed builds, by current node id.
    pub builds: Vec<ReactivationReason>,
    /// Bound nodes that are not registered any more.
    pub missing: Vec<NodeId>,
    /// Registered nodes that are not bound, with the end of their time.
    pub unbound: Vec<UnboundNode>,
}

/// A host is the same if computer ID and role are: a node set up anew on its host has a new id and is
/// still bound.
fn is(bound: &BoundNode, node: &RegisteredNode) -> bool {
    bound.computer_id == node.computer_id && bound.role == node.role
}

pub(super) fn compare(binding: &Binding, nodes: &[RegisteredNode], scope: IntegrityScope) -> Difference {
    let mut difference = Difference { builds: Vec::new(), missing: Vec::new(), unbound: Vec::new() };
    for bound in binding.nodes.iter().filter(|bound| scope.includes(bound.role)) {
        if !nodes.iter().any(|node| is(bound, node)) {
            difference.missing.push(bound.id);
        }
    }
    for node in nodes.iter().filter(|node| scope.includes(node.role)) {
        match binding.nodes.iter().find(|bound| is(bound, node)) {
            None => {
                // A node that was there before the activation, but out of scope, gets its time as well.
                let since = node.joined_at.max(binding.issued_at);
                let until = since.plus_days(binding.graces.unbound_days);
                difference.unbound.push(UnboundNode { node: node.id, until });
            }
            Some(bound) => difference.builds.extend(changed_build(bound, node)),
        }
    }
    difference.unbound.sort_by_key(|unbound| unbound.node);
    difference
}

/// A node that doesn't tell its build now has not changed it.
fn changed_build(bound: &BoundNode, node: &RegisteredNode) -> Option<ReactivationReason> {
    let current = node.build.as_ref().filter(|current| bound.build.as_ref() != Some(*current))?;
    Some(ReactivationReason::BuildChanged {
        node: node.id,
        bound: bound.build.clone(),
        current: current.clone(),
    })
}
