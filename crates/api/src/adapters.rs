//! Makes the adapters that the settings name.

use std::{path::Path, sync::Arc};

use application::{
    keyed_hash::KeyedHash,
    media::{Limits, MediaInspector},
    rate_limit::LocalLimiter,
};
use domain::{mailer::Mailer, media::MediaStore, rate_limit::RateLimiter};
use infra_cloudinary::Cloudinary;
use infra_disk::DiskStore;
use infra_redis::RedisLimiter;
use infra_smtp::{DevInbox, SmtpConfig, SmtpMailer};
use infra_socketio::SocketConfig;

use crate::{
    config::{Config, cores},
    request::{UploadDir, address_of},
};

impl UploadDir for infra_disk::UploadDir {
    fn path(&self) -> &Path {
        self.path()
    }

    fn has_space(&self) -> bool {
        self.has_space()
    }
}

/// Creates the directory of this process for files that are being received, in `shared`. They leave `reserve` bytes of the
/// disk free.
pub(crate) fn upload_dir(shared: &Path, reserve: u64) -> Result<Arc<dyn UploadDir>, String> {
    let directory = infra_disk::UploadDir::create(shared, reserve);
    Ok(Arc::new(directory.map_err(|error| format!("{}: {error}", shared.display()))?))
}

/// Returns the mailer, and the development inbox if there is no SMTP server.
pub(crate) fn mailer(config: &Config) -> Result<(Arc<dyn Mailer>, Option<DevInbox>), String> {
    if let Some(smtp) = &config.smtp {
        return Ok((Arc::new(smtp_mailer(smtp)?), None));
    }
    let inbox = DevInbox::new();
    Ok((Arc::new(inbox.clone()), Some(inbox)))
}

pub(crate) fn smtp_mailer(smtp: &SmtpConfig) -> Result<SmtpMailer, String> {
    SmtpMailer::new(smtp.clone()).map_err(|error| format!("SMTP_HOST, SENDER_EMAIL: {error}"))
}

/// Returns the media store, and the local one if media is stored on this machine.
pub(crate) async fn media_store(config: &Config) -> Result<(Arc<dyn MediaStore>, Option<DiskStore>), String> {
    if let Some(account) = config.cloudinary.clone() {
        let cloudinary = Cloudinary::new(account).map_err(|error| format!("CLOUDINARY_…: {error}"))?;
        return Ok((Arc::new(cloudinary), None));
    }
    let root = config.data_dir.join("media");
    let disk = DiskStore::open(&root).await.map_err(|error| format!("{}: {error}", root.display()))?;
    Ok((Arc::new(disk.clone()), Some(disk)))
}

/// Returns the inspector of uploaded files.
pub(crate) fn media_inspector(config: &Config) -> MediaInspector {
    let limits = Limits {
        image_bytes: config.max_image_bytes,
        video_bytes: config.max_video_bytes,
        pixels: config.max_pixels,
        ..Limits::default()
    };
    MediaInspector::new(limits, cores())
}

/// Returns a rate limiter that counts in Redis for all processes or, without Redis, for this process.
pub(crate) fn rate_limiter(config: &Config, secrets: &KeyedHash) -> Result<Arc<dyn RateLimiter>, String> {
    let local = Arc::new(LocalLimiter::default());
    let Some(url) = &config.redis_url else { return Ok(local) };
    let prefix = format!("social-limit-{}:", deployment_id(secrets));
    let shared = RedisLimiter::new(url, prefix, local).map_err(|error| format!("REDIS_URL: {error}"))?;
    Ok(Arc::new(shared))
}

/// Identifies the deployment by its key, since deployments may share a Redis server.
fn deployment_id(secrets: &KeyedHash) -> String {
    let tag = u64::from_le_bytes(secrets.hash("redis", &[])[..8].try_into().unwrap_or_default());
    format!("{tag:016x}")
}

/// Returns the settings of the Socket.IO server.
pub(crate) fn socket_config(config: &Config, secrets: &KeyedHash) -> SocketConfig {
    SocketConfig {
        origins: config.cors_origins.clone(),
        max_per_address: config.sockets_per_address,
        address: |request| Some(address_of(request)),
        redis_url: config.redis_url.clone(),
        redis_channel: format!("social-live-{}", deployment_id(secrets)),
        redis_key: secrets.hash("redis messages", &[]),
        ..SocketConfig::default()
    }
}
