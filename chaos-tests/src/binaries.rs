//! Where the programs under test are: beside the program that drives them.

use std::path::{Path, PathBuf};

use crate::{Failure, Result};

/// A folder that holds the programs, in place of the one beside this executable.
pub const BIN_DIR_VARIABLE: &str = "QUORATE_BIN_DIR";

/// The built programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// `quorate`.
    pub quorate: PathBuf,
    /// `quorate-portal`.
    pub portal: PathBuf,
    /// The folder that holds both.
    pub folder: PathBuf,
}

impl Binaries {
    /// The programs of this build: in `QUORATE_BIN_DIR`, otherwise beside this executable.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn find() -> Result<Self> {
        let folder = match std::env::var_os(BIN_DIR_VARIABLE) {
            Some(folder) => PathBuf::from(folder),
            None => profile_folder()?,
        };
        let quorate = program(&folder, "quorate")?;
        let portal = program(&folder, "quorate-portal")?;
        Ok(Binaries { quorate, portal, folder })
    }

    /// Another program of this project, for example `demo`.
    ///
    /// # Errors
    /// It is not there.
    pub fn sibling(name: &'static str) -> Result<PathBuf> {
        program(&profile_folder()?, name)
    }
}

/// The folder of cargo's profile, `target/debug`: test executables lie one folder deeper.
pub fn profile_folder() -> Result<PathBuf> {
    let executable = std::env::current_exe().map_err(Failure::file("find", "this program"))?;
    let folder = executable.parent().unwrap_or(Path::new("/"));
    let in_deps = folder.file_name().is_some_and(|name| name == "deps");
    Ok(if in_deps { folder.parent().unwrap_or(folder) } else { folder }.to_owned())
}

fn program(folder: &Path, name: &'static str) -> Result<PathBuf> {
    let path = folder.join(name);
    if path.is_file() { Ok(path) } else { Err(Failure::NotBuilt { name, path }) }
}
