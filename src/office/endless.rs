//! Answers without an end: begun by hyper, gone on with by the line itself.
//!
//! hyper keeps 16 KiB for each connection that it serves, and a watch of a station, of which there are ten thousand, says
//! a few words a minute. So once the first words of such an answer are out, the line is taken back from hyper, and the
//! rest is written here, chunk by chunk (RFC 9112, section 7.1).
//!
//! Whoever speaks HTTP/1.0, as some proxies do, knows no chunks and gets the whole from hyper.

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{Request, Response, Version},
};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    sync::watch,
};

/// As little as hyper reads into; no request's head needs more.
const BUFFER: usize = 8 << 10;

/// As much of a request may come when it is already answered, in bytes.
const LATE: usize = 1 << 10;

/// What is still to be said.
type Rest = Pin<Box<dyn HttpBody<Data = Bytes, Error = Infallible> + Send>>;

/// Where an answer leaves its rest to the line. One for each connection, and among the extensions of each request.
#[derive(Default)]
pub(super) struct Onward {
    rest: Mutex<Option<Rest>>,
    /// Everything that was written is on its way.
    is_flushed: AtomicBool,
}

impl Onward {
    /// Returns the body of an answer to a request of this `version`: `first`, and then `rest` for as long as it lasts.
    pub(super) fn body(
        self: Arc<Self>,
        version: Version,
        first: Bytes,
        rest: impl HttpBody<Data = Bytes, Error = Infallible> + Send + 'static,
    ) -> Body {
        let onward = (version >= Version::HTTP_11).then_some(self);
        Body::new(Beginning { first: Some(first), rest: Some(Box::pin(rest)), onward })
    }

    fn rest(&self) -> MutexGuard<'_, Option<Rest>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what the line has to go on with, once everything before it is out.
    fn take(&self) -> Option<Rest> {
        if self.is_flushed.load(Relaxed) { self.rest().take() } else { None }
    }
}

/// The body of such an answer, as long as hyper has it.
struct Beginning {
    first: Option<Bytes>,
    /// None once the line has it.
    rest: Option<Rest>,
    /// None where hyper keeps it to the end.
    onward: Option<Arc<Onward>>,
}

impl HttpBody for Beginning {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let this = &mut *self;
        let Some(rest) = &mut this.rest else { return Poll::Pending };
        let Some(onward) = &this.onward else { return rest.as_mut().poll_frame(cx) };
        // Nobody is to be woken: the line looks for it as soon as hyper, which asks here, has done what it can.
        *onward.rest() = this.rest.take();
        Poll::Pending
    }
}

/// A connection that tells whether what was written to it is out.
struct Told<S> {
    stream: S,
    onward: Arc<Onward>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Told<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Told<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.onward.is_flushed.store(false, Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.onward.is_flushed.store(false, Relaxed);
        Pin::new(&mut self.stream).poll_write_vectored(cx, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes once it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.onward.is_flushed.store(matches!(flushed, Poll::Ready(Ok(()))), Relaxed);
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Serves a connection, whose headers are in within so long, with `answer` until it is over; when `stop` says so, also a
/// line on which nothing is being said. Whoever answers finds an [`Onward`] among the extensions.
pub(super) fn serve<F: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut stop: watch::Receiver<bool>,
    headers: Duration,
    answer: impl Fn(Request<Incoming>) -> F + Send + 'static,
) -> impl Future<Output = ()> + Send {
    let onward = Arc::new(Onward::default());
    let told = Told { stream, onward: Arc::clone(&onward) };
    let here = Arc::clone(&onward);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&here));
        answer(request)
    });
    // On the heap once; moved into the future, it would keep its room twice.
    let mut served = Box::new(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(headers)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(told), service),
    );
    async move {
        let heard = tokio::select! {
            rest = until_rest(&mut *served, &onward) => Some(rest),
            _ = stop.wait_for(|stop| *stop) => None,
        };
        let rest = match heard {
            Some(rest) => rest,
            None => {
                Pin::new(&mut *served).graceful_shutdown();
                until_rest(&mut *served, &onward).await
            }
        };
        if let Some(rest) = rest {
            let stream = {
                // Given back here; where it was borrowed, its room would be kept as long as the stream lasts.
                let served = served;
                served.into_parts().io.into_inner().stream
            };
            // The other side may go whenever it likes.
            let _ = Box::pin(go_on(stream, rest)).await;
        }
    }
}

/// Serves a line until it is over, or until what is left of an answer is the line's own to say.
async fn until_rest(served: &mut (impl Future + Unpin), onward: &Onward) -> Option<Rest> {
    poll_fn(|cx| match Pin::new(&mut *served).poll(cx) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => onward.take().map_or(Poll::Pending, |rest| Poll::Ready(Some(rest))),
    })
    .await
}

