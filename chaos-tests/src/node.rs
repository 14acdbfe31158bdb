//! One node: its folder, its configuration, its process, and the ways to ask it.

use std::{
    ffi::OsString,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::{Ipv4Addr, SocketAddr},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::{
    Failure, Result,
    cli::{Answer, Cli},
    client::{Admin, Product},
    files, http,
    process::{Process, Start},
};

/// How long a node may take to stop when asked.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// The longest path that a Unix socket can have, with some room.
const MAX_SOCKET_PATH: usize = 100;

/// What a node is to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A Management Server.
    Management,
    /// A Spooler Controller.
    Spooler,
}

/// A node of a cluster that is driven from here.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it is to the cluster.
    pub role: Role,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Node to node.
    pub raft: SocketAddr,
    /// The product's gRPC over TCP.
    pub grpc: SocketAddr,
    /// Management over HTTPS.
    pub http: SocketAddr,
    /// Operations.
    pub ops: SocketAddr,
    /// The product's gRPC.
    pub socket: PathBuf,
    /// The administrator's gRPC.
    pub admin_socket: PathBuf,
    /// What it takes for its host's machine id.
    pub machine_id_file: PathBuf,
    /// The watched version file of the licensed product.
    pub build_file: PathBuf,
    /// The configuration, to be changed before [`Node::write_config`].
    pub settings: Table,
    /// Variables of its environment.
    pub environment: Vec<(String, OsString)>,
    /// A command in front of `quorate`, such as `unshare --uts`. It must end in the program itself (`exec`).
    pub wrapper: Vec<OsString>,
    quorate: PathBuf,
    log: PathBuf,
    own_group: bool,
    process: Option<Process>,
}

/// What a node is made of.
#[derive(Debug, Clone)]
pub struct NodePlan {
    /// Its name.
    pub name: String,
    /// What it is to the cluster.
    pub role: Role,
    /// The folder that holds everything of it.
    pub folder: PathBuf,
    /// Where it listens, on the default ports.
    pub address: Ipv4Addr,
    /// The `quorate` program.
    pub quorate: PathBuf,
    /// Ctrl-C at the terminal does not reach it.
    pub own_group: bool,
}

impl Node {
    /// The node with its machine id, version file and the settings that every node has. Nothing runs yet.
    ///
    /// # Errors
    /// Its folder can't be written.
    pub fn prepare(plan: NodePlan) -> Result<Self> {
        let NodePlan { name, role, folder, address, quorate, own_group } = plan;
        files::make_folder(&folder)?;
        let data_dir = folder.join("data");
        let sockets = socket_folder(&data_dir);
        files::make_folder(&sockets)?;
        let at = |port| SocketAddr::from((address, port));
        let mut node = Node {
            config: folder.join("quorate.toml"),
            raft: at(7400),
            grpc: at(7401),
            http: at(7443),
            ops: at(7480),
            socket: sockets.join("quorate.sock"),
            admin_socket: sockets.join("admin.sock"),
            machine_id_file: folder.join("machine-id"),
            build_file: folder.join("product-version"),
            settings: Table::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            log: folder.join("serve.log"),
            process: None,
            name,
            role,
            data_dir,
            quorate,
            own_group,
        };
        files::write(&node.machine_id_file, format!("{:032x}\n", rand::random::<u128>() | 1))?;
        files::write(&node.build_file, "7.2.0\n")?;
        node.set("node", "name", node.name.clone());
        node.set("node", "data_dir", path_text(&node.data_dir));
        for (key, address) in
            [("raft", node.raft), ("grpc", node.grpc), ("http", node.http), ("ops", node.ops)]
        {
            node.set("listen", key, address.to_string());
        }
        if sockets != node.data_dir {
            node.set("listen", "socket", path_text(&node.socket));
            node.set("listen", "admin_socket", path_text(&node.admin_socket));
        }
        node.set("identity", "machine_id_file", path_text(&node.machine_id_file));
        node.set("build", "file", path_text(&node.build_file));
        Ok(node)
    }

    /// Changes the configuration; [`Node::write_config`] brings it to the file.
    pub fn set(&mut self, section: &str, key: &str, value: impl Into<Value>) {
        let table = self.settings.entry(section).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(table) = table {
            table.insert(key.to_owned(), value.into());
        }
    }

    /// Takes a key out of the configuration; [`Node::write_config`] brings it to the file.
    pub fn unset(&mut self, section: &str, key: &str) {
        if let Some(Value::Table(table)) = self.settings.get_mut(section) {
            table.remove(key);
        }
    }

