//! The same tests on a folder and on a real S3-compatible server, which listens in this process.

use super::*;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};

/// A store of sounds, and the folder in which its files lie in the end.
struct Fresh {
    blobs: Blobs,
    kept: PathBuf,
    folder: TempDir,
    server: Option<S3>,
}

/// An S3-compatible server. It ends when this is dropped, with every connection.
struct S3 {
    address: std::net::SocketAddr,
    _work: JoinSet<()>,
}

impl S3 {
    async fn start(root: &Path) -> Self {
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
        service.set_auth(SimpleAuth::from_single("key", "secret"));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut work = JoinSet::new();
        work.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                connections.spawn(async move {
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, _work: work }
    }

    fn open(&self, cache: &Path) -> Blobs {
        let builder = AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", self.address))
            .with_access_key_id("key")
            .with_secret_access_key("secret")
            .with_region("us-east-1");
        Blobs::on_s3(builder, "s3://office/青石镇/sounds", cache).unwrap()
    }
}

impl Fresh {
    async fn both() -> [Self; 2] {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("blobs");
        let plain = Self { blobs: Blobs::open(None, folder.path()).unwrap(), kept, folder, server: None };
        [plain, Self::on_s3().await]
    }

    async fn on_s3() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("s3/office/青石镇/sounds");
        fs::create_dir_all(folder.path().join("s3/office")).unwrap();
        let server = S3::start(&folder.path().join("s3")).await;
        let blobs = server.open(&folder.path().join("cache"));
        Self { blobs, kept, folder, server: Some(server) }
    }

    /// The same, to an office that has just started, with nothing in the folder before S3.
    fn again(&self) -> Blobs {
        let cache = tempfile::tempdir_in(self.folder.path()).unwrap().keep();
        match &self.server {
            Some(server) => server.open(&cache),
            None => Blobs::in_folder(&self.kept).unwrap(),
        }
    }
}

async fn read(blobs: &Blobs, blob: &BlobId, range: Range<u64>) -> Result<Vec<u8>, BlobError> {
    let mut stream = blobs.range(blob, range).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

fn sound(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).take(bytes).collect()
}

