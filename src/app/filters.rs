//! The filters, with the file of hosts that send spam as the referrer.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use color_eyre::eyre::{Result, WrapErr, ensure};

use crate::config::Settings;
use bklit_pipeline::intake::filters::Filters;

/// The largest file, in bytes. Known lists are a few tens of kilobytes long.
const MAX_FILE: u64 = 16 << 20;

/// The filters of the settings.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn filters(settings: &Settings) -> Result<Filters> {
    let file = settings.filters.referrers_file.as_ref();
    let lines = match file.filter(|_| settings.roles.accept_events()) {
        Some(path) => {
            let path_shown = path.display();
            let lines = read(path);
            Some(lines.wrap_err_with(|| {
                format!(
                    "cannot read filters.referrers_file ({path_shown}): fix the path, or unset it"
                )
            })?)
        }
        None => None,
    };
    Ok(Filters::new(settings.filters.clone(), settings.privacy.clone(), lines.as_deref()))
}

fn read(path: &Path) -> Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    ensure!(read as u64 <= MAX_FILE, "larger than {MAX_FILE} bytes");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_must_be_readable_and_small() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spammers.txt");
        assert!(read(&path).is_err());
        std::fs::write(&path, "spam.example\n").unwrap();
        assert_eq!(read(&path).unwrap(), "spam.example\n");
        File::create(&path).unwrap().set_len(MAX_FILE).unwrap();
        assert!(read(&path).is_ok());
        File::create(&path).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert_eq!(read(&path).unwrap_err().to_string(), "larger than 16777216 bytes");
    }
}
