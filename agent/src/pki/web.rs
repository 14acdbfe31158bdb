//! The certificate of the management port, if the administrator brings one.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_util::sync::CancellationToken;

use super::{
    CertificateFacts, CertificateFiles, FilesError, PkiError, Watched, brought::Pair, tls::web_config,
};

/// A certificate from files.
pub struct FileCertificate(Arc<Watched<Pair>>);

impl FileCertificate {
    /// Reads the files. Blocks on the disk.
    ///
    /// # Errors
    /// [`FilesError`] if a file is not what it should be, the key is not the certificate's, or everybody may read it.
    pub fn read(files: CertificateFiles) -> Result<Arc<Self>, FilesError> {
        Ok(Arc::new(FileCertificate(Watched::read(files)?)))
    }

    /// TLS that shows this certificate: no client certificates.
    ///
    /// # Errors
    /// [`PkiError::Tls`].
    pub fn config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, PkiError> {
        web_config(self.clone())
    }

    /// Shows what the files hold, whenever they have changed, until `stop`. `told` hears of it, and whether what they hold
    /// now can't be used.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken, told: impl Fn(&CertificateFacts, bool)) {
        let told = move |pair: &Pair, trouble| told(&pair.facts, trouble);
        self.0.clone().watch("the management port", |_| Ok(()), stop, told).await;
    }

    /// Why what the files hold now can't be used, if it can't.
    pub fn trouble(&self) -> Option<String> {
        self.0.trouble()
    }
}

impl std::fmt::Debug for FileCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileCertificate({})", self.0.now().facts.serial)
    }
}

impl ResolvesServerCert for FileCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.now().certified.clone())
    }
}
