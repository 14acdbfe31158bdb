//! An organisation's CA, and the certificates that nodes bring of it: files, as cert-manager puts them there.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use quorate_chaos_tests::{Node, files};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};

/// A CA that is not the cluster's.
pub(crate) struct Organisation(CertifiedIssuer<'static, KeyPair>);

/// Where a node's brought files are: beside its configuration.
pub(crate) fn file(node: &Node, name: &str) -> PathBuf {
    node.config.parent().unwrap().join("brought").join(name)
}

/// The name of a node in its certificate.
pub(crate) fn name_of(node: &Node) -> String {
    format!("quorate://corp.example.com/{}/{}", node.role.as_str(), node.name)
}

/// The certificate in a PEM file, DER.
pub(crate) fn der(path: &Path) -> Vec<u8> {
    CertificateDer::from_pem_file(path).unwrap().to_vec()
}

impl Organisation {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(rcgen::DnType::CommonName, "Example Corp");
        Organisation(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn ca(&self) -> String {
        self.0.pem()
    }

    /// A certificate for this key with these names, good on this node's address, PEM.
    pub(crate) fn certify(&self, node: &Node, key: &KeyPair, uris: &[&str]) -> String {
        self.certify_with(node, key, uris, |_| {})
    }

    fn certify_with(
        &self,
        node: &Node,
        key: &KeyPair,
        uris: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> String {
        let mut params = CertificateParams::new([format!("{}.corp.example.com", node.name)]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress(node.raft.ip()));
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
        }
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        params.signed_by(key, &self.0).unwrap().pem()
    }

    /// Puts a certificate with these names, for a new key, and the CA beside a node's configuration.
    pub(crate) fn bring_as(&self, node: &Node, uris: &[&str]) {
        self.bring_with(node, uris, &self.ca());
    }

    /// The same, with these CAs to be believed: the file of them is there first.
    pub(crate) fn bring_with(&self, node: &Node, uris: &[&str], cas: &str) {
        fs::create_dir_all(file(node, "")).unwrap();
        let key = KeyPair::generate().unwrap();
        put(&file(node, "ca.crt"), cas);
        put(&file(node, "tls.key"), &key.serialize_pem());
        put(&file(node, "tls.crt"), &self.certify(node, &key, uris));
    }

    /// Puts one in its place that is changed.
    pub(crate) fn bring_changed(&self, node: &Node, change: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        put(&file(node, "tls.key"), &key.serialize_pem());
        put(&file(node, "tls.crt"), &self.certify_with(node, &key, &[&name_of(node)], change));
    }

    /// The same with the node's own name.
    pub(crate) fn bring(&self, node: &Node) {
        self.bring_as(node, &[&name_of(node)]);
    }
}

/// Replaces a file.
pub(crate) fn put(path: &Path, text: &str) {
    files::write_atomically(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Names the files in the node's configuration, and what it asks of others.
pub(crate) fn configure(node: &mut Node, node_certificates: Option<&str>) {
    for (key, name) in [("certificate_file", "tls.crt"), ("key_file", "tls.key"), ("ca_file", "ca.crt")] {
        node.set("tls", key, file(node, name).to_string_lossy().into_owned());
    }
    match node_certificates {
        Some(word) => node.set("tls", "node_certificates", word),
        None => node.set("tls", "node_certificates", "brought"),
    }
    node.write_config().unwrap();
}
