//! A real License Portal: its keys, a product, orders, and its process.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, de::DeserializeOwned};
use toml::{Table, Value, toml};

use crate::{
    Binaries, Failure, Network, Result,
    cli::Cli,
    files,
    network::PORTAL_HOST,
    process::{Process, Start},
    wait::{self, Seen},
};

const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// The product that every portal here sells.
pub const PRODUCT: &str = "Print Suite";

/// The customer who buys it.
pub const CUSTOMER: &str = "Example Printing Works";

/// A feature that every order here licenses, for [`DEVICES`] devices.
pub const COUNTED_FEATURE: &str = "devices";

/// How many devices an order licenses.
pub const DEVICES: u64 = 50;

/// A feature that every order here licenses without a limit.
pub const UNLIMITED_FEATURE: &str = "scan";

/// A feature of the product that no order here licenses.
pub const UNLICENSED_FEATURE: &str = "workflow";

/// What a cluster has to know of its portal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortalLink {
    /// Its address.
    pub url: String,
    /// What its TLS certificate is checked against.
    pub ca_file: PathBuf,
    /// The vendor's root public key.
    pub root_key: String,
}

/// A License Portal in a folder of its own.
#[derive(Debug)]
pub struct Portal {
    /// What clusters have to know.
    pub link: PortalLink,
    /// Its configuration file.
    pub config: PathBuf,
    /// Variables of the environment of its process and its commands.
    pub environment: Vec<(String, OsString)>,
    program: PathBuf,
    listen: SocketAddr,
    log: PathBuf,
    own_group: bool,
    process: Option<Process>,
}

/// An order with the key that was shown once.
#[derive(Debug, Clone, Deserialize)]
pub struct Order {
    /// Its number.
    pub order_id: String,
    /// The secret that the customer receives.
    pub activation_key: String,
}

/// A license key that the portal issued.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct IssuedActivation {
    /// The installation.
    pub support_id: String,
    /// Names the activation.
    pub nonce: String,
    /// The binding's serial.
    pub serial: u64,
    /// The installation's fence after it.
    pub fence: u64,
}

#[derive(Deserialize)]
struct Initialized {
    root_public_key: String,
}

impl Portal {
    /// Makes keys, product and customer in a new folder, and serves.
    ///
    /// # Errors
    /// A command or the start fails.
    pub fn start(binaries: &Binaries, network: &Network, folder: &Path, own_group: bool) -> Result<Self> {
        Self::start_in(binaries, network, folder, own_group, Vec::new())
    }

    /// The same with variables in the environment of its process and its commands.
    ///
    /// # Errors
    /// A command or the start fails.
    pub fn start_in(
        binaries: &Binaries,
        network: &Network,
        folder: &Path,
        own_group: bool,
        environment: Vec<(String, OsString)>,
    ) -> Result<Self> {
        files::make_folder(folder)?;
        let listen = SocketAddr::from((network.host(PORTAL_HOST), 7600));
        let url = format!("https://{listen}");
        let data_dir = folder.join("state");
        let settings = Self::settings(listen, &url, folder, &data_dir);
        let config = folder.join("portal.toml");
        files::write(&config, settings.to_string())?;
        let link = PortalLink { url, ca_file: data_dir.join("tls/ca.pem"), root_key: String::new() };
        let mut portal = Portal {
            link,
            config,
            environment,
            program: binaries.portal.clone(),
            listen,
            log: folder.join("serve.log"),
            own_group,
            process: None,
        };
        let made: Initialized = portal.admin(["init"])?;
        portal.link.root_key = made.root_public_key;
        let mut product: Vec<OsString> = ["product", "add", PRODUCT].map(Into::into).into();
        for feature in [COUNTED_FEATURE, UNLIMITED_FEATURE, UNLICENSED_FEATURE] {
            product.extend(["--feature".into(), feature.into()]);
        }
        let _: serde_json::Value = portal.admin(product)?;
        let _: serde_json::Value = portal.admin(["customer", "add", CUSTOMER])?;
        portal.serve()?;
        Ok(portal)
    }

    /// Starts `quorate-portal serve` and waits until it answers.
    ///
    /// # Errors
    /// It can't be started, or does not answer.
    pub fn serve(&mut self) -> Result<()> {
        self.serve_with(&[])
    }

