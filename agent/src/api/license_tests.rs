use std::time::Duration;

use quorate_raft_store::Views;
use tokio_util::task::TaskTracker;
use tonic::Code;

use super::*;
use crate::{
    api::status_parts,
    config,
    service::licensing::samples::{self, Installation},
};

struct Setup {
    folder: tempfile::TempDir,
    views: Arc<Views>,
    api: LicenseApi,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
}

impl Setup {
    async fn new(installation: &Installation) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let views = Arc::new(Views::new(installation.view(7)));
        let licensing = Licensing::new(views.clone(), samples::node_id(4), Arc::new(samples::roots()));
        let shutdown = CancellationToken::new();
        let config = config::Build { file: None, number: None };
        let builds = BuildWatcher::start(&config, folder.path(), &TaskTracker::new(), shutdown.clone()).await;
        let metrics = Arc::new(Metrics::new().unwrap());
        let api = LicenseApi::new(licensing, builds, metrics.clone(), shutdown.clone());
        Setup { folder, views, api, metrics, shutdown }
    }

    async fn check(&self, feature: &str, quantity: u64) -> CheckResponse {
        let request = CheckRequest { tenant: String::new(), feature: feature.to_owned(), quantity };
        self.api.check(Request::new(request)).await.unwrap().into_inner()
    }

    async fn watch(&self) -> Result<<LicenseApi as LicenseService>::WatchStream, Status> {
        self.api.watch(Request::new(WatchRequest::default())).await.map(Response::into_inner)
    }
}

async fn next(
    stream: &mut <LicenseApi as LicenseService>::WatchStream,
) -> Option<Result<GetLicenseResponse, Status>> {
    tokio::time::timeout(Duration::from_secs(20), stream.next()).await.unwrap()
}

#[tokio::test]
async fn check_answers_with_stable_codes_and_is_counted() {
    let setup = Setup::new(&Installation::licensed()).await;
    let allowed = setup.check("devices", 25).await;
    assert_eq!(
        (allowed.allowed, allowed.reason.as_str(), allowed.licensed_quantity),
        (true, "licensed", Some(25))
    );
    assert_eq!((allowed.status.as_str(), allowed.serial), ("active", 1));
    assert_eq!(setup.check("devices", 26).await.reason, "quantity_exceeded");
    assert_eq!(setup.check("fax", 0).await.reason, "feature_not_licensed");
    assert!(setup.check("", 0).await.allowed, "without a feature: whether there is a license");
    assert_eq!(setup.metrics.license_checks_allowed.get(), 2);
    assert_eq!(setup.metrics.license_checks_refused.get(), 2);
}

#[tokio::test]
async fn names_that_can_not_be_are_refused_by_name() {
    let setup = Setup::new(&Installation::licensed()).await;
    for (tenant, feature, code) in
        [("Not A Tenant", "", "invalid_tenant"), ("", "No Feature", "invalid_feature")]
    {
        let request = CheckRequest { tenant: tenant.to_owned(), feature: feature.to_owned(), quantity: 1 };
        let status = setup.api.check(Request::new(request)).await.unwrap_err();
        assert_eq!(
            (status.code(), status_parts(&status).unwrap().code.as_str()),
            (Code::InvalidArgument, code)
        );
    }
    let request = ReportBuildRequest { build: "not a build".to_owned() };
    let status = setup.api.report_build(Request::new(request)).await.unwrap_err();
    assert!(status.message().contains("'not a build'"), "{}", status.message());
}

#[tokio::test]
async fn get_license_shows_the_license_and_its_tokens() {
    let setup = Setup::new(&Installation::licensed()).await;
    let shown = setup.api.get_license(Request::new(GetLicenseRequest::default())).await.unwrap().into_inner();
    assert_eq!((shown.tenant.as_str(), shown.status.as_str()), ("default", "active"));
    let license = shown.license.unwrap();
    assert_eq!((license.support_id.as_str(), license.kind.as_str()), ("QS-7K2M-94XD", "subscription"));
    let held: Vec<_> =
        license.entitlements.iter().map(|held| (held.feature.as_str(), held.quantity)).collect();
    assert_eq!(held, [("devices", Some(25)), ("scan", None)]);
    assert!(samples::roots().verify::<quorate_license::License>(&license.license_token).is_ok());
    assert!(samples::roots().verify::<quorate_license::Binding>(&license.binding_token).is_ok());

    let without = Setup::new(&Installation::unlicensed()).await;
    let shown =
        without.api.get_license(Request::new(GetLicenseRequest::default())).await.unwrap().into_inner();
    assert_eq!((shown.status.as_str(), shown.license), ("unlicensed", None));
}

#[tokio::test]
async fn a_watch_tells_the_present_state_and_then_each_change() {
    let setup = Setup::new(&Installation::unlicensed()).await;
    let mut stream = setup.watch().await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap().unwrap().status, "unlicensed");
    assert_eq!(setup.metrics.license_watches.get(), 1);
    setup.views.publish(Installation::unlicensed().view(8));
    setup.views.publish(Installation::licensed().view(9));
    let frame = next(&mut stream).await.unwrap().unwrap();
    assert_eq!((frame.status.as_str(), frame.license.unwrap().serial), ("active", 1));
    setup.views.publish(Installation::licensed().activated(2).view(10));
    assert_eq!(next(&mut stream).await.unwrap().unwrap().license.unwrap().serial, 2);
    drop(stream);
    assert_eq!(setup.metrics.license_watches.get(), 0);
}

#[tokio::test]
async fn a_watch_ends_with_the_agent() {
    let setup = Setup::new(&Installation::licensed()).await;
    let mut stream = setup.watch().await.unwrap();
    assert!(next(&mut stream).await.unwrap().is_ok());
    setup.shutdown.cancel();
    let status = next(&mut stream).await.unwrap().unwrap_err();
    assert_eq!(
        (status.code(), status_parts(&status).unwrap().code.as_str()),
        (Code::Unavailable, "shutting_down")
    );
    assert!(next(&mut stream).await.is_none());
}

#[tokio::test]
async fn watches_are_bounded() {
    let setup = Setup::new(&Installation::licensed()).await;
    let mut streams = Vec::new();
    for _ in 0..MAX_WATCHES {
        streams.push(setup.watch().await.unwrap());
    }
    let status = setup.watch().await.err().unwrap();
    assert_eq!(status_parts(&status).unwrap().code, "too_many_watches");
    streams.pop();
    assert!(setup.watch().await.is_ok());
}

#[tokio::test]
async fn a_told_build_number_is_kept() {
    let setup = Setup::new(&Installation::licensed()).await;
    let request = ReportBuildRequest { build: "11.3.0".to_owned() };
    setup.api.report_build(Request::new(request)).await.unwrap();
    assert_eq!(setup.api.builds.current().unwrap().as_str(), "11.3.0");
    assert_eq!(std::fs::read_to_string(setup.folder.path().join("build")).unwrap(), "11.3.0\n");
}
