//! `quorate join`: a further node, by a token.
//!
//! The server's CA is checked against the token before anything is sent. The node key is kept over
//! a repeat, so a `join` that was broken off can be run again and gets the same answer.

use std::{error::Error, sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use quorate_license::{ClusterId, Epoch, EpochId, NodeId, NodeKey, NodePublicKey, NodeRole, SignatureDomain};
use quorate_proto::node::v1::{JoinRequest, JoinResponse, cluster_service_client::ClusterServiceClient};
use quorate_raft_store::{FEATURE_LEVEL, seal::ManagementKey};
use rustls::{ClientConfig, pki_types::ServerName};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tonic::Status;
use zeroize::Zeroizing;

use super::{SetupError, addresses, brought, error::random};
use crate::{
    api::status_parts,
    config::Config,
    data_dir::{DataDir, NodeFile, TlsFiles, Trusted, identity},
    host,
    net::{ChannelOptions, tls_channel},
    pki::{
        Brought, CertificateFacts, JoinToken, NodeTlsKey, NotManagement, PeerIdentity, ca_certificates,
        ca_fingerprint, pinned_client,
    },
};

const DEADLINE: Duration = Duration::from_secs(20);
/// Between two questions whether the node was accepted. The server keeps each one open for a while.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What the administrator gives to `join`.
#[derive(Debug)]
pub struct JoinOptions {
    /// The join token's text.
    pub token: SecretString,
    /// Nodes of the cluster, `host:port`; the first that answers is asked.
    pub servers: Vec<String>,
    /// The role that the administrator means; the token's is what counts.
    pub role: Option<NodeRole>,
    /// It takes the place of the node of the same name, whose data is lost.
    pub replace: bool,
    /// How long an administrator's decision is waited for, if one is needed.
    pub patience: Duration,
}

/// What `join` made.
#[derive(Debug, Clone)]
pub struct JoinReport {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// This node.
    pub node_id: NodeId,
    /// Its role.
    pub role: NodeRole,
}

/// A node that waits to be accepted.
#[derive(Debug, Clone, Serialize)]
pub struct Waiting {
    /// Its name.
    pub name: String,
    /// SHA-256 of its node key, hexadecimal: an administrator sees the same.
    pub key_fingerprint: String,
}

/// Joins this host to a cluster and prepares its data directory. Where an administrator has to accept it, `waits` is told
/// once; the same command again goes on waiting.
///
/// # Errors
/// [`SetupError`]; the directory stays unprepared then.
pub async fn join(
    config: &Config,
    options: JoinOptions,
    waits: impl Fn(&Waiting),
) -> Result<JoinReport, SetupError> {
    let token: JoinToken = options.token.expose_secret().parse()?;
    let dir = DataDir::new(&config.node.data_dir);
    dir.check_unprepared()?;
    let brought = brought(config, options.role)?;
    let computer_id = host::computer_id(&config.identity)?;
    dir.create()?;
    let _lock = dir.lock()?;
    dir.check_unprepared()?;

    let node_key = match dir.node_key_if_any()? {
        Some(key) => key,
        None => {
            let seed = Zeroizing::new(random::<32>()?);
            dir.save_node_key(&seed)?;
            NodeKey::from_seed(*seed)
        }
    };
    let tls_key = NodeTlsKey::generate()?;
    let addresses = addresses(config);
    let report = host::host_report();
    let request = JoinRequest {
        token: token.expose().to_string(),
        name: config.node.name.to_string(),
        role: options.role.map(|role| role.to_string()).unwrap_or_default(),
        node_key: node_key.public().as_bytes().to_vec().into(),
        computer_id: computer_id.to_string(),
        build: config.build.number.as_ref().map(ToString::to_string).unwrap_or_default(),
        agent_version: crate::VERSION.to_owned(),
        feature_level: FEATURE_LEVEL,
        raft_address: addresses.raft,
        http_address: addresses.http,
        os: report.os,
        kernel: report.kernel,
        booted_at_ms: report.booted_at.as_unix_ms(),
        hardware: report.hardware.unwrap_or_default(),
        signature: node_key
            .sign(SignatureDomain::Join, tls_key.request.as_bytes())
            .as_bytes()
            .to_vec()
            .into(),
        certificate_request: tls_key.request.clone(),
        replace: if options.replace { config.node.name.to_string() } else { String::new() },
        wait_seconds: 0,
        brought_certificate: brought.as_ref().map(|(_, it)| it.pair.chain_pem.clone()).unwrap_or_default(),
        brought_request: match &brought {
            Some((_, brought)) => brought.request()?.request,
            None => String::new(),
        },
    };
    let tls = pinned_client(token.ca_fingerprint, brought.clone())?;
    let waiting =
        Waiting { name: config.node.name.to_string(), key_fingerprint: key_fingerprint(&node_key.public()) };
    let asked = ask_until_decided(&options, tls, request, || waits(&waiting));
    let response = asked.await.map_err(|error| match error {
        SetupError::Unreachable(failures) if options.replace => SetupError::Unreachable(format!(
            "{failures}. Only a living node can admit a replacement; a cluster of one node has none besides it"
        )),
        error => error,
    })?;
    prepare(config, &dir, response, (tls_key, brought.map(|(_, brought)| brought)), &token)
}

/// SHA-256 of a node key, hexadecimal: a joiner prints it, and an administrator sees it before accepting the node.
pub(crate) fn key_fingerprint(key: &NodePublicKey) -> String {
    HEXLOWER.encode(&Sha256::digest(key.as_bytes()))
}

/// Asks again while an administrator has not decided, until patience ends.
async fn ask_until_decided(
    options: &JoinOptions,
    tls: Arc<ClientConfig>,
    mut request: JoinRequest,
    waits: impl FnOnce(),
) -> Result<JoinResponse, SetupError> {
    let give_up = tokio::time::Instant::now() + options.patience;
    let mut waits = Some(waits);
    loop {
        match ask(&options.servers, tls.clone(), request.clone()).await {
            Err(SetupError::Refused { code, .. })
                if code == "join_pending" && tokio::time::Instant::now() < give_up =>
            {
                if let Some(waits) = waits.take() {
                    waits();
                }
                let left = give_up.saturating_duration_since(tokio::time::Instant::now());
                request.wait_seconds = u32::try_from(left.as_secs()).unwrap_or(u32::MAX);
                tokio::time::sleep(ASK_AGAIN).await;
            }
            result => return result,
        }
    }
}

/// Asks one server after the other. A refusal is final, a server that can't be reached is not.
async fn ask(
    servers: &[String],
    tls: Arc<ClientConfig>,
    request: JoinRequest,
) -> Result<JoinResponse, SetupError> {
    let mut failures = Vec::new();
    for server in servers {
        let address = server.clone();
        let channel = tls_channel(ChannelOptions {
            address: move || Some(address.clone()),
            tls: tls.clone(),
            // Not looked at: the token pins the CA, and the CA issues to this cluster's nodes only.
            server_name: ServerName::try_from("join.quorate.internal")
                .map_err(|error| SetupError::Answer(error.to_string()))?,
            node: None,
            peer: None,
            attempts: Arc::default(),
        });
        let mut client = ClusterServiceClient::new(channel);
        match tokio::time::timeout(DEADLINE, client.join(request.clone())).await {
            Ok(Ok(response)) => return Ok(response.into_inner()),
            Ok(Err(status)) => match rejected(server, &status).or_else(|| refusal(&status)) {
                Some(refusal) => return Err(refusal),
                None => failures.push(format!("{server}: {}", root_cause(&status))),
            },
            Err(_) => failures.push(format!("{server}: no answer within {} seconds", DEADLINE.as_secs())),
        }
    }
    Err(SetupError::Unreachable(failures.join("; ")))
}

fn refusal(status: &Status) -> Option<SetupError> {
    let parts = status_parts(status)?;
    Some(SetupError::Refused { code: parts.code, message: status.message().to_owned(), hint: parts.hint })
}

/// That the server showed a certificate which this joiner does not talk to. Nothing was sent to it.
fn rejected(server: &str, status: &Status) -> Option<SetupError> {
    let (code, message, hint) = match certificate_error(status)? {
        rustls::Error::Other(rustls::OtherError(why)) if why.is::<NotManagement>() => (
            "not_a_management_server",
            format!("{server} is a node of the cluster and no Management Server, so it admits nobody"),
            "give the address of a Management Server with --server; the token is still good",
        ),
        _ => (
            "ca_mismatch",
            format!("{server} is refused: {}", root_cause(status)),
            "check the address; if it is the right cluster, make a new token with `quorate token create` on a \
             Management Server: nothing was sent to the server",
        ),
    };
    Some(SetupError::Refused { code: code.to_owned(), message, hint: hint.to_owned() })
}

fn certificate_error(status: &Status) -> Option<&rustls::Error> {
    let mut cause: Option<&(dyn Error + 'static)> = status.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.get_ref()?.downcast_ref();
        }
        cause = error.source();
    }
    None
}

