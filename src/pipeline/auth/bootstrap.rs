//! Creates a token for the project `default` at the first start, so that the first request works.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Scope, Secret, TokenRecord, TokenStore, TokenStoreError};

/// The project of the first token.
pub const DEFAULT_PROJECT: &str = "default";

/// The file with the first token's secret.
const FILE: &str = "token";
/// Its name until the store has the token: a crash in between must not leave a file whose token does
/// not work.
const UNFINISHED: &str = "token.new";

/// Why the first token could not be created.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] TokenStoreError),
    /// The file could not be written.
    #[error("cannot write the first token into {0}: {1}")]
    File(std::path::PathBuf, io::Error),
    /// The system's random source failed.
    #[error("cannot create the first token: {0}")]
    Random(#[from] getrandom::Error),
}

/// Creates the first token, unless there is or was one: an ingest token for [`DEFAULT_PROJECT`], with
/// its secret in the file `token` in `data_dir`, readable by its owner only. Once that file exists, no
/// token is created, even if the first one has been revoked. Returns whether one was created.
///
/// # Errors
/// When the file or the store cannot be written.
pub async fn bootstrap(store: &dyn TokenStore, data_dir: &Path) -> Result<bool, BootstrapError> {
    let (file, unfinished) = (data_dir.join(FILE), data_dir.join(UNFINISHED));
    let failed = |error| BootstrapError::File(file.clone(), error);
    if let Some(secret) = read(&unfinished) {
        // An earlier start was interrupted: finish it, or start over.
        if store.find(&secret.hash()).await?.is_some() {
            fs::rename(&unfinished, &file).map_err(failed)?;
            return Ok(true);
        }
    }
    if file.exists() {
        return Ok(false);
    }
    let listing = store.listing().await;
    if listing.unreadable > 0 || !listing.whole()?.is_empty() {
        return Ok(false);
    }
    let secret = Secret::generate()?;
    let mut token = TokenRecord::new(&secret, Scope::Ingest, vec![DEFAULT_PROJECT.to_owned()])?;
    token.name = Some("created at the first start".to_owned());
    write(&unfinished, &secret).map_err(failed)?;
    store.create(token).await?;
    fs::rename(&unfinished, &file).map_err(failed)?;
    File::open(data_dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
    Ok(true)
}

/// The first token's secret, while its file exists. The token may have been revoked since.
pub fn default_token(data_dir: &Path) -> Option<Secret> {
    read(&data_dir.join(FILE))
}

fn read(path: &Path) -> Option<Secret> {
    Secret::parse(fs::read_to_string(path).ok()?.trim())
}

/// Creates the file with its final mode, so that it is never readable by others.
fn write(path: &Path, secret: &Secret) -> io::Result<()> {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", secret.expose())?;
    file.sync_all()
}
