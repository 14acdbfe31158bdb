//! A License Portal of the test's own: it signs real answers with a root key that its clusters trust, keeps what
//! it was asked, and lets a test change the answer, hold it back, or lose it.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use quorate_license::{
    Binding, BoundNode, DAY_MS, Entitlement, Fence, Graces, IntegrityKey, IssuingKey, IssuingSecret, License,
    LicenseFile, LicenseKey, LicenseKind, Quantity, RootKey, Serial, SupportId, Timestamp, TrustRoots,
};
use serde_json::json;

use crate::{
    Failure, Network, Result,
    network::PORTAL_HOST,
    portal::{COUNTED_FEATURE, DEVICES, PortalLink, UNLIMITED_FEATURE},
    tls_server::{Asked, Reply, TlsServer},
};

/// The claims of an answer, before they are signed; a test may change them.
#[derive(Debug, Clone)]
pub struct Claims {
    /// The binding.
    pub binding: Binding,
    /// The default tenant's license.
    pub license: License,
}

/// Signs answers.
pub struct Signer {
    root: RootKey,
    issuing: IssuingKey,
    support_id: SupportId,
}

/// A running portal of the test's own.
pub struct FakePortal {
    /// What its clusters have to know.
    pub link: PortalLink,
    asked: Arc<Mutex<Vec<Asked>>>,
    _server: TlsServer,
}

impl Signer {
    /// A signer with random keys.
    ///
    /// # Errors
    /// The keys can't be used.
    pub fn new() -> Result<Self> {
        let wrong =
            |cause: &dyn std::fmt::Display| Failure::wrong(format!("the test's signing keys: {cause}"));
        let root = RootKey::from_seed(rand::random()).map_err(|cause| wrong(&cause))?;
        let secret = IssuingSecret::from_seed(rand::random()).map_err(|cause| wrong(&cause))?;
        let now = now();
        let certificate = root
            .certify(secret.public(), now.plus_ms(-DAY_MS), now.plus_days(365))
            .map_err(|cause| wrong(&cause))?;
        let issuing = IssuingKey::new(secret, certificate).map_err(|cause| wrong(&cause))?;
        let support_id = "QS-7K2M-9XQ4-TEST".parse().map_err(|cause| wrong(&cause))?;
        Ok(Signer { root, issuing, support_id })
    }

    /// What trusts its signatures.
    pub fn roots(&self) -> TrustRoots {
        TrustRoots(vec![self.root.public()])
    }

    /// What an honest portal would say to this integrity key.
    pub fn claims(&self, key: &IntegrityKey) -> Claims {
        let graces =
            Graces { expiry_days: 14, reactivation_days: 30, unbound_days: 14, receipt_max_age_days: 35 };
        let issued_at = now();
        let serial = Serial(key.binding_serial.0 + 1);
        let nodes: Vec<BoundNode> = key
            .nodes
            .iter()
            .map(|statement| BoundNode {
                id: statement.row.id,
                role: statement.row.role,
                computer_id: statement.row.computer_id,
                build: statement.row.build.clone(),
                key: statement.row.key,
            })
            .collect();
        let home = nodes.iter().find(|node| node.id == key.first_license_node).or(nodes.first());
        let binding = Binding {
            support_id: self.support_id.clone(),
            cluster_id: key.cluster_id,
            epoch: key.epoch,
            fence: Fence(key.fence.0 + 1),
            serial,
            nonce: key.nonce,
            first_license_node: key.first_license_node,
            home_computer_id: home.map(|node| node.computer_id).unwrap_or(key.nodes[0].row.computer_id),
            nodes,
            tolerance: 0,
            graces,
            issued_at,
        };
        let entitlement =
            |feature: &str, quantity| feature.parse().ok().map(|feature| Entitlement { feature, quantity });
        let license = License {
            support_id: self.support_id.clone(),
            cluster_id: key.cluster_id,
            tenant: key.tenant.clone(),
            serial,
            nonce: key.nonce,
            kind: LicenseKind::Subscription,
            orders: "ORD-TEST-1".parse().ok().into_iter().collect(),
            entitlements: [
                entitlement(COUNTED_FEATURE, Quantity::Limited(DEVICES)),
                entitlement(UNLIMITED_FEATURE, Quantity::Unlimited),
            ]
            .into_iter()
            .flatten()
            .collect(),
            issued_at,
            not_before: issued_at.plus_ms(-DAY_MS),
            expires_at: Some(issued_at.plus_days(365)),
            support_until: None,
            graces,
        };
        Claims { binding, license }
    }

