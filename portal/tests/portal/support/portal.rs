//! A portal process, and the ways of asking it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{sys::signal, unistd::Pid};
use quorate_license::{IntegrityKey, LicenseKey, RootKey, RootPublicKey, TrustRoots, VerifiedAnswer};
use reqwest::{Certificate, Client, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use super::Database;

/// A portal with an initialized database, a product, and two customers.
pub(crate) struct Portal {
    pub(crate) database: Database,
    pub(crate) folder: TempDir,
    pub(crate) root: RootPublicKey,
    pub(crate) client: Client,
    pub(crate) address: String,
    process: Option<Child>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

/// Runs `quorate-portal` with the configuration in `folder`.
pub(crate) fn admin(folder: &Path, arguments: &[&str]) -> Output {
    binary(folder).args(arguments).output().unwrap()
}

fn binary(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate-portal"));
    command.arg("--config").arg(folder.join("portal.toml"));
    command
}

impl Portal {
    /// Initialized and serving.
    pub(crate) async fn start(database: Database) -> Self {
        Self::start_with(database, "").await
    }

    /// The same with further lines of configuration.
    pub(crate) async fn start_with(database: Database, configuration: &str) -> Self {
        let mut portal = Self::prepare(database, configuration);
        portal.serve(&[]);
        portal
    }

    /// Initialized, not serving.
    pub(crate) fn prepare(database: Database, configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "listen = \"127.0.0.1:0\"\npublic_url = \"https://localhost\"\ndatabase = \"{}\"\n\
             data_dir = \"data\"\npid_file = \"portal.pid\"\ntls.self_signed = true\n{configuration}\n",
            database.url()
        );
        fs::write(folder.path().join("portal.toml"), text).unwrap();
        let mut portal = Portal {
            database,
            // Replaced below, when there is one.
            root: RootKey::from_seed([1; 32]).unwrap().public(),
            folder,
            client: client_builder().build().unwrap(),
            address: String::new(),
            process: None,
        };
        let initialized = portal.json(&["admin", "init"]);
        portal.root = initialized["root_public_key"].as_str().unwrap().parse().unwrap();
        portal.json(&["admin", "product", "add", "Suite", "--feature", "devices", "--feature", "scan"]);
        portal.json(&["admin", "customer", "add", "Example Ltd"]);
        portal
    }

    /// Starts the process and waits until it listens.
    pub(crate) fn serve(&mut self, environment: &[(&str, &str)]) {
        assert!(self.process.is_none());
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        let mut process = binary(self.folder.path())
            .arg("serve")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on https://");
        let Some(address) = address else { panic!("the portal does not start: {}", self.log()) };
        // By name, so that the certificate's name is checked too.
        self.address = format!("https://localhost:{}", address.rsplit(':').next().unwrap());
        self.client = self.client_with(|builder| builder);
        self.process = Some(process);
    }

    /// A client that trusts the portal's CA.
    pub(crate) fn client_with(
        &self,
        build: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Client {
        let ca = fs::read(self.folder.path().join("data/tls/ca.pem")).unwrap();
        let builder = client_builder().tls_certs_only([Certificate::from_pem(&ca).unwrap()]);
        build(builder).build().unwrap()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// SIGTERM, without waiting.
    pub(crate) fn terminate(&self) {
        let process = self.process.as_ref().unwrap();
        signal::kill(Pid::from_raw(process.id().cast_signed()), signal::Signal::SIGTERM).unwrap();
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut process = self.process.take().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the portal does not stop: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Runs a command with `-o json` and reads its result.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = admin(self.folder.path(), &[arguments, &["-o", "json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// An order of 50 devices and unlimited scanning for a year: its number and activation key.
    pub(crate) fn order(&self) -> (String, String) {
        self.order_with(&["--kind", "subscription", "--days", "365"])
    }

    pub(crate) fn order_with(&self, flags: &[&str]) -> (String, String) {
        let features = ["--feature", "devices=50", "--feature", "scan=unlimited"];
        self.bare_order(&[&features[..], flags].concat())
    }

    /// An order that licenses nothing itself: a renewal, or support alone.
    pub(crate) fn bare_order(&self, flags: &[&str]) -> (String, String) {
        let add = ["admin", "order", "add", "--customer", "Example Ltd", "--product", "Suite"];
        let order = self.json(&[&add[..], flags].concat());
        let text = |name: &str| order[name].as_str().unwrap().to_owned();
        (text("order_id"), text("activation_key"))
    }

    /// How many license keys were issued.
    pub(crate) fn activations(&self) -> usize {
        self.json(&["admin", "activation", "list"]).as_array().unwrap().len()
    }

    /// The status of an order.
    pub(crate) fn order_status(&self, order: &str) -> String {
        self.json(&["admin", "order", "show", order])["status"].as_str().unwrap().to_owned()
    }

    /// Posts an integrity key the usual way.
    pub(crate) async fn post(&self, key: &IntegrityKey) -> Answered {
        self.try_post(key).await.unwrap()
    }

    pub(crate) async fn try_post(&self, key: &IntegrityKey) -> reqwest::Result<Answered> {
        let name = idempotency_key(key);
        self.send("text/plain", Some(&name), key.to_text().as_bytes().to_vec()).await
    }

    pub(crate) async fn post_bytes(&self, key: &IntegrityKey, bytes: &[u8]) -> Answered {
        let name = idempotency_key(key);
        self.send("application/octet-stream", Some(&name), bytes.to_vec()).await.unwrap()
    }

    pub(crate) async fn send(
        &self,
        content_type: &str,
        idempotency_key: Option<&str>,
        body: Vec<u8>,
    ) -> reqwest::Result<Answered> {
        let mut request = self
            .client
            .post(format!("{}/api/v1/activations", self.address))
            .header("content-type", content_type)
            .body(body);
        if let Some(name) = idempotency_key {
            request = request.header("idempotency-key", name);
        }
        let response = request.send().await?;
        Ok(Answered { status: response.status(), body: response.json().await? })
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("{}{path}", self.address)).send().await.unwrap()
    }

    pub(crate) fn roots(&self) -> TrustRoots {
        TrustRoots(vec![self.root])
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Answered {
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("no code")
    }

    pub(crate) fn license_key(&self) -> &str {
        self.body["license_key"].as_str().unwrap_or_else(|| panic!("no license key: {:?}", self.body))
    }

    pub(crate) fn support_id(&self) -> &str {
        self.body["support_id"].as_str().unwrap()
    }

    /// The license key, read and verified.
    pub(crate) fn verified(&self, roots: &TrustRoots) -> VerifiedAnswer {
        LicenseKey::from_text(self.license_key()).unwrap().verify(roots).unwrap()
    }

    #[track_caller]
    pub(crate) fn assert_refused(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{}", self.body);
        for field in ["message", "hint"] {
            assert!(self.body[field].as_str().is_some_and(|text| text.len() > 10), "{}", self.body);
        }
        assert!(self.body["details"].is_object(), "{}", self.body);
    }
}

fn idempotency_key(key: &IntegrityKey) -> String {
    format!("{}/{}/{}", key.cluster_id, key.epoch.id, key.nonce)
}

fn client_builder() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().timeout(Duration::from_secs(30))
}