#[tokio::test]
async fn what_was_stored_is_read_whole_and_in_parts() {
    for fresh in Fresh::both().await {
        let bytes = sound(300_000);
        let blob = fresh.blobs.put(bytes.clone().into()).await.unwrap();
        assert_eq!(blob, BlobId::of(&bytes));
        // Twice is once.
        fresh.blobs.put(bytes.clone().into()).await.unwrap();
        for blobs in [fresh.blobs.clone(), fresh.again()] {
            assert_eq!(blobs.len(&blob).await.unwrap(), Some(300_000));
            for range in [0..300_000, 0..1, 299_999..300_000, 65_535..131_073, 7..7, 299_000..u64::MAX] {
                let end = usize::try_from(range.end.min(300_000)).unwrap();
                let part = &bytes[usize::try_from(range.start).unwrap()..end];
                assert!(read(&blobs, &blob, range.clone()).await.unwrap() == part, "{range:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_file_is_stored_however_large_or_small() {
    for fresh in Fresh::both().await {
        let file = fresh.folder.path().join("甲.wav");
        for bytes in [0, 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 12_345] {
            let bytes = sound(bytes);
            fs::write(&file, &bytes).unwrap();
            let blob = fresh.blobs.put_file(&file).await.unwrap();
            assert_eq!(blob, BlobId::of(&bytes));
            for blobs in [fresh.blobs.clone(), fresh.again()] {
                assert_eq!(blobs.len(&blob).await.unwrap(), Some(bytes.len() as u64));
                let all = 0..bytes.len() as u64;
                assert!(read(&blobs, &blob, all).await.unwrap() == bytes, "{} bytes", bytes.len());
            }
        }
        let missing = fresh.blobs.put_file(&fresh.folder.path().join("nothing.wav")).await;
        assert!(matches!(missing, Err(BlobError::Read(_))));
    }
}

#[tokio::test]
async fn what_is_not_here_is_not_here() {
    for fresh in Fresh::both().await {
        let blob = BlobId::of(b"nothing");
        assert_eq!(fresh.blobs.len(&blob).await.unwrap(), None);
        assert!(matches!(read(&fresh.blobs, &blob, 0..1).await, Err(BlobError::NotHere)));
    }
}

#[tokio::test]
async fn what_does_not_have_the_hash_of_its_name_is_not_served() {
    for fresh in Fresh::both().await {
        let blob = fresh.blobs.put(sound(10_000).into()).await.unwrap();
        let file = fresh.kept.join(blob.to_string());
        let mut bytes = fs::read(&file).unwrap();
        bytes[5_000] ^= 1;
        fs::write(&file, bytes).unwrap();
        let served = read(&fresh.again(), &blob, 0..10).await;
        assert!(matches!(served, Err(BlobError::Corrupt(wrong)) if wrong == blob), "{served:?}");
    }
}

#[tokio::test]
async fn a_broken_copy_before_s3_is_fetched_again() {
    let fresh = Fresh::on_s3().await;
    let bytes = sound(10_000);
    let blob = fresh.blobs.put(bytes.clone().into()).await.unwrap();
    let cache = fresh.folder.path().join("cache");
    for broken in [&bytes[..9_000], b""] {
        fs::write(cache.join(blob.to_string()), broken).unwrap();
        let blobs = fresh.server.as_ref().unwrap().open(&cache);
        assert!(read(&blobs, &blob, 0..10_000).await.unwrap() == bytes);
        assert!(fs::read(cache.join(blob.to_string())).unwrap() == bytes);
    }
    // It may be deleted at any time, too.
    fs::remove_file(cache.join(blob.to_string())).unwrap();
    assert!(read(&fresh.blobs, &blob, 0..10_000).await.unwrap() == bytes);
}

#[tokio::test]
async fn what_was_served_once_is_served_while_s3_is_away() {
    let mut fresh = Fresh::on_s3().await;
    let (known, other) = (sound(10_000), sound(20_000));
    let known_blob = fresh.blobs.put(known.clone().into()).await.unwrap();
    let other_blob = fresh.again().put(other.into()).await.unwrap();
    let served = fresh.again();
    assert!(read(&served, &known_blob, 0..10_000).await.unwrap() == known);
    fresh.server = None;
    for blobs in [&fresh.blobs, &served] {
        assert!(read(blobs, &known_blob, 5..9_000).await.unwrap() == known[5..9_000]);
        assert_eq!(blobs.len(&known_blob).await.unwrap(), Some(10_000));
        assert!(matches!(read(blobs, &other_blob, 0..1).await, Err(BlobError::Away(_))));
    }
    assert!(matches!(fresh.blobs.len(&other_blob).await, Err(BlobError::Away(_))));
    assert!(matches!(fresh.blobs.put(b"new".to_vec().into()).await, Err(BlobError::Away(_))));
}

#[tokio::test]
async fn many_ask_for_one_sound_at_once_and_it_is_fetched_whole() {
    let fresh = Fresh::on_s3().await;
    let bytes = sound(PART_BYTES + 1000);
    let blob = fresh.blobs.put(bytes.clone().into()).await.unwrap();
    let (blobs, mut asks) = (fresh.again(), JoinSet::new());
    for number in 0..20 {
        let blobs = blobs.clone();
        asks.spawn(async move { (number, read(&blobs, &blob, number..number + 100_000).await.unwrap()) });
    }
    for (number, part) in asks.join_all().await {
        let from = usize::try_from(number).unwrap();
        assert!(part == bytes[from..from + 100_000], "from {number}");
    }
    assert!(lock(&blobs.fetching).is_empty());
}

#[test]
fn an_address_is_a_bucket_or_a_folder() {
    let home = tempfile::tempdir().unwrap();
    for wrong in ["", "s3://", "s3:///a", "https://a/b", "s3://bucket/a//b"] {
        assert!(matches!(Blobs::open(Some(wrong), home.path()), Err(BlobError::NoAddress(_))), "{wrong}");
    }
    for right in ["s3://bucket", "s3://bucket/", "s3://bucket/a/b", home.path().join("x").to_str().unwrap()] {
        assert!(Blobs::open(Some(right), home.path()).is_ok(), "{right}");
    }
}
