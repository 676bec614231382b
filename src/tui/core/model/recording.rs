//! A running recording.

/// A running recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// The file.
    pub path: String,
    /// Bytes written.
    pub bytes: u64,
    /// Messages lost because the disk is too slow.
    pub lost: u64,
    /// Why recording stopped, if the user did not stop it; stays on the screen.
    pub broke: Option<String>,
}
