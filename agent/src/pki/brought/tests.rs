//! Files of every wrong kind, and who is judged how.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use quorate_license::{ClusterId, NodeId};
use quorate_raft_store::{View, Views};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use rustls::pki_types::pem::PemObject;

use super::*;
use crate::{
    clock::ClusterClock,
    data_dir::{TlsFiles, Trusted, identity},
    pki::{Authority, Beside, CertificateFacts, CertificateSubject, NodeTls, NodeTlsKey, PeerIdentity},
};

const DAY: Duration = Duration::from_secs(86_400);

/// An organisation's CA.
struct Organisation(CertifiedIssuer<'static, KeyPair>);

impl Organisation {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        Organisation(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate and its key, PEM.
    fn certify(&self, uris: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::default();
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
        }
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

fn write(folder: &Path, pair: &(String, String), ca: &str) -> BroughtFiles {
    let file = |name: &str| folder.join(name);
    fs::write(file("tls.crt"), &pair.0).unwrap();
    fs::write(file("tls.key"), &pair.1).unwrap();
    fs::set_permissions(file("tls.key"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(file("ca.crt"), ca).unwrap();
    BroughtFiles {
        pair: CertificateFiles { certificate: file("tls.crt"), key: file("tls.key") },
        ca: file("ca.crt"),
    }
}

#[test]
fn files_of_every_wrong_kind_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Organisation::new(), Organisation::new());
    let name = ["quorate://corp/management/ms-1"];
    let good = ours.certify(&name, |_| {});
    let ca = ours.0.pem();
    let at = |year| rcgen::date_time_ymd(year, 1, 1);
    let ended = |params: &mut CertificateParams| (params.not_before, params.not_after) = (at(2001), at(2002));
    let future = |params: &mut CertificateParams| params.not_before = at(2090);
    let server = |params: &mut CertificateParams| params.extended_key_usages.truncate(1);
    let client = |params: &mut CertificateParams| drop(params.extended_key_usages.remove(0));
    type Change<'c> = Box<dyn Fn(&BroughtFiles) + 'c>;
    let pair = |pair: (String, String)| -> Change<'_> {
        let (folder, ca) = (folder.path(), ca.as_str());
        Box::new(move |_| drop(write(folder, &pair, ca)))
    };
    let remove = |path: fn(&BroughtFiles) -> &PathBuf| -> Change<'_> {
        Box::new(move |files| fs::remove_file(path(files)).unwrap())
    };
    let rows: Vec<(&str, Change<'_>, &str)> = vec![
        ("certificate_unreadable", remove(|files| &files.pair.certificate), "tls.certificate_file"),
        ("certificate_unreadable", remove(|files| &files.pair.key), "tls.key_file"),
        ("certificate_unreadable", remove(|files| &files.ca), "tls.ca_file"),
        (
            "certificate_key_readable",
            Box::new(|files| {
                fs::set_permissions(&files.pair.key, fs::Permissions::from_mode(0o644)).unwrap();
            }),
            "chmod 600",
        ),
        ("certificate_unusable", pair(("none".to_owned(), good.1.clone())), "tls.crt"),
        ("certificate_unusable", pair((good.0.clone(), "none".to_owned())), "tls.key"),
        ("certificate_unusable", Box::new(|files| fs::write(&files.ca, "").unwrap()), "ca.crt"),
        ("certificate_key_differs", pair((good.0.clone(), theirs.certify(&name, |_| {}).1)), "replace both"),
        ("certificate_ended", pair(ours.certify(&name, ended)), "have it renewed"),
        ("certificate_not_yet_valid", pair(ours.certify(&name, future)), "clock"),
        ("certificate_usage", pair(ours.certify(&name, server)), "client auth"),
        ("certificate_usage", pair(ours.certify(&name, client)), "server auth"),
        ("certificate_of_other_ca", pair(theirs.certify(&name, |_| {})), "tls.ca_file"),
        ("certificate_names_no_node", pair(ours.certify(&["https://corp"], |_| {})), "quorate://DOMAIN"),
    ];
    for (code, change, words) in rows {
        let files = write(folder.path(), &good, &ca);
        Brought::read(&files).unwrap();
        change(&files);
        let refused = Brought::read(&files).unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.to_string().contains(words), "{words}: {refused}");
    }
    let brought = Brought::read(&write(folder.path(), &good, &ca)).unwrap();
    brought.check_name(None, &"ms-1".parse().unwrap()).unwrap();
    for (role, name) in [(Some(NodeRole::Spooler), "ms-1"), (Some(NodeRole::Management), "ms-2")] {
        let refused = brought.check_name(role, &name.parse().unwrap()).unwrap_err();
        assert!(
            refused.to_string().contains("quorate://corp/management/ms-1, and this node is"),
            "{refused}"
        );
    }
    assert!(!format!("{brought:?}").contains("PRIVATE"));
}

#[test]
fn keys_of_every_usual_kind_and_form_get_the_clusters_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Organisation::new();
    let now = clock::now();
    let authority = Authority::create(&ClusterId([3; 16]), 0, now).unwrap();
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let mut params = CertificateParams::default();
        params.subject_alt_names.push(SanType::URI("quorate://corp/spooler/sc-1".try_into().unwrap()));
        let key = KeyPair::generate_for(algorithm).unwrap();
        let pair = (params.signed_by(&key, &ours.0).unwrap().pem(), key.serialize_pem());
        let brought = Brought::read(&write(folder.path(), &pair, &ours.0.pem())).unwrap();
        let asked = brought.request().unwrap();
        assert!(brought.pair.facts.is_for_request(&asked.request));
        let issued =
            authority.issue(&asked.request, &subject(NodeRole::Spooler, "sc-1", &brought), 90 * DAY, now);
        let facts = CertificateFacts::from_pem(&issued.unwrap(), "certificate").unwrap();
        assert!(facts.has_key_of(&brought.pair.facts), "{algorithm:?}");
        assert_eq!(facts.certified_name, Some("sc-1".parse().unwrap()));
    }
    assert!(!CertificateFacts::from_pem(authority.certificate(), "CA").unwrap().is_for_request("none"));
}

