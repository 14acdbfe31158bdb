//! Our side: changes at the leader's administrator socket, and what a product asks.

use std::{path::Path, time::Duration};

use quorate_chaos_tests::{
    Result,
    client::{admin_client, channel},
    portal::COUNTED_FEATURE,
};
use quorate_proto::v1::{CheckRequest, CreateTokenRequest, license_service_client::LicenseServiceClient};

use crate::{
    WRITERS,
    load::{self, Sample},
};

/// Connections at most; more clients share them, as they do in a server that is a client of another.
pub(crate) const CONNECTIONS: usize = 8;

/// A cluster holds so many tokens at most (65,536), with some room.
const ALL_CHANGES: u64 = 60_000;

/// Changes: each makes an administrator's token.
pub(crate) fn changes(socket: &Path, writers: usize, duration: Duration, rounds: usize) -> Result<Sample> {
    let clients: Vec<_> = (0..writers.min(CONNECTIONS)).map(|_| admin_client(channel(socket))).collect();
    let most = ALL_CHANGES / (WRITERS.len() * rounds.max(1)) as u64;
    load::run(
        writers,
        duration,
        most,
        |index| clients[index % clients.len()].clone(),
        |mut client, number| async move {
            let message = CreateTokenRequest {
                label: format!("bench-{number:08}"),
                ttl_seconds: 3600,
                request_id: rand::random::<[u8; 16]>().to_vec(),
                ..Default::default()
            };
            client.create_token(message).await.map(|_| ())
        },
    )
}

/// Reads: whether a licensed feature may be used.
pub(crate) fn checks(socket: &Path, readers: usize, duration: Duration) -> Result<Sample> {
    let clients: Vec<_> =
        (0..readers.min(CONNECTIONS)).map(|_| LicenseServiceClient::new(channel(socket))).collect();
    load::run(
        readers,
        duration,
        u64::MAX,
        |index| clients[index % clients.len()].clone(),
        |mut client, _| async move {
            let message =
                CheckRequest { feature: COUNTED_FEATURE.to_owned(), quantity: 1, ..Default::default() };
            let answer = client.check(message).await?.into_inner();
            if answer.allowed { Ok(()) } else { Err(tonic::Status::internal(answer.message)) }
        },
    )
}
