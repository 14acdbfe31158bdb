//! What readers see while the state changes.

use quorate_raft_store::{View, Views, raft_types::log_id};

use crate::{replica::Replica, sample};

fn view(replica: &Replica) -> View {
    View {
        state: replica.state().clone(),
        applied: Some(log_id(1, replica.last_index())),
        digest: replica.applier.digest(),
        ..View::default()
    }
}

#[test]
fn readers_keep_the_view_that_they_took_and_are_told_of_a_newer_one() {
    let mut replica = Replica::with_nodes(1);
    let views = Views::new(view(&replica));
    let (taken, mut applied) = (views.current(), views.subscribe());
    assert_eq!(*applied.borrow_and_update(), 1);

    replica.join_up_to(3);
    assert!(!applied.has_changed().unwrap(), "nothing is seen before it is published");
    assert_eq!(views.current().state.nodes().len(), 1);
    views.publish(view(&replica));
    assert!(applied.has_changed().unwrap());
    assert_eq!(*applied.borrow_and_update(), replica.last_index());
    assert_eq!((taken.state.nodes().len(), taken.applied_index()), (1, 1));
    assert_eq!(views.current().state.nodes().len(), 3);
    assert_eq!(views.current().state.node_named(&sample::name(3)).unwrap().id, sample::node_id(3));
}

#[test]
fn before_the_first_entry_nothing_is_applied() {
    let views = Views::new(View::default());
    assert_eq!(views.current().applied_index(), 0);
    assert!(views.current().state.cluster().is_none());
    assert_eq!(*views.subscribe().borrow(), 0);
}