fn subject(role: NodeRole, name: &str, brought: &Brought) -> CertificateSubject {
    CertificateSubject {
        identity: PeerIdentity {
            cluster_id: ClusterId([3; 16]),
            epoch_number: 1,
            role,
            node: NodeId::new(1, 4),
        },
        hosts: Vec::new(),
        beside: Some(Beside { name: name.parse().unwrap(), not_after: brought.pair.facts.not_after }),
    }
}

/// TLS of a node that asks others for certificates of this CA.
fn judging(folder: &Path, authority: &Authority, ca: &Organisation, policy: BroughtPolicy) -> NodeTls {
    let (now, own) = (clock::now(), ca.certify(&["quorate://corp/management/ms-1"], |_| {}));
    let brought = Brought::read(&write(folder, &own, &ca.0.pem())).unwrap();
    let key = NodeTlsKey::generate().unwrap();
    let subject = subject(NodeRole::Management, "ms-1", &brought);
    let certificate = authority.issue(&key.request, &subject, 90 * DAY, now).unwrap();
    let files = TlsFiles {
        trusted: Trusted { version: 0, certificates: authority.certificate().to_owned() },
        identity: identity(&certificate, &key.key),
    };
    let time = ClusterClock::new(Arc::new(Views::new(View::default())));
    NodeTls::new(&files, ClusterId([3; 16]), time, Some(&brought), Some(policy)).unwrap()
}

#[test]
fn a_node_is_let_in_by_both_certificates_for_one_key_and_by_nothing_less() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Organisation::new(), Organisation::new());
    let now = clock::now();
    let authority = Authority::create(&ClusterId([3; 16]), 0, now).unwrap();
    let required = judging(folder.path(), &authority, &ours, BroughtPolicy::Required);
    let accepted = judging(folder.path(), &authority, &ours, BroughtPolicy::Accepted);
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    // What a node of the cluster shows that brings a certificate with this name, when the cluster has certified its key
    // in this role and for this name.
    let shown = |ca: &Organisation, uri: &str, role: NodeRole, name: &str| {
        let pair = ca.certify(&[uri], |_| {});
        let brought = Brought::read(&write(folder.path(), &pair, &ca.0.pem())).unwrap();
        let asked = brought.request().unwrap();
        let issued = authority.issue(&asked.request, &subject(role, name, &brought), 90 * DAY, now).unwrap();
        vec![der(&pair.0), der(&issued)]
    };
    let (management, spooler) = (NodeRole::Management, NodeRole::Spooler);
    let good = shown(&ours, "quorate://corp/management/ms-2", management, "ms-2");
    let alone = vec![good[1].clone()];
    // Of the organisation alone, and beside the cluster's certificate for another key.
    let minted = vec![der(&ours.certify(&["quorate://corp/management/ms-2"], |_| {}).0)];
    let borrowed = vec![minted[0].clone(), good[1].clone()];
    type Row<'r> = (&'r str, &'r Vec<CertificateDer<'static>>, &'r NodeTls, Option<Option<&'r str>>);
    let rows: Vec<Row<'_>> = vec![
        ("good", &good, &required, Some(None)),
        ("good while changing over", &good, &accepted, Some(None)),
        ("alone", &alone, &required, Some(Some("certificate_not_brought"))),
        ("alone while changing over", &alone, &accepted, Some(None)),
        ("minted by the organisation", &minted, &accepted, None),
        ("beside another key's", &borrowed, &accepted, None),
    ];
    let of_others = shown(&theirs, "quorate://corp/management/ms-2", management, "ms-2");
    let other_name = shown(&ours, "quorate://corp/management/ms-3", management, "ms-2");
    let promoted = shown(&ours, "quorate://corp/management/sc-1", spooler, "sc-1");
    let demoted = shown(&ours, "quorate://corp/spooler/ms-2", management, "ms-2");
    let wrong = [
        ("of another CA", &of_others, "certificate_of_other_ca"),
        ("another node's name", &other_name, "certificate_names_other_node"),
        ("a Spooler Controller named a Management Server", &promoted, "certificate_names_other_node"),
        ("a Management Server named a Spooler Controller", &demoted, "certificate_names_other_node"),
    ];
    for (what, chain, tls, expected) in rows {
        for side in [Side::Server, Side::Client] {
            let found = tls.judge(chain, side).map(|presented| presented.flaw.map(|flaw| flaw.code()));
            assert_eq!(found, expected, "{what}");
        }
    }
    for (what, chain, code) in wrong {
        for (tls, side) in [(&required, Side::Server), (&accepted, Side::Client)] {
            let found = tls.judge(chain, side).and_then(|presented| presented.flaw).unwrap();
            assert_eq!(found.code(), code, "{what}");
        }
    }
    // The role that counts is the cluster's.
    assert_eq!(required.judge(&promoted, Side::Client).unwrap().identity.role, spooler);
}
