//! Who is who by what nodes tell, as a table.

use super::*;
use crate::service::licensing::samples;

const START: u128 = 0xa;

fn told(index: u8) -> Told {
    Told {
        start: StartId(START + u128::from(index)),
        computer_id: samples::computer_id(index),
        key: samples::node_key(index).public(),
        address: format!("ms-{index}.example.com:7400"),
        since: Timestamp::ZERO.plus_days(1),
        answers: 10,
        last_log_index: 100,
    }
}

/// Three nodes as they are registered.
fn state() -> State {
    samples::Installation::licensed().view(7).state
}

fn all(change: impl FnOnce(&mut BTreeMap<NodeId, Told>)) -> BTreeMap<NodeId, Told> {
    let mut all = (1..=3).map(|index| (samples::node_id(index), told(index))).collect();
    change(&mut all);
    all
}

fn at(all: &mut BTreeMap<NodeId, Told>, index: u8) -> &mut Told {
    all.get_mut(&samples::node_id(index)).unwrap()
}

#[test]
fn what_is_told_of_who_is_who() {
    type Change = fn(&mut BTreeMap<NodeId, Told>);
    let cases: [(&str, Change, &[&str]); 7] = [
        ("all is well", |_| {}, &[]),
        (
            "a computer ID twice",
            |all| at(all, 2).computer_id = samples::computer_id(3),
            &["computer_id_cloned: node-2 node-3"],
        ),
        (
            "the other one is away",
            |all| {
                at(all, 2).computer_id = samples::computer_id(3);
                all.remove(&samples::node_id(3));
            },
            &["computer_id_changed: node-2"],
        ),
        (
            "a computer ID that nobody has",
            |all| at(all, 2).computer_id = samples::computer_id(9),
            &["computer_id_changed: node-2"],
        ),
        (
            "a node key twice",
            |all| at(all, 3).key = samples::node_key(1).public(),
            &["node_key_cloned: node-1 node-3"],
        ),
        (
            "a node key that nobody has",
            |all| at(all, 3).key = samples::node_key(9).public(),
            &["node_key_changed: node-3"],
        ),
        ("somebody who is no member", |all| drop(all.insert(samples::node_id(99), told(1))), &[]),
    ];
    for (what, change, expected) in cases {
        let found = compare(&state(), &all(change), None);
        let names = |alarm: &Alarm| {
            let named = (1..=4).map(|index| format!("node-{index}"));
            let named: Vec<String> = named.filter(|name| alarm.message.contains(name.as_str())).collect();
            format!("{}: {}", alarm.code, named.join(" "))
        };
        assert_eq!(found.iter().map(names).collect::<Vec<_>>(), expected, "{what}: {found:?}");
        assert!(found.iter().all(|alarm| ALARM_CODES.contains(&alarm.code.as_str())), "{what}");
    }
    let twice = compare(&state(), &all(|all| at(all, 2).computer_id = samples::computer_id(3)), None);
    for part in ["ms-2.example.com:7400", "ms-3.example.com:7400", "since 1970-01-02"] {
        assert!(twice[0].message.contains(part), "{twice:?}");
    }
    let refusal = Alarm::refusal(&twice).unwrap();
    assert_eq!((refusal.code.as_str(), refusal.kind), ("computer_id_cloned", ErrorKind::Refused));
    assert_eq!(Alarm::refusal(&[]), None);
}

fn leader_sees(matched: u64) -> LeaderView {
    let member =
        crate::cluster::MemberView { online: Some(true), matched: Some(matched), ..Default::default() };
    let members = (1..=3).map(|index| (samples::node_id(index), member)).collect();
    LeaderView { last_index: 100, members, ..LeaderView::default() }
}

#[tokio::test]
async fn a_node_that_goes_back_in_time_is_named() {
    let mut sightings = Sightings::default();
    let state = state();
    let now = Instant::now();
    let mut look = |told: &BTreeMap<NodeId, Told>| {
        sightings.look(&state, Some(&leader_sees(90)), 80, told);
        let alarms = sightings.alarms(now);
        alarms.iter().map(|alarm| format!("{} {}", alarm.code, alarm.subject)).collect::<Vec<_>>()
    };
    assert_eq!(look(&all(|_| {})), [""; 0]);
    assert_eq!(look(&all(|all| at(all, 2).answers = 11)), [""; 0]);

    // The machine was set back while the process ran: the same start has answered less often than before.
    assert_eq!(look(&all(|all| at(all, 2).answers = 5)), ["node_rolled_back node-2"]);
    assert_eq!(
        look(&all(|all| at(all, 2).answers = 50)),
        ["node_rolled_back node-2"],
        "counting on does not help"
    );
    let restarted = |all: &mut BTreeMap<NodeId, Told>| {
        let node = at(all, 2);
        (node.start, node.answers) = (StartId(77), 1);
    };
    assert_eq!(look(&all(restarted)), [""; 0], "another start counts anew");

    // The log is shorter than what the node has acknowledged, as far as that is committed.
    let shorter = |all: &mut BTreeMap<NodeId, Told>| {
        restarted(all);
        at(all, 3).last_log_index = 79;
    };
    assert_eq!(look(&all(shorter)), ["node_rolled_back node-3"]);
    assert_eq!(sightings.acknowledged(samples::node_id(3)), 80);

    // Whoever leads no more sees nothing; how far the others had come is still known.
    sightings.look(&state, None, 0, &BTreeMap::new());
    assert!(sightings.alarms(now).is_empty());
    assert_eq!(sightings.acknowledged(samples::node_id(3)), 80);
}

#[tokio::test]
async fn what_a_call_has_shown_is_kept_for_a_while_and_once() {
    let (mut sightings, now) = (Sightings::default(), Instant::now());
    let row = state().nodes().get(&samples::node_id(2)).unwrap().clone();
    let alarm = cloned_directory(&row, &told(2), "elsewhere:7400");
    for part in ["node-2", "ms-2.example.com:7400", "since 1970-01-02", "elsewhere:7400"] {
        assert!(alarm.message.contains(part), "{alarm:?}");
    }
    sightings.note(alarm.clone(), now);
    sightings.note(alarm.clone(), now + HOLD / 2);
    assert_eq!(sightings.alarms(now + HOLD), [alarm]);
    assert!(sightings.alarms(now + HOLD * 2).is_empty());
    for number in 0..2 * MOST_HEARD {
        sightings.note(Alarm::new("node_rolled_back", number, String::new()), now);
    }
    assert_eq!(sightings.heard(now).len(), MOST_HEARD);
}

#[test]
fn only_a_management_servers_word_counts_and_it_is_short() {
    let alarm = |number: usize| IdentityAlarm {
        code: "x".repeat(1000),
        subject: format!("{number}"),
        message: "\u{e9}".repeat(100_000),
    };
    let told = |role| told_by(role, (0..2 * MOST_HEARD).map(alarm).collect()).collect::<Vec<_>>();
    assert_eq!(told(NodeRole::Spooler), []);
    let heard = told(NodeRole::Management);
    assert_eq!(heard.len(), MOST_HEARD);
    assert!(heard.iter().all(|it| (it.code.len(), it.message.chars().count()) == (64, MOST_MESSAGE_CHARS)));
    let answered: usize = heard.iter().map(|it| it.code.len() + it.subject.len() + it.message.len()).sum();
    assert!(answered < 1 << 20, "an answer with {answered} bytes of alarms is not sent");
}