/// What is at the bottom of a transport error: "connection refused", not "transport error".
fn root_cause(status: &Status) -> String {
    let mut cause: &dyn std::error::Error = status;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn prepare(
    config: &Config,
    dir: &DataDir,
    response: JoinResponse,
    (tls_key, brought): (NodeTlsKey, Option<Arc<Brought>>),
    token: &JoinToken,
) -> Result<JoinReport, SetupError> {
    let answer = |what: &str| SetupError::Answer(format!("it names no valid {what}"));
    let cluster_id: ClusterId = response.cluster_id.parse().map_err(|_| answer("cluster"))?;
    let epoch_id: EpochId = response.epoch_id.parse().map_err(|_| answer("epoch"))?;
    let role: NodeRole = response.role.parse().map_err(|_| answer("role"))?;
    let epoch = Epoch { number: response.epoch_number, id: epoch_id };
    let node_id = NodeId(response.node_id);
    let cas = ca_certificates(&response.ca_certificate)?;
    if !cas.iter().any(|ca| ca_fingerprint(ca).is_ok_and(|found| found.0 == token.ca_fingerprint)) {
        return Err(SetupError::Answer("it holds another CA than the token names".to_owned()));
    }
    let expected = PeerIdentity { cluster_id, epoch_number: epoch.number, role, node: node_id };
    if PeerIdentity::from_pem(&response.certificate)? != Some(expected) {
        return Err(SetupError::Answer("its certificate is not this node's".to_owned()));
    }
    if let Some(brought) = brought {
        let beside = &response.certificate_beside;
        let facts = CertificateFacts::from_pem(beside, "certificate beside the brought one")?;
        if facts.identity != Some(expected) || !facts.has_key_of(&brought.pair.facts) {
            let what = "its certificate beside the brought one is not this node's";
            return Err(SetupError::Answer(what.to_owned()));
        }
        dir.save_beside(beside)?;
    }
    // What an `init` that was broken off may have left here.
    dir.remove_bootstrap()?;
    dir.remove_management_key()?;
    if !response.management_key.is_empty() {
        let bytes =
            <[u8; 32]>::try_from(response.management_key.as_ref()).map_err(|_| answer("management key"))?;
        dir.save_management_key(&ManagementKey::from_bytes(bytes))?;
    }
    dir.save_tls(&TlsFiles {
        trusted: Trusted { version: response.trust_version, certificates: cas.concat() },
        identity: identity(&response.certificate, &tls_key.key),
    })?;
    dir.save_node_file(&NodeFile::new(cluster_id, epoch, node_id, config.node.name.clone(), role))?;
    Ok(JoinReport { cluster_id, node_id, role })
}
