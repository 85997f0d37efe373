//! The secret key in the data directory.

use application::random;

use crate::config::Config;

/// Returns the configured key, or one that is generated at the first start and stored in the data directory.
pub(crate) fn secret_key(config: &Config) -> Result<String, String> {
    if let Some(key) = &config.secret_key {
        return Ok(key.clone());
    }
    let path = config.data_dir.join("secret_key");
    let failed = |error: std::io::Error| {
        format!("SECRET_KEY is not set, and {} is not usable: {error}", path.display())
    };
    match std::fs::read_to_string(&path) {
        Ok(key) if key.trim().len() >= 32 => Ok(key.trim().to_owned()),
        Ok(_) => Err(format!("{} does not contain a key of at least 32 bytes: delete it", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::create_dir_all(&config.data_dir).map_err(failed)?;
            let key = random::token::<32>().map_err(|error| error.to_string())?;
            // A temporary file is readable by its owner only, and is renamed once it is complete.
            let file = tempfile::NamedTempFile::new_in(&config.data_dir).map_err(failed)?;
            std::fs::write(file.path(), &key).map_err(failed)?;
            match file.persist_noclobber(&path) {
                Ok(_) => Ok(key),
                // Another process was faster.
                Err(_) => Ok(std::fs::read_to_string(&path).map_err(failed)?.trim().to_owned()),
            }
        }
        Err(error) => Err(failed(error)),
    }
}