    /// Writes the configuration file.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write_config(&self) -> Result<()> {
        files::write(&self.config, self.settings.to_string())
    }

    /// A `quorate` command for this node.
    pub fn cli<A: Into<OsString>>(&self, arguments: impl IntoIterator<Item = A>) -> Cli {
        let mut cli = Cli::new(&self.quorate, ["--config".into(), self.config.clone().into_os_string()]);
        for (name, value) in &self.environment {
            cli = cli.env(name, value);
        }
        cli.args(arguments).wrapper(&self.wrapper)
    }

    /// Joins a cluster with a token; the node does not run yet.
    ///
    /// # Errors
    /// The command can't be run.
    pub fn join(&self, token: &str, server: SocketAddr) -> Result<Answer> {
        self.cli(["join", "--token-file", "-", "--server", &server.to_string(), "-o", "json"])
            .stdin(token)
            .run()
    }

    /// Starts `quorate serve`.
    ///
    /// # Errors
    /// It can't be started, or it runs.
    pub fn serve(&mut self) -> Result<()> {
        self.serve_with(&[])
    }

    /// Starts `quorate serve` with further variables in its environment.
    ///
    /// # Errors
    /// It can't be started, or it runs.
    pub fn serve_with(&mut self, variables: &[(&str, &str)]) -> Result<()> {
        if self.runs() {
            return Err(Failure::wrong(format!("{} runs already", self.name)));
        }
        let mut words = self.wrapper.clone();
        words.extend([
            self.quorate.clone().into(),
            "--config".into(),
            self.config.clone().into(),
            "serve".into(),
        ]);
        let mut environment = self.environment.clone();
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))));
        self.process = Some(Process::start(&Start {
            name: self.name.clone(),
            program: words.remove(0).into(),
            arguments: words,
            environment,
            log: self.log.clone(),
            own_group: self.own_group,
        })?);
        Ok(())
    }

    /// The id of its process, while it runs or until its end was noticed.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Whether its process runs.
    pub fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// How its process ended, if it was started and has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.as_mut().and_then(Process::ended)
    }

    /// That its process runs.
    ///
    /// # Errors
    /// It was not started, or ended by itself.
    pub fn must_run(&mut self) -> Result<()> {
        match self.process.as_mut() {
            Some(process) => process.must_run(),
            None => Err(Failure::wrong(format!("{} was not started", self.name))),
        }
    }

    /// Kills it as `kill -9` does.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Asks it to stop, and kills it if it does not.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn stop(&mut self) -> Result<Option<ExitStatus>> {
        self.process.take().map(|mut process| process.stop(STOP_PATIENCE)).transpose()
    }

    /// Asks it to stop and does not wait.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn ask_to_stop(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), |process| process.signal(nix::sys::signal::Signal::SIGTERM))
    }

    /// Stops its process where it is (SIGSTOP); it keeps its connections and answers nothing.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn pause(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), |process| process.signal(nix::sys::signal::Signal::SIGSTOP))
    }

    /// Lets a paused process go on (SIGCONT).
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn resume(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), |process| process.signal(nix::sys::signal::Signal::SIGCONT))
    }

    /// The value of one of its metrics, without labels or with them as they are shown; 0 if it has none.
    ///
    /// # Errors
    /// The operations port does not answer.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let shown = http::get(self.ops, "/metrics")?.body;
        let line = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0))
    }

    /// Waits until its process has ended by itself.
    ///
    /// # Errors
    /// It was not started, or runs at the deadline.
    pub fn wait_end(&mut self, deadline: Duration) -> Result<ExitStatus> {
        match self.process.as_mut() {
            Some(process) => process.wait(deadline),
            None => Err(Failure::wrong(format!("{} was not started", self.name))),
        }
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The product's face.
    pub fn product(&self) -> Product {
        Product::new(&self.name, &self.socket)
    }

    /// The administrator's face.
    pub fn admin(&self) -> Admin {
        Admin::new(&self.name, &self.admin_socket)
    }

    /// The license file of the default tenant.
    pub fn license_file(&self) -> PathBuf {
        self.data_dir.join("licenses/default.lic")
    }

    /// The receipt of the default tenant.
    pub fn receipt_file(&self) -> PathBuf {
        self.data_dir.join("licenses/default.receipt")
    }
}

impl Role {
    /// The word for it, as the command line has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Management => "management",
            Role::Spooler => "spooler",
        }
    }
}

/// Where a node's sockets go: into its data directory, or where the path is too long for a socket, into a short
/// folder that belongs to it.
fn socket_folder(data_dir: &Path) -> PathBuf {
    if data_dir.as_os_str().as_bytes().len() + "/quorate.sock".len() <= MAX_SOCKET_PATH {
        return data_dir.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    data_dir.hash(&mut hasher);
    std::env::temp_dir().join(format!("quorate-{:016x}", hasher.finish()))
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_a_deep_folder_get_a_short_path_of_their_own() {
        let short = Path::new("/srv/demo/management-1/data");
        assert_eq!(socket_folder(short), short);
        let deep = PathBuf::from(format!("/srv/{}/data", "x".repeat(120)));
        let folder = socket_folder(&deep);
        assert!(folder.as_os_str().len() < 80, "{folder:?}");
        assert_eq!(folder, socket_folder(&deep));
        assert_ne!(folder, socket_folder(&deep.join("other")));
    }
}