/// Writes the rest of an answer until it ends, or until the other side goes. Nothing else is answered on this line: the
/// little that may come late of the request is passed over, and whoever says more is hung up on.
async fn go_on(mut stream: impl AsyncRead + AsyncWrite + Unpin, mut rest: Rest) -> io::Result<()> {
    let (mut late, mut passed_over) = ([0; 64], 0);
    loop {
        let frame = tokio::select! {
            frame = poll_fn(|cx| rest.as_mut().poll_frame(cx)) => frame,
            said = stream.read(&mut late) => {
                let said = said?;
                passed_over += said;
                if said == 0 || passed_over > LATE {
                    return Ok(());
                }
                continue;
            }
        };
        let Some(Ok(frame)) = frame else { break };
        // An empty chunk would be the end.
        let Some(data) = frame.into_data().ok().filter(|data| !data.is_empty()) else { continue };
        let length = format!("{:x}\r\n", data.len());
        stream.write_all(&[length.as_bytes(), &data, b"\r\n"].concat()).await?;
        stream.flush().await?;
    }
    stream.write_all(b"0\r\n\r\n").await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{DuplexStream, duplex},
        sync::{Notify, mpsc},
        time::timeout,
    };

    /// What has not come by then is not coming.
    const PATIENCE: Duration = Duration::from_secs(30);

    async fn soon<T>(what: impl Future<Output = T>) -> T {
        timeout(PATIENCE, what).await.expect("in vain")
    }

    /// What is left of an answer, word by word; says when nobody waits for it any more.
    struct Words(mpsc::Receiver<Bytes>, Arc<Notify>);

    impl HttpBody for Words {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.poll_recv(cx).map(|word| word.map(|word| Ok(Frame::data(word))))
        }
    }

    impl Drop for Words {
        fn drop(&mut self) {
            self.1.notify_one();
        }
    }

    /// One line to a site with one answer without an end, `/endless`.
    struct Site {
        /// The other end.
        line: DuplexStream,
        /// What the answer goes on with.
        says: mpsc::Sender<Bytes>,
        /// The answer is over for the site.
        over: Arc<Notify>,
    }

    impl Site {
        /// Its answer begins with `first`. The line takes `room` bytes until they are read.
        fn new(first: Vec<u8>, room: usize) -> Self {
            let (says, heard) = mpsc::channel(16);
            let over = Arc::new(Notify::new());
            let beginning = Mutex::new(Some((first, Words(heard, Arc::clone(&over)))));
            let (line, end) = duplex(room);
            let answer = move |request: Request<Incoming>| {
                let body = if request.uri().path() == "/endless" {
                    let onward = Arc::clone(request.extensions().get::<Arc<Onward>>().unwrap());
                    let (first, words) = beginning.lock().unwrap().take().unwrap();
                    onward.body(request.version(), first.into(), words)
                } else {
                    "short".into()
                };
                std::future::ready(Ok(Response::new(body)))
            };
            tokio::spawn(async move {
                let (_stop, stopped) = watch::channel(false);
                serve(end, stopped, PATIENCE, answer).await;
            });
            Self { line, says, over }
        }

        async fn hears_until(&mut self, end: &str) {
            let mut told = Vec::new();
            while !told.ends_with(end.as_bytes()) {
                assert_ne!(soon(self.line.read_buf(&mut told)).await.unwrap(), 0, "the end of the line");
            }
        }

        async fn hears_to_the_end(mut self) -> Vec<u8> {
            let mut told = Vec::new();
            drop(self.says);
            soon(self.line.read_to_end(&mut told)).await.unwrap();
            told
        }
    }

    /// The bytes of a body in the chunked coding.
    fn unchunked(mut coded: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let end = coded.windows(2).position(|two| two == b"\r\n").unwrap();
            let length = usize::from_str_radix(std::str::from_utf8(&coded[..end]).unwrap(), 16).unwrap();
            let (chunk, rest) = coded[end + 2..].split_at(length);
            coded = rest.strip_prefix(b"\r\n").unwrap();
            if length == 0 {
                assert!(coded.is_empty(), "nothing comes behind the end");
                return body;
            }
            body.extend_from_slice(chunk);
        }
    }

    #[tokio::test]
    async fn however_little_the_line_takes_at_once_an_answer_arrives_whole_and_in_order() {
        // With little room, hyper still has some of the beginning when it asks for the rest.
        for (first, room) in [(100, 64 << 10), (100, 64), (9_000, 1_000), (1 << 20, 7_777)] {
            let first: Vec<u8> = (0..first).map(|at| (at % 251) as u8).collect();
            let mut site = Site::new(first.clone(), room);
            site.line.write_all(b"GET /short HTTP/1.1\r\n\r\n").await.unwrap();
            site.hears_until("short").await;
            site.line.write_all(b"GET /endless HTTP/1.1\r\n\r\n").await.unwrap();
            for word in ["一", "", "二", "三"] {
                site.says.send(word.into()).await.unwrap();
            }
            let told = site.hears_to_the_end().await;
            let head = told.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let said = String::from_utf8_lossy(&told[..head]).to_lowercase();
            assert!(said.contains("transfer-encoding: chunked"), "{said}");
            assert!(unchunked(&told[head..]) == [&first[..], "一二三".as_bytes()].concat());
        }
    }

    #[tokio::test]
    async fn whoever_knows_no_chunks_gets_none() {
        let mut site = Site::new("甲".into(), 1_000);
        site.line.write_all(b"GET /endless HTTP/1.0\r\n\r\n").await.unwrap();
        site.says.send("乙".into()).await.unwrap();
        let told = String::from_utf8(site.hears_to_the_end().await).unwrap();
        assert!(told.ends_with("\r\n\r\n甲乙") && !told.to_lowercase().contains("chunked"), "{told}");
    }

    #[tokio::test]
    async fn the_rest_is_over_when_the_other_side_goes_or_says_much() {
        for more in [None, Some([b'?'; LATE])] {
            let mut site = Site::new("甲".into(), 10_000);
            site.line.write_all(b"GET /endless HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
            site.hears_until("3\r\n甲\r\n").await;
            // The end of the request, as a box in the middle may send it.
            site.line.write_all(b"0\r\n\r\n").await.unwrap();
            site.says.send("乙".into()).await.unwrap();
            site.hears_until("3\r\n乙\r\n").await;
            let Site { mut line, over, .. } = site;
            match more {
                Some(more) => line.write_all(&more).await.unwrap(),
                None => drop(line),
            }
            soon(over.notified()).await;
        }
    }
}