    /// The same with further variables in its environment.
    ///
    /// # Errors
    /// It can't be started, or does not answer.
    pub fn serve_with(&mut self, variables: &[(&str, &str)]) -> Result<()> {
        let arguments = vec!["--config".into(), self.config.clone().into(), "serve".into()];
        let mut environment = self.environment.clone();
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))));
        self.process = Some(Process::start(&Start {
            name: "the License Portal".to_owned(),
            program: self.program.clone(),
            arguments,
            environment,
            log: self.log.clone(),
            own_group: self.own_group,
        })?);
        wait::until("the License Portal to listen", wait::PATIENCE, || {
            if let Some(process) = self.process.as_mut() {
                process.must_run()?;
            }
            let open = std::net::TcpStream::connect(self.listen);
            Ok(open.map_or_else(|cause| Seen::not_yet(cause.to_string()), |_| Seen::Done(())))
        })
    }

    /// Runs `quorate-portal admin ...` and reads its answer.
    ///
    /// # Errors
    /// The command fails or answers something else.
    pub fn admin<T: DeserializeOwned, A: Into<OsString>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<T> {
        let first = ["--config".into(), self.config.clone().into_os_string(), "admin".into()];
        let mut cli = Cli::new(&self.program, first).args(arguments);
        for (name, value) in &self.environment {
            cli = cli.env(name, value);
        }
        cli.json()
    }

    /// Adds an order: [`DEVICES`] devices, and scanning without a limit, for a year.
    ///
    /// # Errors
    /// The command fails.
    pub fn order(&self) -> Result<Order> {
        let devices = format!("{COUNTED_FEATURE}={DEVICES}");
        let scan = format!("{UNLIMITED_FEATURE}=unlimited");
        self.admin([
            "order",
            "add",
            "--customer",
            CUSTOMER,
            "--product",
            PRODUCT,
            "--kind",
            "subscription",
            "--days",
            "365",
            "--feature",
            &devices,
            "--feature",
            &scan,
        ])
    }

    /// The license keys that it issued.
    ///
    /// # Errors
    /// The command fails.
    pub fn activations(&self) -> Result<Vec<IssuedActivation>> {
        self.admin(["activation", "list"])
    }

    /// The Support IDs that it made.
    ///
    /// # Errors
    /// The command fails.
    pub fn installations(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Installation {
            support_id: String,
        }
        let all: Vec<Installation> = self.admin(["installation", "list"])?;
        Ok(all.into_iter().map(|installation| installation.support_id).collect())
    }

    /// The id of its process.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Its process, while there is one.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Asks it to stop, and kills it if it does not.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.stop(STOP_PATIENCE).map(|_| ()))
    }

    /// Kills it as `kill -9` does.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// How often it was asked for a license key, answered or refused, since its start.
    ///
    /// # Errors
    /// Its log can't be read.
    pub fn requests_seen(&self) -> Result<usize> {
        let log = files::read(&self.log)?;
        Ok(log
            .lines()
            .filter(|line| line.contains("license key issued") || line.contains("license key refused"))
            .count())
    }

    fn settings(listen: SocketAddr, url: &str, folder: &Path, data_dir: &Path) -> Table {
        let mut settings = toml! {
            [tls]
            self_signed = true
            [limits]
            requests_per_minute = 100000
        };
        let text = |path: &Path| path.to_string_lossy().into_owned();
        for (key, value) in [
            ("listen", listen.to_string()),
            ("public_url", url.to_owned()),
            ("database", format!("sqlite://{}", text(&folder.join("portal.db")))),
            ("data_dir", text(data_dir)),
        ] {
            settings.insert(key.to_owned(), Value::String(value));
        }
        settings
    }
}

impl PortalLink {
    /// The root key as products pin it.
    ///
    /// # Errors
    /// It is no root key.
    pub fn trust_roots(&self) -> Result<quorate_license::TrustRoots> {
        let root =
            self.root_key.parse().map_err(|cause| Failure::wrong(format!("{}: {cause}", self.root_key)))?;
        Ok(quorate_license::TrustRoots(vec![root]))
    }
}
