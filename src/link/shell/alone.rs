//! An enrolment without a daemon: what a command writes down, and the next daemon goes on from.

use super::{
    EnrolError, View,
    files::{Files, Membership, Standing},
    here,
};
use std::path::Path;

/// Asks an office to take in the station `id`, which people call `name`.
pub async fn enrol(data: &Path, about: (&str, &str), office: &str, code: &str) -> Result<View, EnrolError> {
    let files = Files::new(data);
    if let Some(Membership { office, standing: Standing::Member(_), .. }) = files.read().map_err(here)? {
        return Err(EnrolError::Enrolled(office));
    }
    std::fs::create_dir_all(data).map_err(here)?;
    let membership = super::enrol(data, about, office, code).await?;
    files.write(&membership).map_err(here)?;
    Ok(View::of(&membership))
}

/// Somebody has compared the words, and they are the same.
pub fn compared(data: &Path) -> Result<View, EnrolError> {
    let files = Files::new(data);
    let mut membership = files.read().map_err(here)?.ok_or(EnrolError::Nothing)?;
    membership.compared()?;
    files.write(&membership).map_err(here)?;
    Ok(View::of(&membership))
}
