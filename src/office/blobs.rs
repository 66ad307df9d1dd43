//! Sounds by their hash: in a folder of the office, or in an S3-compatible store with a folder before it.
//!
//! Always true: under the name of a hash is what has this hash, whole, or nothing. What comes from S3 is held against its
//! name once, on its way into the folder; what lies in the folder is held against it when this process first reads it.
//! So a sound that was served once is served when S3 cannot be reached, and the folder before S3 may be deleted at any
//! time.
//!
//! Not here: which sounds there are and what they are called ([`super::store`]), HTTP.

use crate::link::BlobId;
use axum::body::Bytes;
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, RetryConfig, WriteMultipart,
    aws::AmazonS3Builder, local::LocalFileSystem, path::Path as Place,
};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs,
    io::{self, Read as _},
    ops::Range,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{io::AsyncReadExt as _, task::spawn_blocking};
use tokio_stream::{Stream, StreamExt as _};

/// What is larger is sent in parts of this size.
const PART_BYTES: usize = 8 << 20;
/// What is read of a file at a time.
const PIECE_BYTES: usize = 256 << 10;
/// An S3 store that does not answer by then is away.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a sound was not stored, or cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// No sound of this name is here.
    #[error("没有这个音频")]
    NotHere,
    /// What lies under the name is something else.
    #[error("音频文件 {0} 已损坏；请从备份恢复，或重新上传这个音频")]
    Corrupt(BlobId),
    /// It changed while it was read.
    #[error("文件在读取时被改动；请重新上传")]
    Changed,
    /// There is no room left.
    #[error("存放音频的磁盘满了；请腾出空间")]
    Full(#[source] object_store::Error),
    /// The place of the sounds cannot be reached, or refuses.
    #[error("读写不了音频；请检查存放音频的位置和网络")]
    Away(#[source] object_store::Error),
    /// A file cannot be read.
    #[error("读不了文件")]
    Read(#[from] io::Error),
    /// What `--blobs` says is no place.
    #[error("`{0}` 不是存放音频的位置；请写 s3://存储桶/前缀 或文件夹，不写则用主目录里的 blobs")]
    NoAddress(String),
}

impl From<object_store::Error> for BlobError {
    fn from(error: object_store::Error) -> Self {
        if matches!(error, object_store::Error::NotFound { .. }) {
            return Self::NotHere;
        }
        let mut causes = std::iter::successors(Some(&error as &dyn Error), |cause| (*cause).source());
        let is_full = causes.any(|cause| {
            let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
            matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
        });
        if is_full { Self::Full(error) } else { Self::Away(error) }
    }
}

/// The bytes of a sound as they come.
pub type BlobStream = Pin<Box<dyn Stream<Item = object_store::Result<Bytes>> + Send>>;

/// Where the sounds are. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    /// The folder.
    near: Arc<LocalFileSystem>,
    /// What the folder is before, and the prefix there.
    far: Option<(Arc<dyn ObjectStore>, Place)>,
    /// What this process knows to be what its name says.
    proven: Arc<Mutex<BTreeSet<BlobId>>>,
    /// A sound is fetched once at a time.
    fetching: Arc<Mutex<BTreeMap<BlobId, Arc<tokio::sync::Mutex<()>>>>>,
}

impl Blobs {
    /// Opens what `--blobs` says; where it says nothing, `blobs` in the office's home.
    pub fn open(blobs: Option<&str>, home: &Path) -> Result<Self, BlobError> {
        match blobs {
            None => Self::in_folder(&home.join("blobs")),
            Some(url) if url.starts_with("s3://") => Self::at(url, &home.join("blobs-cache")),
            Some(other) if other.is_empty() || other.contains("://") => Err(BlobError::NoAddress(other.to_owned())),
            Some(folder) => Self::in_folder(Path::new(folder)),
        }
    }

    /// Keeps them in a folder, which is made where it is not there.
    pub fn in_folder(folder: &Path) -> Result<Self, BlobError> {
        fs::create_dir_all(folder)?;
        let near = Arc::new(LocalFileSystem::new_with_prefix(folder)?.with_fsync(true));
        Ok(Self { near, far: None, proven: Arc::default(), fetching: Arc::default() })
    }

    /// Keeps them at `s3://bucket/prefix`; who may, and where that is, the environment says, as for every such program:
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`. What was read stays in `cache`.
    pub fn at(url: &str, cache: &Path) -> Result<Self, BlobError> {
        Self::on_s3(AmazonS3Builder::from_env(), url, cache)
    }

    fn on_s3(builder: AmazonS3Builder, url: &str, cache: &Path) -> Result<Self, BlobError> {
        // Whoever installs one first is right; all of ours are this one.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let path = url.strip_prefix("s3://").ok_or_else(|| BlobError::NoAddress(url.to_owned()))?;
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        if bucket.is_empty() {
            return Err(BlobError::NoAddress(url.to_owned()));
        }
        // In a town's own network such a store often has no certificate; what it gives is held against its hash anyway.
        let patient = ClientOptions::new().with_allow_http(true).with_connect_timeout(PATIENCE);
        let patient = patient.with_timeout_disabled().with_read_timeout(PATIENCE * 4);
        let retry = RetryConfig { max_retries: 2, retry_timeout: PATIENCE, ..RetryConfig::default() };
        let far = builder.with_bucket_name(bucket).with_client_options(patient).with_retry(retry).build()?;
        let prefix = Place::parse(prefix).map_err(|_| BlobError::NoAddress(url.to_owned()))?;
        Ok(Self { far: Some((Arc::new(far), prefix)), ..Self::in_folder(cache)? })
    }

    /// Stores these bytes, on the disk when this returns, and returns their name.
    pub async fn put(&self, bytes: Bytes) -> Result<BlobId, BlobError> {
        let blob = BlobId::of(&bytes);
        match &self.far {
            None => drop(self.near.put(&name(&blob), bytes.into()).await?),
            Some((far, prefix)) => {
                far.put(&under(prefix, &blob), bytes.clone().into()).await?;
                // The folder is only before it.
                if self.near.put(&name(&blob), bytes.into()).await.is_err() {
                    return Ok(blob);
                }
            }
        }
        lock(&self.proven).insert(blob);
        Ok(blob)
    }

    /// Stores what is in a file, however large, and returns its name.
    pub async fn put_file(&self, file: &Path) -> Result<BlobId, BlobError> {
        if tokio::fs::metadata(file).await?.len() <= PART_BYTES as u64 {
            return self.put(tokio::fs::read(file).await?.into()).await;
        }
        let path = file.to_owned();
        let blob = spawn_blocking(move || hash_of(&path)).await.map_err(io::Error::other)??;
        let (store, place): (&dyn ObjectStore, _) = match &self.far {
            None => (&*self.near, name(&blob)),
            Some((far, prefix)) => (&**far, under(prefix, &blob)),
        };
        let mut upload = Upload::begin(store, &place).await?;
        let mut file = tokio::fs::File::open(file).await?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = match file.read(&mut piece).await {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) => {
                    upload.abandon().await;
                    return Err(error.into());
                }
            };
            upload.write(&piece[..read]).await?;
        }
        if !upload.finish(&blob).await? {
            return Err(BlobError::Changed);
        }
        Ok(blob)
    }

    /// Returns how many bytes a sound has; none where it is not here.
    pub async fn len(&self, blob: &BlobId) -> Result<Option<u64>, BlobError> {
        let here = match (self.near.head(&name(blob)).await, &self.far) {
            (Err(object_store::Error::NotFound { .. }), Some((far, prefix))) => far.head(&under(prefix, blob)).await,
            (near, _) => near,
        };
        match here {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns bytes `range` of a sound, as far as it has them.
    pub async fn range(&self, blob: &BlobId, range: Range<u64>) -> Result<BlobStream, BlobError> {
        let (store, place): (&dyn ObjectStore, _) = match &self.far {
            Some((far, prefix)) if !self.fetch(far, prefix, blob).await? => (&**far, under(prefix, blob)),
            None if !self.is_near(blob).await? => return Err(BlobError::NotHere),
            _ => (&*self.near, name(blob)),
        };
        if range.is_empty() {
            return Ok(Box::pin(tokio_stream::empty()));
        }
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        Ok(store.get_opts(&place, options).await?.into_stream())
    }

    /// Returns whether a sound lies in the folder as its name says. What does not is removed where there is another copy.
    async fn is_near(&self, blob: &BlobId) -> Result<bool, BlobError> {
        match self.near.head(&name(blob)).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            found => drop(found?),
        }
        if lock(&self.proven).contains(blob) {
            return Ok(true);
        }
        let file = self.near.path_to_filesystem(&name(blob))?;
        if spawn_blocking(move || hash_of(&file)).await.map_err(io::Error::other)?? == *blob {
            lock(&self.proven).insert(*blob);
            return Ok(true);
        }
        if self.far.is_none() {
            return Err(BlobError::Corrupt(*blob));
        }
        tracing::warn!(%blob, "the copy of a sound before S3 is broken and is fetched again");
        self.near.delete(&name(blob)).await?;
        Ok(false)
    }

    /// Sees to it that a sound lies in the folder. False where the folder cannot take it.
    async fn fetch(&self, far: &Arc<dyn ObjectStore>, prefix: &Place, blob: &BlobId) -> Result<bool, BlobError> {
        if self.is_near(blob).await? {
            return Ok(true);
        }
        let turn = lock(&self.fetching).entry(*blob).or_default().clone();
        let _turn = turn.lock().await;
        let fetched = match self.is_near(blob).await {
            Ok(false) => self.copy(far, prefix, blob).await,
            near => near,
        };
        lock(&self.fetching).remove(blob);
        fetched
    }

    async fn copy(&self, far: &Arc<dyn ObjectStore>, prefix: &Place, blob: &BlobId) -> Result<bool, BlobError> {
        let mut stream = far.get(&under(prefix, blob)).await?.into_stream();
        let Ok(mut upload) = Upload::begin(&*self.near, &name(blob)).await else { return Ok(false) };
        while let Some(piece) = stream.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => {
                    upload.abandon().await;
                    return Err(error.into());
                }
            };
            if let Err(error) = upload.write(&piece).await {
                tracing::warn!(%error, "the folder before S3 takes no sound");
                return Ok(false);
            }
        }
        match upload.finish(blob).await {
            Ok(true) => {
                lock(&self.proven).insert(*blob);
                Ok(true)
            }
            Ok(false) => Err(BlobError::Corrupt(*blob)),
            Err(_) => Ok(false),
        }
    }
}

/// A sound on its way, under its name only once it is whole.
struct Upload {
    parts: WriteMultipart,
    hash: Sha256,
}

impl Upload {
    async fn begin(store: &dyn ObjectStore, place: &Place) -> Result<Self, BlobError> {
        let parts = store.put_multipart(place).await?;
        Ok(Self { parts: WriteMultipart::new_with_chunk_size(parts, PART_BYTES), hash: Sha256::new() })
    }

    async fn write(&mut self, piece: &[u8]) -> Result<(), BlobError> {
        self.parts.wait_for_capacity(2).await?;
        self.hash.update(piece);
        self.parts.write(piece);
        Ok(())
    }

    /// Puts it in its place, if it is what its name says.
    async fn finish(self, blob: &BlobId) -> Result<bool, BlobError> {
        if crate::text::hex(&self.hash.clone().finalize()) != blob.to_string() {
            self.abandon().await;
            return Ok(false);
        }
        self.parts.finish().await?;
        Ok(true)
    }

    async fn abandon(self) {
        // What cannot be taken away has no name and is in nobody's way.
        let _ = self.parts.abort().await;
    }
}

fn name(blob: &BlobId) -> Place {
    Place::from(blob.to_string())
}

fn under(prefix: &Place, blob: &BlobId) -> Place {
    prefix.clone().join(blob.to_string())
}

/// A set or map is whole after every statement, so it can be used though somebody panicked.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hash_of(file: &Path) -> io::Result<BlobId> {
    let (mut file, mut hash, mut piece) = (fs::File::open(file)?, Sha256::new(), vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut piece)? {
            0 => break,
            read => hash.update(&piece[..read]),
        }
    }
    BlobId::try_from(crate::text::hex(&hash.finalize())).map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
