//! Asks a PulseAudio server about our own stream, over a connection of its own with limits on every wait.

use super::Seen;
use pulseaudio::{
    cookie_path_from_env,
    protocol::{
        AuthParams, AuthReply, ChannelMap, ChannelVolume, ClientInfoList, Command, CommandReply,
        CreateRecordStreamReply, Descriptor, GetSinkInfo, MAX_VERSION, Prop, Props, ProtocolError, RecordStreamParams,
        SampleFormat, SampleSpec, SetClientNameReply, SetDeviceMuteParams, SetDeviceVolumeParams, SetStreamMuteParams,
        SetStreamVolumeParams, SinkInfo, SinkInputInfo, SinkInputInfoList, SinkState, SuspendParams, TagStructReader,
        read_descriptor,
        stream::{BufferAttr, StreamFlags},
        write_command_message,
    },
    socket_path_from_env,
};
use std::{
    ffi::CString,
    fs,
    io::{self, Read as _},
    os::unix::net::UnixStream,
    sync::{
        Arc, Weak,
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(500);

/// How long the server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The largest message that is read, in bytes.
const LIMIT: u32 = 4 << 20;

/// Peaks a second that the server sends of the monitor.
const PEAKS: u32 = 50;

/// Below this volume, sink and stream are set to full where that is allowed.
const FLOOR: f32 = 0.1;

/// Bytes of the secret that client and server share.
const COOKIE: usize = 256;

/// Channel number of a control message.
const CONTROL: u32 = u32::MAX;

/// A thread that watches until this is dropped, or the server is gone.
pub(super) struct Watch {
    seen: Receiver<Seen>,
    /// Gone when nobody watches any more.
    _wanted: Arc<()>,
}

impl Watch {
    pub fn start(keep_audible: bool) -> Self {
        let (tell, seen) = mpsc::sync_channel(4);
        let wanted = Arc::new(());
        let is_wanted = Arc::downgrade(&wanted);
        // Without a thread there is nothing to be seen.
        drop(thread::Builder::new().name("witness".to_owned()).spawn(move || {
            // A server that is gone takes the stream with it; the next stream has a witness of its own.
            let _ = go_on(&tell, &is_wanted, keep_audible);
        }));
        Self { seen, _wanted: wanted }
    }

    pub fn look(&self) -> Option<Seen> {
        self.seen.try_iter().last()
    }
}

fn go_on(tell: &SyncSender<Seen>, is_wanted: &Weak<()>, keep_audible: bool) -> Result<(), ProtocolError> {
    let mut server = Server::connect()?;
    let mut watched = None;
    while is_wanted.strong_count() > 0 {
        if let Some(seen) = server.look(&mut watched, keep_audible)? {
            // Nobody looks: what comes next is newer.
            let _ = tell.try_send(seen);
        }
        thread::sleep(PERIOD);
    }
    Ok(())
}

/// Our stream and the monitor that is listened to.
struct Watched {
    input: u32,
    sink: u32,
    channel: u32,
}

struct Server {
    socket: UnixStream,
    version: u16,
    sequence: u32,
    /// The highest sample that came from the monitor since the last look.
    peak: Option<f32>,
}

impl Server {
    fn connect() -> Result<Self, ProtocolError> {
        let path = socket_path_from_env().ok_or(io::ErrorKind::NotFound).map_err(io::Error::from)?;
        let socket = UnixStream::connect(path)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut server = Self { socket, version: MAX_VERSION, sequence: 0, peak: None };
        // A server that lets everybody in still wants a cookie of the right length.
        let cookie = cookie_path_from_env().and_then(|path| fs::read(path).ok()).unwrap_or_else(|| vec![0; COOKIE]);
        let auth = AuthParams { version: MAX_VERSION, supports_shm: false, supports_memfd: false, cookie };
        let reply: AuthReply = server.ask(&Command::Auth(auth))?;
        server.version = reply.version.min(MAX_VERSION);
        let mut about = Props::new();
        about.set(Prop::ApplicationName, c"dalaba-witness");
        let _: SetClientNameReply = server.ask(&Command::SetClientName(about))?;
        Ok(server)
    }

    /// Looks once; none while our stream is not there.
    fn look(&mut self, watched: &mut Option<Watched>, keep_audible: bool) -> Result<Option<Seen>, ProtocolError> {
        let Some(input) = self.our_input()? else {
            *watched = None;
            return Ok(None);
        };
        let get = GetSinkInfo { index: Some(input.sink_index), name: None };
        let sink: SinkInfo = self.ask(&Command::GetSinkInfo(get))?;
        if watched.as_ref().is_none_or(|watched| watched.sink != sink.index || watched.input != input.index) {
            if let Some(old) = watched.take() {
                self.order(&Command::DeleteRecordStream(old.channel))?;
            }
            self.peak = None;
            *watched = self.listen(&input, &sink)?;
        }
        let seen = Seen {
            device: format!("pulse:{}", sink.name.to_string_lossy()),
            muted: sink.muted || input.muted,
            volume: factor(&sink.cvolume) * if input.has_volume { factor(&input.cvolume) } else { 1.0 },
            suspended: sink.state == SinkState::Suspended,
            peak: self.peak.take(),
        };
        if keep_audible {
            self.put_right(&input, &sink)?;
        }
        Ok(Some(seen))
    }

    /// Returns the stream that this process plays through.
    fn our_input(&mut self) -> Result<Option<SinkInputInfo>, ProtocolError> {
        // The name under which cpal's host connects.
        let name = format!("cpal-pulseaudio-{}", std::process::id());
        let inputs: SinkInputInfoList = self.ask(&Command::GetSinkInputInfoList)?;
        if inputs.is_empty() {
            return Ok(None);
        }
        let clients: ClientInfoList = self.ask(&Command::GetClientInfoList)?;
        let ours = |index: u32| {
            clients.iter().any(|client| client.index == index && client.name.as_bytes() == name.as_bytes())
        };
        Ok(inputs.into_iter().find(|input| input.client_index.is_some_and(ours)))
    }

    /// Has the server send peaks of a sink's monitor. A sink without one is watched without.
    fn listen(&mut self, input: &SinkInputInfo, sink: &SinkInfo) -> Result<Option<Watched>, ProtocolError> {
        let Some(monitor) = sink.monitor_source_index else { return Ok(None) };
        let sample_spec = SampleSpec { format: SampleFormat::Float32Le, channels: 1, sample_rate: PEAKS };
        let params = RecordStreamParams {
            sample_spec,
            channel_map: ChannelMap::mono(),
            source_index: Some(monitor),
            buffer_attr: BufferAttr { max_length: u32::MAX, fragment_size: 4, ..BufferAttr::default() },
            flags: StreamFlags { peak_detect: true, no_inhibit_auto_suspend: true, ..StreamFlags::default() },
            cvolume: Some(ChannelVolume::norm(1)),
            ..RecordStreamParams::default()
        };
        let reply: CreateRecordStreamReply = self.ask(&Command::CreateRecordStream(params))?;
        Ok(Some(Watched { input: input.index, sink: sink.index, channel: reply.channel }))
    }

    /// Makes what is meant to be heard audible.
    fn put_right(&mut self, input: &SinkInputInfo, sink: &SinkInfo) -> Result<(), ProtocolError> {
        let (device_index, device_name) = (Some(sink.index), None::<CString>);
        if sink.muted {
            let mute = SetDeviceMuteParams { device_index, device_name: device_name.clone(), mute: false };
            self.order(&Command::SetSinkMute(mute))?;
        }
        if input.muted {
            self.order(&Command::SetSinkInputMute(SetStreamMuteParams { index: input.index, mute: false }))?;
        }
        if sink.state == SinkState::Suspended {
            let resume = SuspendParams { device_index, device_name: device_name.clone(), suspend: false };
            self.order(&Command::SuspendSink(resume))?;
        }
        if factor(&sink.cvolume) < FLOOR {
            let volume = full(&sink.cvolume);
            self.order(&Command::SetSinkVolume(SetDeviceVolumeParams { device_index, device_name, volume }))?;
        }
        if input.has_volume && input.volume_writable && factor(&input.cvolume) < FLOOR {
            let volume = full(&input.cvolume);
            self.order(&Command::SetSinkInputVolume(SetStreamVolumeParams { index: input.index, volume }))?;
        }
        Ok(())
    }

    /// Sends a command and waits for its answer.
    fn ask<T: CommandReply>(&mut self, command: &Command) -> Result<T, ProtocolError> {
        let body = self.answer(command)?;
        T::read(&mut TagStructReader::new(&mut body.as_slice(), self.version), self.version)
    }

    /// Sends a command that is answered by a bare yes.
    fn order(&mut self, command: &Command) -> Result<(), ProtocolError> {
        match self.answer(command) {
            // Refused: the next look tells that nothing has changed.
            Ok(_) | Err(ProtocolError::ServerError(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends a command and returns the body of its answer, taking in what comes before it.
    fn answer(&mut self, command: &Command) -> Result<Vec<u8>, ProtocolError> {
        self.sequence += 1;
        write_command_message(&mut self.socket, self.sequence, command, self.version)?;
        loop {
            let (descriptor, body) = self.message()?;
            if descriptor.channel != CONTROL {
                let samples = body.chunks_exact(4).filter_map(|four| four.try_into().ok()).map(f32::from_le_bytes);
                let highest = samples.filter(|sample| sample.is_finite()).fold(0.0, |peak: f32, at| peak.max(at.abs()));
                self.peak = Some(self.peak.unwrap_or(0.0).max(highest));
                continue;
            }
            let mut rest = body.as_slice();
            match Command::read_tag_prefixed(&mut rest, self.version) {
                Ok((sequence, Command::Reply)) if sequence == self.sequence => return Ok(rest.to_vec()),
                Ok((sequence, Command::Error(error))) if sequence == self.sequence => {
                    return Err(ProtocolError::ServerError(error));
                }
                // News of streams, or of a kind that this library does not know.
                _ => {}
            }
        }
    }

    fn message(&mut self) -> Result<(Descriptor, Vec<u8>), ProtocolError> {
        let descriptor = read_descriptor(&mut self.socket)?;
        if descriptor.length > LIMIT {
            return Err(ProtocolError::Invalid("a message too long to be true".to_owned()));
        }
        let mut body = vec![0; descriptor.length as usize];
        self.socket.read_exact(&mut body)?;
        Ok((descriptor, body))
    }
}

/// The loudest channel as a factor.
fn factor(volume: &ChannelVolume) -> f32 {
    volume.channels().iter().map(|channel| channel.to_linear()).fold(0.0, f32::max)
}

fn full(volume: &ChannelVolume) -> ChannelVolume {
    ChannelVolume::norm(u8::try_from(volume.channels().len()).unwrap_or(1))
}
