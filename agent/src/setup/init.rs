//! `quorate init`: a new cluster, with this host as its first license node.
//!
//! Offline: it makes keys, the CA and the cluster's first command, and exits. `serve` commits it.

use std::path::PathBuf;

use quorate_license::{ClusterId, Epoch, EpochId, IntegrityScope, NodeId, NodeKey, NodeRole};
use quorate_raft_store::{
    Command, FEATURE_LEVEL, codec,
    command::{FirstNode, InitCluster},
    seal::{ManagementKey, Purpose},
    state::{Policy, Token, TokenId, TokenPurpose, TokenState},
};
use zeroize::Zeroizing;

use super::{SetupError, addresses, brought, error::random, hosts_of};
use crate::{
    clock,
    config::Config,
    data_dir::{DataDir, NodeFile, TlsFiles, Trusted, identity},
    host,
    pki::{AdminToken, Authority, Beside, CertificateSubject, NodeTlsKey, PeerIdentity, secret_hash},
};

/// The administrator's first token is valid for this long.
const ADMIN_TOKEN_DAYS: u32 = 365;

/// What the administrator decides at `init`. What is not given comes from the configuration.
#[derive(Debug, Clone, Default)]
pub struct InitOptions {
    /// An activation with fewer nodes is refused.
    pub expected_nodes: Option<u32>,
    /// Whose computer IDs are bound.
    pub scope: Option<IntegrityScope>,
}

/// What `init` made.
#[derive(Debug, Clone)]
pub struct InitReport {
    /// The new cluster.
    pub cluster_id: ClusterId,
    /// This node.
    pub node_id: NodeId,
    /// Where the administrator's first token is.
    pub admin_token_file: PathBuf,
}

/// Prepares the data directory of the first node. Blocks on the disk.
///
/// # Errors
/// [`SetupError`]; a directory that is prepared already is left as it is.
pub fn init(config: &Config, options: InitOptions) -> Result<InitReport, SetupError> {
    let dir = DataDir::new(&config.node.data_dir);
    dir.check_unprepared()?;
    let brought = brought(config, Some(NodeRole::Management))?;
    let computer_id = host::computer_id(&config.identity)?;
    dir.create()?;
    let _lock = dir.lock()?;
    dir.check_unprepared()?;

    let now = clock::now();
    let cluster_id = ClusterId(random()?);
    let epoch = Epoch { number: 1, id: EpochId(random()?) };
    let node_id = NodeId::new(epoch.number, 1);
    let seed = Zeroizing::new(random::<32>()?);
    let node_key = NodeKey::from_seed(*seed);
    let management_key = ManagementKey::random()?;
    let authority = Authority::create(&cluster_id, 0, now)?;
    let addresses = addresses(config);
    let tls_key = NodeTlsKey::generate()?;
    let subject = CertificateSubject {
        identity: PeerIdentity {
            cluster_id,
            epoch_number: epoch.number,
            role: NodeRole::Management,
            node: node_id,
        },
        hosts: hosts_of(&addresses),
        beside: None,
    };
    let certificate = authority.issue(&tls_key.request, &subject, config.tls.certificate_lifetime, now)?;
    let certificate_beside = match &brought {
        Some((_, brought)) => {
            let beside = Beside { name: config.node.name.clone(), not_after: brought.pair.facts.not_after };
            let subject = CertificateSubject { beside: Some(beside), ..subject };
            let request = brought.request()?.request;
            Some(authority.issue(&request, &subject, config.tls.certificate_lifetime, now)?)
        }
        None => None,
    };
    let admin_token =
        AdminToken { id: TokenId(u64::from_le_bytes(random()?)), secret: Zeroizing::new(random()?) };

    let command = Command::InitCluster(InitCluster {
        cluster_id,
        epoch,
        ca_certificate: authority.certificate().to_owned(),
        sealed_ca_key: management_key.seal(Purpose::CaKey, authority.expose_key().as_bytes())?,
        feature_level: FEATURE_LEVEL,
        policy: Policy {
            integrity_scope: options.scope.unwrap_or(config.integrity.scope),
            expected_nodes: options.expected_nodes.or(config.cluster.expected_nodes),
        },
        first_node: FirstNode {
            id: node_id,
            name: config.node.name.clone(),
            key: node_key.public(),
            computer_id,
            agent_version: crate::VERSION.to_owned(),
            addresses,
            host: host::host_report(),
        },
        admin_token: Token {
            id: admin_token.id,
            purpose: TokenPurpose::Admin { label: "init".to_owned() },
            secret_hash: secret_hash(&admin_token.secret),
            created_at: now,
            created_by: "quorate init".to_owned(),
            expires_at: now.plus_days(ADMIN_TOKEN_DAYS),
            state: TokenState::Open,
        },
    });

    dir.save_node_key(&seed)?;
    dir.save_management_key(&management_key)?;
    dir.save_tls(&TlsFiles {
        trusted: Trusted { version: 0, certificates: authority.certificate().to_owned() },
        identity: identity(&certificate, &tls_key.key),
    })?;
    if let Some(certificate) = certificate_beside {
        dir.save_beside(&certificate)?;
    }
    dir.save_bootstrap(&codec::encode(&command)?)?;
    let admin_token_file = dir.save_admin_token(&admin_token.expose())?;
    let name = config.node.name.clone();
    dir.save_node_file(&NodeFile::new(cluster_id, epoch, node_id, name, NodeRole::Management))?;
    Ok(InitReport { cluster_id, node_id, admin_token_file })
}
