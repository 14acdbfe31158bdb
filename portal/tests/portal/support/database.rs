//! A new, empty database for each test.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;

const PASSWORD: &str = "a-password-of-the-tests";

/// A database of its own.
pub(crate) enum Database {
    Sqlite { folder: TempDir },
    Postgres { url: String, server: &'static Server },
}

/// The PostgreSQL server of this run. A shell stands between: when this process ends, in whatever
/// way, the shell's standard input ends, and it stops the server and removes the folder.
pub(crate) struct Server {
    port: u16,
    bin: PathBuf,
    _shell: Child,
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        Database::Sqlite { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn postgres() -> Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = SERVER.get_or_init(Server::start);
        let name = format!("portal_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        server.psql("postgres", &format!("CREATE DATABASE {name}"));
        Database::Postgres {
            url: format!("postgres://postgres:{PASSWORD}@127.0.0.1:{}/{name}", server.port),
            server,
        }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Database::Sqlite { folder } => format!("sqlite://{}", folder.path().join("portal.db").display()),
            Database::Postgres { url, .. } => url.clone(),
        }
    }

    /// Host and port of the server.
    pub(crate) fn address(&self) -> String {
        match self {
            Database::Sqlite { .. } => panic!("a file has no address"),
            Database::Postgres { server, .. } => format!("127.0.0.1:{}", server.port),
        }
    }

    /// Changes PostgreSQL's records behind the portal's back.
    pub(crate) fn run(&self, sql: &str) {
        match self {
            Database::Sqlite { .. } => panic!("this is for PostgreSQL"),
            Database::Postgres { url, server } => {
                server.psql(url.rsplit('/').next().unwrap_or_default(), sql);
            }
        }
    }

    /// Everything that the database holds, as bytes: SQLite's files, PostgreSQL's dump.
    pub(crate) fn dump(&self) -> Vec<u8> {
        match self {
            Database::Sqlite { folder } => {
                let files = fs::read_dir(folder.path()).unwrap();
                files.flat_map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
            }
            Database::Postgres { url, server } => {
                let dump = Command::new(server.bin.join("pg_dump")).arg(url).output().unwrap();
                assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
                dump.stdout
            }
        }
    }
}

impl Server {
    fn start() -> Self {
        let bin = binaries();
        let folder = TempDir::with_prefix("quorate-portal-postgres-").unwrap().keep();
        // The server's user has to get in; what is inside is its own.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let data = folder.join("data");
        fs::create_dir(&data).unwrap();
        let password_file = folder.join("password");
        fs::write(&password_file, PASSWORD).unwrap();
        let as_user = user_prefix(&[&data, &password_file]);

        let mut initdb = command(&as_user, &bin.join("initdb"));
        initdb.args(["-U", "postgres", "-A", "scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C"]);
        let done = initdb.arg("--pwfile").arg(&password_file).arg("-D").arg(&data).output().unwrap();
        assert!(done.status.success(), "initdb: {}", String::from_utf8_lossy(&done.stderr));

        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server: Vec<String> = as_user;
        server.extend([bin.join("postgres").display().to_string(), "-D".into(), data.display().to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            format!("unix_socket_directories={}", data.display()),
            "max_connections=300".to_owned(),
            "shared_buffers=16MB".to_owned(),
        ] {
            server.extend(["-c".to_owned(), setting]);
        }
        let script = r#"trap "" INT TERM HUP
            folder="$1"; shift
            "$@" >"$folder/log" 2>&1 </dev/null & server=$!
            read -r _
            kill -INT "$server"; wait "$server"; rm -rf "$folder""#;
        let shell = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(&folder)
            .args(&server)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let server = Server { port, bin, _shell: shell };
        server.wait_until_ready(&folder.join("log"));
        server
    }

    fn wait_until_ready(&self, log: &Path) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let port = self.port.to_string();
        loop {
            let asked = Command::new(self.bin.join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", port.as_str()])
                .status()
                .unwrap();
            if asked.success() {
                return;
            }
            let log = || fs::read_to_string(log).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL does not start: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn psql(&self, database: &str, sql: &str) {
        let mut psql = Command::new(self.bin.join("psql"))
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"])
            .args(["-p", self.port.to_string().as_str(), database])
            .env("PGPASSWORD", PASSWORD)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        psql.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
        assert!(psql.wait().unwrap().success(), "{sql}");
    }
}

/// Debian keeps the binaries of each version in a folder of its own: the newest.
fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| Some((version.file_name().to_str()?.parse().ok()?, version.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").exists() && bin.join("postgres").exists())
        .collect();
    found.sort();
    match found.pop() {
        Some((_, bin)) => bin,
        None => panic!("PostgreSQL is not installed: run apt-get install postgresql"),
    }
}

/// PostgreSQL refuses to run as root: then it runs as the user `postgres` of its package, who gets
/// these files.
fn user_prefix(files: &[&Path]) -> Vec<String> {
    if !nix::unistd::Uid::effective().is_root() {
        return Vec::new();
    }
    for file in files {
        assert!(Command::new("chown").arg("postgres").arg(file).status().unwrap().success());
    }
    ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"].map(str::to_owned).to_vec()
}

fn command(prefix: &[String], program: &Path) -> Command {
    let mut command = match prefix {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    command.current_dir("/").env("LC_ALL", "C");
    command
}
