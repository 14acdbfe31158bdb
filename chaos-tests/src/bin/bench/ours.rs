//! Our side: changes at the leader's administrator socket, and what a product asks.

use std::{path::Path, time::Duration};

use quorate_chaos_tests::{
    Failure, Result,
    client::{admin_client, channel, runtime},
    portal::COUNTED_FEATURE,
};
use quorate_proto::v1::{
    CheckRequest, CreateTokenRequest, RevokeTokenRequest, license_service_client::LicenseServiceClient,
};

use crate::{
    WRITERS,
    load::{self, Sample},
};

/// Connections at most; more clients share them, as they do in a server that is a client of another.
pub(crate) const CONNECTIONS: usize = 8;

/// A cluster holds so many tokens at most (131,072), with some room.
const ALL_CHANGES: u64 = 120_000;

/// Writers that fill a cluster.
pub(crate) const FILLERS: usize = 256;

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

/// Makes so many tokens, and then as many further entries as are missing of `entries`.
pub(crate) fn fill(socket: &Path, objects: u64, entries: u64) -> Result<()> {
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| admin_client(channel(socket))).collect();
    let for_ever = Duration::from_secs(3600);
    let client = |index: usize| clients[index % clients.len()].clone();
    load::run(FILLERS, for_ever, objects, client, |mut client, number| async move {
        let message = CreateTokenRequest {
            label: format!("object-{number:08}"),
            ttl_seconds: 24 * 3600,
            request_id: rand::random::<[u8; 16]>().to_vec(),
            ..Default::default()
        };
        client.create_token(message).await.map(|_| ())
    })?;
    revoke(socket, FILLERS, for_ever, entries.saturating_sub(objects)).map(|_| ())
}

/// Changes that leave nothing behind, by one writer.
pub(crate) fn revocations(socket: &Path, duration: Duration) -> Result<Sample> {
    revoke(socket, 1, duration, u64::MAX)
}

/// Revokes one token again and again: entries without objects.
fn revoke(socket: &Path, writers: usize, duration: Duration, most: u64) -> Result<Sample> {
    let clients: Vec<_> = (0..writers.min(CONNECTIONS)).map(|_| admin_client(channel(socket))).collect();
    let message = CreateTokenRequest {
        label: "revoked".to_owned(),
        ttl_seconds: 24 * 3600,
        request_id: rand::random::<[u8; 16]>().to_vec(),
        ..Default::default()
    };
    let mut first = clients[0].clone();
    let made = runtime().block_on(async move { first.create_token(message).await });
    let id = made.map_err(|status| Failure::wrong(status.message()))?.into_inner().id;
    let client = |index: usize| clients[index % clients.len()].clone();
    load::run(writers, duration, most, client, move |mut client, _| {
        let message = RevokeTokenRequest { id: id.clone() };
        async move { client.revoke_token(message).await.map(|_| ()) }
    })
}
