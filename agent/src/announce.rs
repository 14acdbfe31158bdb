//! Tells the log what is about to end: once for each of 30, 14, 7 and 2 days, and once more after a start.

use std::{collections::BTreeMap, time::Duration};

use quorate_license::{Ending, EndingKind, NodeId, TenantId, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::service::licensing::Licensing;

/// Between two looks, at most.
const EVERY: Duration = Duration::from_secs(60);
/// Between a change of the state and a look, so that a busy cluster is not looked at for each.
const AFTER_CHANGE: Duration = Duration::from_secs(1);

/// Runs until `stop`.
pub async fn run(licensing: Licensing, stop: CancellationToken) {
    let mut told = Told::default();
    let mut applied = licensing.views().subscribe();
    loop {
        look(&licensing, &mut told);
        let next = async {
            tokio::select! {
                _ = applied.changed() => tokio::time::sleep(AFTER_CHANGE).await,
                () = tokio::time::sleep(EVERY) => {}
            }
        };
        if stop.run_until_cancelled(next).await.is_none() {
            return;
        }
    }
}

/// What was told already: within how many days it ended then.
#[derive(Debug, Default)]
struct Told(BTreeMap<Key, u32>);

/// An end is another one when its time has changed.
type Key = (TenantId, EndingKind, Option<NodeId>, Timestamp);

impl Told {
    /// What of this is news. What a tenant does not have any more is forgotten.
    fn news(&mut self, tenant: &TenantId, endings: Vec<Ending>) -> Vec<Ending> {
        let key = |ending: &Ending| (tenant.clone(), ending.kind, ending.node, ending.ends_at);
        self.0.retain(|known, _| known.0 != *tenant || endings.iter().any(|ending| key(ending) == *known));
        let mut news = endings;
        news.retain(|ending| {
            let told = self.0.entry(key(ending)).or_insert(u32::MAX);
            let is_news = ending.within_days < *told;
            *told = ending.within_days.min(*told);
            is_news
        });
        news
    }
}

fn look(licensing: &Licensing, told: &mut Told) {
    let view = licensing.views().current();
    told.0.retain(|known, _| view.state.licenses().get(&known.0).is_some());
    for (tenant, _) in view.state.licenses().iter() {
        for ending in told.news(tenant, licensing.status(tenant).endings()) {
            tracing::warn!(
                event = "license_ending",
                %tenant,
                what = %ending.kind,
                node = ending.node.map(|node| node.0),
                ends_at = %ending.ends_at,
                days_left = ending.days_left,
                within_days = ending.within_days,
                "{} ends in {} days",
                ending.kind.text(),
                ending.days_left
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(ends_at_ms: i64, within_days: u32) -> Ending {
        let ends_at = Timestamp::from_unix_ms(ends_at_ms);
        Ending { kind: EndingKind::Term, node: None, ends_at, days_left: within_days, within_days }
    }

    #[test]
    fn each_threshold_is_told_once_and_a_new_end_anew() {
        let (mut told, tenant) = (Told::default(), TenantId::default_tenant());
        let mut count = |endings| told.news(&tenant, endings).len();
        for (endings, expected) in [
            (vec![ending(1, 30)], 1),
            (vec![ending(1, 30)], 0),
            (vec![ending(1, 14)], 1),
            // A clock that is corrected backwards is no news.
            (vec![ending(1, 30)], 0),
            (vec![ending(1, 7), ending(2, 30)], 2),
            (vec![], 0),
            (vec![ending(2, 30)], 1),
        ] {
            assert_eq!(count(endings.clone()), expected, "{endings:?}");
        }
    }
}
