//! A product that watches its license, as its process would.

use std::time::Duration;

use quorate_chaos_tests::{
    Node,
    client::{channel, runtime},
    wait::PATIENCE,
};
use quorate_proto::v1::{
    GetLicenseResponse, Revision, WatchRequest, license_service_client::LicenseServiceClient,
};

/// One message, in short.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) index: u64,
    pub(crate) changed: bool,
    pub(crate) past: bool,
    pub(crate) status: String,
    pub(crate) serial: u64,
    pub(crate) has_token: bool,
}

/// What it remembers: the last revision, and, for the test, every message.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    pub(crate) seen: Option<Revision>,
    pub(crate) frames: Vec<Frame>,
}

impl Watcher {
    /// Connects, reads so many messages, and breaks off.
    pub(crate) fn read(&mut self, node: &Node, count: usize) {
        let goal = self.frames.len() + count;
        self.read_until(node, |frames| frames.len() >= goal);
    }

    /// Connects, reads until this is so, and breaks off.
    pub(crate) fn read_until(&mut self, node: &Node, done: impl Fn(&[Frame]) -> bool) {
        self.watch(node, Duration::ZERO, done);
    }

    /// The same with a pause before each message.
    pub(crate) fn read_slowly(&mut self, node: &Node, changes: usize, pause: Duration) {
        self.watch(node, pause, |frames| frames.iter().filter(|frame| frame.changed).count() >= changes);
    }

    fn watch(&mut self, node: &Node, pause: Duration, done: impl Fn(&[Frame]) -> bool) {
        let mut product = LicenseServiceClient::new(channel(&node.socket));
        let after = self.seen;
        let reading = async {
            let asked = WatchRequest { tenant: String::new(), after };
            let mut stream = product.watch(asked).await.unwrap().into_inner();
            while !done(&self.frames) {
                tokio::time::sleep(pause).await;
                let message = stream.message().await.unwrap().expect("the stream goes on");
                self.take(message);
            }
        };
        let limited = async { tokio::time::timeout(PATIENCE, reading).await };
        let outcome = runtime().block_on(limited);
        assert!(outcome.is_ok(), "{} did not tell more than {:?}", node.name, self.frames);
    }

    fn take(&mut self, message: GetLicenseResponse) {
        let revision = message.revision.expect("a node of a cluster knows a revision");
        self.seen = Some(revision);
        let license = message.license;
        self.frames.push(Frame {
            index: revision.index,
            changed: message.changed,
            past: message.past,
            status: message.status,
            serial: license.as_ref().map_or(0, |license| license.serial),
            has_token: license.is_some_and(|license| !license.license_token.is_empty()),
        });
    }
}
