//! The socket by which a running agent answers: clients and their lines, of which `control` knows the meaning.

use std::{
    fs, io,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::fs::{Mode, fchmod};
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixListener, UnixSocket, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Semaphore,
    time::timeout,
};

use super::{asks::Asks, doors::patiently};
use crate::{
    control::{QUESTION_BYTES, Question, QuestionError, refusal},
    output::say::chain,
};

/// The socket's file.
const FILE: &str = "agent.sock";
/// Clients at once.
const CLIENTS: usize = 8;
/// Clients that wait to be let in; the kernel refuses more.
const BACKLOG: u32 = 16;
/// How long a client may be silent, or leave its answer unread.
const PATIENCE: Duration = Duration::from_mins(1);
/// Bytes of an answer that are written at a time: a client has to take so many within its patience.
const WRITE_BYTES: usize = 64 << 10;
/// How long a client that is turned away may take to be told so.
const BREATH: Duration = Duration::from_millis(100);

/// The socket cannot be made.
#[derive(Debug, Error)]
#[error("cannot make the socket {}; let its directory be writable", file.display())]
pub(super) struct DoorError {
    file: PathBuf,
    #[source]
    source: io::Error,
}

/// The socket, which has its name for as long as this lives.
#[derive(Debug)]
pub(super) struct Door {
    socket: Option<UnixSocket>,
    file: PathBuf,
}

impl Door {
    /// Makes it in a directory in which this agent holds the lock: what is there is of an agent that has died.
    pub(super) fn make(directory: &Path) -> Result<Self, DoorError> {
        let file = directory.join(FILE);
        match Self::bind(&file) {
            Ok(socket) => Ok(Self { socket: Some(socket), file }),
            Err(source) => Err(DoorError { file, source }),
        }
    }

    fn bind(file: &Path) -> io::Result<UnixSocket> {
        match fs::remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixSocket::new_stream()?;
        // The file takes the socket's mode (unix_bind of net/unix/af_unix.c): it is never open to others.
        fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        socket.bind(file)?;
        Ok(socket)
    }

    /// What clients come by. Before this the kernel refuses them. Takes place once.
    pub(super) fn take(&mut self) -> Option<UnixSocket> {
        self.socket.take()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // A file that stays tells the next agent nothing.
        let _ = fs::remove_file(&self.file);
    }
}

/// From here on clients can come; they wait until they are let in. To be called inside of the runtime that lets them in.
pub(super) fn listen(socket: UnixSocket) -> io::Result<UnixListener> {
    socket.listen(BACKLOG)
}

/// Lets clients in.
pub(super) async fn serve(listener: UnixListener, asks: Asks) {
    let places = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let (mut client, _) = patiently(async || listener.accept().await).await;
        let (place, asks) = (Arc::clone(&places).try_acquire_owned(), asks.clone());
        tokio::spawn(async move {
            match place {
                Ok(_place) => attend(client, &asks).await,
                Err(_) => turn_away(&mut client).await,
            }
        });
    }
}

/// A socket takes a short line at once, whoever is on the other side.
async fn turn_away(client: &mut UnixStream) {
    if let Ok(line) = refusal(&format!("{CLIENTS} clients are asking already; ask again later")) {
        let _ = timeout(BREATH, client.write_all(line.as_bytes())).await;
    }
}

/// Answers a client's questions, one after the other, until it goes away or loses our patience.
async fn attend(client: UnixStream, asks: &Asks) {
    let (read, mut write) = client.into_split();
    let mut read = BufReader::with_capacity(QUESTION_BYTES, read);
    while let Ok(Ok(Some(line))) = timeout(PATIENCE, question(&mut read)).await {
        if !matches!(answer(&line, asks, &mut write).await, Ok(Next::Question)) {
            break;
        }
    }
}

/// A line, or as much of one as shows that it is too long; `None` at the end.
async fn question(read: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    // One byte more than a question with its end has.
    let most = QUESTION_BYTES as u64 + 2;
    read.take(most).read_until(b'\n', &mut line).await?;
    Ok((!line.is_empty()).then_some(line))
}

/// What comes behind an answer.
enum Next {
    /// The next question.
    Question,
    /// Nobody knows where one would begin.
    Nothing,
}

async fn answer(line: &[u8], asks: &Asks, write: &mut OwnedWriteHalf) -> io::Result<Next> {
    let question = match Question::parse(line) {
        Ok(question) => question,
        Err(error) => {
            send(write, &refusal(&chain(&error))?).await?;
            return Ok(if matches!(error, QuestionError::TooLong) { Next::Nothing } else { Next::Question });
        }
    };
    match asks.question(question).await {
        Some(answer) => {
            for line in answer.lines() {
                send(write, &line?).await?;
            }
        }
        None => send(write, &refusal("the agent is ending, or has no time to answer; ask again later")?).await?,
    }
    Ok(Next::Question)
}

async fn send(write: &mut OwnedWriteHalf, line: &str) -> io::Result<()> {
    for piece in line.as_bytes().chunks(WRITE_BYTES) {
        timeout(PATIENCE, write.write_all(piece)).await.map_err(|_| ErrorKind::TimedOut)??;
    }
    Ok(())
}
