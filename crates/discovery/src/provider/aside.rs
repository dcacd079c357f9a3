//! Files that a source needs, read where it stalls nobody else.

use model::ProviderError;
use settings::{Aside, Secret, SecretSource};

/// Reads what a source needs of `what`. A reading that hangs is the fault of this source alone.
///
/// # Errors
/// [`ProviderError::Stalled`] if it does not end in time, or the one before it has not ended yet.
pub(crate) async fn read<T: Send + 'static>(
    aside: &Aside,
    what: impl std::fmt::Display,
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ProviderError> {
    aside.run(read).await.map_err(|stalled| ProviderError::Stalled(format!("{what}: {stalled}")))
}

/// A secret as it is now; or why its file cannot be used.
///
/// # Errors
/// As [`read`].
pub(crate) async fn secret(aside: &Aside, source: &SecretSource) -> Result<Result<Secret, String>, ProviderError> {
    let own = source.clone();
    let read_it = move || own.read().map_err(|error| error.to_string());
    match source.file() {
        None => Ok(read_it()),
        Some(file) => read(aside, file.display(), read_it).await,
    }
}