    /// The license key for these claims.
    ///
    /// # Errors
    /// They can't be signed.
    pub fn sign(&self, claims: &Claims) -> Result<LicenseKey> {
        let wrong = |cause: &dyn std::fmt::Display| Failure::wrong(format!("the test's answer: {cause}"));
        let binding = self.issuing.sign(&claims.binding).map_err(|cause| wrong(&cause))?;
        let license = self.issuing.sign(&claims.license).map_err(|cause| wrong(&cause))?;
        Ok(LicenseKey::new(&binding, &[license]))
    }

    /// The license file that a node would write with these claims.
    ///
    /// # Errors
    /// They can't be signed.
    pub fn license_file(&self, claims: &Claims) -> Result<LicenseFile> {
        let wrong = |cause: &dyn std::fmt::Display| Failure::wrong(format!("the test's license: {cause}"));
        let binding = self.issuing.sign(&claims.binding).map_err(|cause| wrong(&cause))?;
        let license = self.issuing.sign(&claims.license).map_err(|cause| wrong(&cause))?;
        Ok(LicenseFile::new(&license, &binding))
    }

    /// The portal's answer with a license key, and what it says beside it.
    pub fn reply(&self, claims: &Claims, license_key: &LicenseKey) -> Reply {
        let Ok(text) = license_key.to_text() else { return Reply::Nothing };
        let body = json!({
            "license_key": text,
            "support_id": claims.binding.support_id,
            "serial": claims.binding.serial,
            "fence": claims.binding.fence,
            "replayed": false,
        });
        Reply::Json(200, body.to_string())
    }
}

impl FakePortal {
    /// Serves at the portal's place in the network; `answer` gets each integrity key and gives the reply.
    ///
    /// # Errors
    /// The server can't start.
    pub fn start(
        network: &Network,
        folder: &Path,
        signer: &Arc<Signer>,
        answer: impl Fn(&Signer, &IntegrityKey) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let address = SocketAddr::from((network.host(PORTAL_HOST), 7600));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (kept, signs) = (Arc::clone(&asked), Arc::clone(signer));
        let server = TlsServer::start(address, folder, move |request| {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
            if request.head.starts_with("POST /v1/telemetry ") {
                return Reply::Json(200, json!({}).to_string());
            }
            match integrity_key(&request.body) {
                Ok(key) => answer(&signs, &key),
                Err(reason) => Reply::Json(
                    400,
                    json!({ "code": "integrity_key_malformed", "message": reason, "hint": "", "details": {} })
                        .to_string(),
                ),
            }
        })?;
        let link = PortalLink {
            url: format!("https://{}", server.address),
            ca_file: server.ca_file.clone(),
            root_key: signer.root.public().to_string(),
        };
        Ok(FakePortal { link, asked, _server: server })
    }

    /// Everything that it was asked.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The integrity key in a body: armoured text, or its bytes.
fn integrity_key(body: &[u8]) -> std::result::Result<IntegrityKey, String> {
    match std::str::from_utf8(body) {
        Ok(text) if text.contains("-----BEGIN") => {
            IntegrityKey::from_text(text).map_err(|cause| cause.to_string())
        }
        _ => IntegrityKey::from_bytes(body).map_err(|cause| cause.to_string()),
    }
}

/// The time of day, as this machine has it.
pub fn now() -> Timestamp {
    Timestamp::from_unix_ms(jiff::Timestamp::now().as_millisecond())
}
